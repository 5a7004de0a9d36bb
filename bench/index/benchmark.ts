/** `bench index`: fills an index of the archive and measures what a block costs in it, and how fast it is. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus, release, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { openIndex } from "../../src/storage/cas/index/block-index.ts";
import { eventLoop } from "../../src/base/event-loop.ts";
import { realDisk } from "../../src/storage/cas/real-disk.ts";
import type { Reopened } from "./measure-reopened.ts";
import { createPackMaker, PACK_BLOCKS } from "./synthetic-packs.ts";

const USAGE = `usage: npm run bench -- index [options]
  --entries N         blocks that the index is filled with                                    (100000000)
  --directory DIR     where it is made; takes 36 bytes a block for a time                     (${tmpdir()})
  --json              JSON instead of Markdown
  --output FILE       into FILE instead of standard output`;

interface Filled {
  readonly entries: number;
  readonly insertsPerSecond: number;
  readonly fillSeconds: number;
  /** From the last insertion until the last merge was done. */
  readonly settleSeconds: number;
  /** Most CPU time between two turns of the event loop: for how long nothing else had it, on a core of its own. */
  readonly longestHoldMs: number;
  readonly runCount: number;
  readonly diskBytes: number;
  readonly mostDiskBytes: number;
  readonly mostProcessBytes: number;
}

interface Report extends Filled, Reopened {
  readonly date: string;
  readonly machine: string;
}

const sizeOf = (directory: string): number =>
  readdirSync(directory).reduce((sum, name) => {
    // A merge may have removed it since it was listed.
    return sum + (statSync(join(directory, name), { throwIfNoEntry: false })?.size ?? 0);
  }, 0);

const fail = (what: string): never => {
  throw new Error(what);
};

/** CPU time of this thread so far. (The wall clock would count other processes on a busy machine.) */
const threadCpuMs = (): number => Number(readFileSync("/proc/thread-self/schedstat", "utf8").split(" ")[0]) / 1e6;

async function fill(directory: string, entries: number): Promise<Filled> {
  const place = { disk: realDisk, directory, pause: () => eventLoop.turn() };
  const index = await openIndex(place, { damaged: (error) => fail(error.message), report: (_, what) => fail(what) });
  const makePack = createPackMaker();
  const packs = Math.ceil(entries / PACK_BLOCKS);
  const sampleEvery = Math.max(1, Math.floor(packs / 200));
  let [mostDiskBytes, mostProcessBytes, longestHoldMs, making] = [0, 0, 0, 0];
  let lastCpuMs = threadCpuMs();
  const watch = setInterval(() => {
    const nowMs = threadCpuMs();
    longestHoldMs = Math.max(longestHoldMs, nowMs - lastCpuMs);
    lastCpuMs = nowMs;
  }, 1);

  const start = performance.now();
  for (let number = 0; number < packs; number++) {
    const madeFrom = performance.now();
    const pack = makePack(number);
    making += performance.now() - madeFrom;
    await index.addPack(pack);
    await eventLoop.turn();
    if (number % sampleEvery === 0) {
      mostDiskBytes = Math.max(mostDiskBytes, sizeOf(directory));
      mostProcessBytes = Math.max(mostProcessBytes, process.memoryUsage.rss());
    }
    if ((number + 1) % (sampleEvery * 20) === 0) {
      const seconds = (performance.now() - start) / 1000;
      console.error(`${(number + 1) * PACK_BLOCKS} blocks after ${seconds.toFixed(1)} s`);
    }
  }
  await index.flush();
  const filled = performance.now();
  const sample = setInterval(() => {
    mostDiskBytes = Math.max(mostDiskBytes, sizeOf(directory));
    mostProcessBytes = Math.max(mostProcessBytes, process.memoryUsage.rss());
  }, 50);
  await index.settled();
  const settled = performance.now();
  clearInterval(sample);
  clearInterval(watch);
  const { runCount } = index.status();
  await index.close();
  return {
    entries: packs * PACK_BLOCKS,
    insertsPerSecond: (packs * PACK_BLOCKS) / ((filled - start - making) / 1000),
    fillSeconds: (filled - start) / 1000,
    settleSeconds: (settled - filled) / 1000,
    longestHoldMs,
    runCount,
    diskBytes: sizeOf(directory),
    mostDiskBytes,
    mostProcessBytes,
  };
}

