/** `npm run bench -- NAME [options]`: whole-path benchmarks beside the peers that are installed. */
import { aoeBenchmark } from "./aoe/benchmark.ts";

const benchmarks: Record<string, (args: string[]) => Promise<number>> = { aoe: aoeBenchmark };

const [name = "", ...args] = process.argv.slice(2);
const benchmark = benchmarks[name];
if (benchmark) {
  process.exitCode = await benchmark(args);
} else {
  console.error(`bench: no benchmark "${name}": use one of ${Object.keys(benchmarks).join(", ")}, then its options`);
  process.exitCode = 2;
}
