/** `npm run bench -- NAME [options]`: whole-path benchmarks beside the peers that are installed, and of single parts. */
import { aoeBenchmark } from "./aoe/benchmark.ts";
import { archiveBenchmark } from "./archive/benchmark.ts";
import { blobsBenchmark } from "./blobs/benchmark.ts";
import { indexBenchmark } from "./index/benchmark.ts";
import { journalBenchmark } from "./journal/benchmark.ts";
import { nbdBenchmark } from "./nbd/benchmark.ts";

const benchmarks: Record<string, (args: string[]) => Promise<number>> = {
  aoe: aoeBenchmark,
  archive: archiveBenchmark,
  blobs: blobsBenchmark,
  index: indexBenchmark,
  journal: journalBenchmark,
  nbd: nbdBenchmark,
};

const [name = "", ...args] = process.argv.slice(2);
const benchmark = benchmarks[name];
if (benchmark) {
  process.exitCode = await benchmark(args);
} else {
  console.error(`bench: no benchmark "${name}": use one of ${Object.keys(benchmarks).join(", ")}, then its options`);
  process.exitCode = 2;
}