async function reopen(directory: string, entries: number): Promise<Reopened> {
  const script = resolve(import.meta.dir, "measure-reopened.ts");
  const { exited, stdout } = Bun.spawn([process.execPath, script, directory, String(entries)], {
    stdout: "pipe",
    stderr: "inherit",
  });
  const text = await stdout.text();
  if ((await exited) !== 0) throw new Error("opening the filled index failed");
  return JSON.parse(text) as Reopened;
}

const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
const rate = (perSecond: number): string => `${(perSecond / 1e6).toPrecision(3)} million a second`;
const time = (ms: number): string => (ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(2)} s`);

function markdown(report: Report): string {
  const each = (bytes: number): string => `${(bytes / report.entries).toFixed(2)} bytes a block`;
  const rows = [
    ["insertion, flushes and merges included", rate(report.insertsPerSecond), ""],
    ["merges after the last insertion", time(report.settleSeconds * 1000), ""],
    ["longest hold of the event loop meanwhile, CPU time", time(report.longestHoldMs), ""],
    ["disk", `${each(report.diskBytes)} (${mib(report.diskBytes)})`, "24 bytes a block"],
    ["disk, most while merging", each(report.mostDiskBytes), ""],
    [
      "resident memory of the open index",
      `${each(report.residentBytes)} (${mib(report.residentBytes)})`,
      "8 bytes a block",
    ],
    ["resident memory of the process with it open", mib(report.processBytes), "1024 MiB"],
    ["resident memory of the process, most while filling", mib(report.mostProcessBytes), ""],
    ["opening, nothing cached", time(report.coldOpenMs), "2 s"],
    ["opening, cached", time(report.openMs), ""],
    ["lookup, present, cached", rate(report.presentPerSecond), ""],
    ["lookup, absent, cached", rate(report.absentPerSecond), ""],
    ["lookup, present, from the medium, 16 at a time", rate(report.coldPresentPerSecond), ""],
  ];
  const table = [["", "measured", "at most"], ["---", "---:", "---:"], ...rows];
  return `## Index of the archive with ${(report.entries / 1e6).toFixed(1)} million blocks

${report.date}. ${report.machine} ${report.runCount} run${report.runCount === 1 ? "" : "s"} at the end. Packs of ${PACK_BLOCKS} blocks with synthetic
hashes. Insertion is on the event loop, merges beside it; the time to make the hashes is not counted. Lookups are
random, one at a time unless said otherwise.

${table.map((cells) => `| ${cells.join(" | ")} |`).join("\n")}
`;
}

interface Options {
  readonly entries: number;
  readonly directory: string;
  readonly json: boolean;
  readonly output: string | undefined;
}

function parseOptions(args: string[]): Options {
  const { values } = parseArgs({
    args,
    options: {
      entries: { type: "string", default: "100000000" },
      directory: { type: "string", default: tmpdir() },
      json: { type: "boolean", default: false },
      output: { type: "string" },
    },
  });
  const entries = Number(values.entries);
  if (!(entries >= 1 && entries <= 2 ** 31)) {
    throw new Error(`--entries takes a number from 1 to ${2 ** 31}, not "${values.entries}"`);
  }
  return { entries, directory: values.directory, json: values.json, output: values.output };
}

/** Returns the exit status: 0, 1 when something failed, 2 when the options are wrong. */
export async function indexBenchmark(args: string[]): Promise<number> {
  let options: Options;
  try {
    options = parseOptions(args);
  } catch (error) {
    console.error(`bench index: ${(error as Error).message}\n${USAGE}`);
    return 2;
  }
  const directory = mkdtempSync(join(options.directory, "voe-bench-index-"));
  const interrupted = (): never => {
    rmSync(directory, { recursive: true, force: true });
    process.exit(130);
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, interrupted);
  try {
    const filled = await fill(directory, options.entries);
    const report: Report = {
      date: new Date().toISOString().slice(0, 10),
      machine: `Linux ${release()}, ${availableParallelism()} cores of ${cpus()[0]?.model ?? "an unknown processor"}.`,
      ...filled,
      ...(await reopen(directory, filled.entries)),
    };
    const text = options.json ? `${JSON.stringify(report, null, 2)}\n` : markdown(report);
    if (options.output === undefined) process.stdout.write(text);
    else writeFileSync(options.output, text);
    return 0;
  } catch (error) {
    console.error(`bench index: ${(error as Error).message}`);
    return 1;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
