/** `bench journal`: what an append to the archive's journal costs, and the sync after it. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus, release, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { median } from "../testbed/median.ts";
import { type Costs, fillSource, measureRow, type Row, type Shape } from "./measure.ts";

const USAGE = `usage: npm run bench -- journal [options]
  --mib N             bytes that are appended for a figure, in MiB                            (64)
  --rounds N          rounds of which the median counts                                       (5)
  --directory DIR     where the journal is made; takes four times as much                     (${tmpdir()})
  --json              JSON instead of Markdown
  --output FILE       into FILE instead of standard output`;

const SHAPES: readonly Shape[] = [1024, 4096, 8192].flatMap((payloadBytes) => [
  { payloadBytes, records: 1 },
  { payloadBytes, records: 16 },
]);

interface Options {
  readonly bytes: number;
  readonly rounds: number;
  readonly directory: string;
  readonly json: boolean;
  readonly output: string | undefined;
}

function parseOptions(args: string[]): Options {
  const { values } = parseArgs({
    args,
    options: {
      mib: { type: "string", default: "64" },
      rounds: { type: "string", default: "5" },
      directory: { type: "string", default: tmpdir() },
      json: { type: "boolean", default: false },
      output: { type: "string" },
    },
  });
  const inside = (name: "mib" | "rounds", least: number, most: number): number => {
    const number = Number(values[name]);
    if (Number.isInteger(number) && number >= least && number <= most) return number;
    throw new Error(`--${name} takes a number from ${least} to ${most}, not "${values[name]}"`);
  };
  return {
    // A segment has at most 512 MiB, and 200 syncs of the largest append want 28.
    bytes: inside("mib", 32, 512) * 2 ** 20,
    rounds: inside("rounds", 1, 1000),
    directory: values.directory,
    json: values.json,
    output: values.output,
  };
}

function medianCosts(all: readonly Costs[]): Costs {
  const of = (name: keyof Costs): number => median(all.map((costs) => costs[name]));
  return {
    lengthening: of("lengthening"),
    overwriting: of("overwriting"),
    fresh: of("fresh"),
    recycled: of("recycled"),
  };
}

/** The rounds of one shape, in one row. */
const medianRow = (rounds: readonly Row[]): Row => ({
  ...rounds[0]!,
  append: medianCosts(rounds.map((row) => row.append)),
  sync: medianCosts(rounds.map((row) => row.sync)),
  readBack: median(rounds.map((row) => row.readBack)),
});

const costs = ({ lengthening, overwriting, fresh, recycled }: Costs, digits: number): string[] =>
  [lengthening, overwriting, fresh, recycled].map((value) => value.toFixed(digits));

function markdown(machine: string, rows: readonly Row[]): string {
  const head = ["", "lengthening", "overwriting", "fresh segment", "recycled segment"];
  const table = (title: string, cells: (row: Row) => string[], more: readonly string[] = []): string => {
    const lines = [
      [title, ...head.slice(1), ...more],
      ["---", ...[...head.slice(1), ...more].map(() => "---:")],
      ...rows.map((row) => [`${row.payloadBytes / 1024} KiB x ${row.records}`, ...cells(row)]),
    ];
    return lines.map((line) => `| ${line.join(" | ")} |`).join("\n");
  };
  return `## The archive's journal

${machine} Microseconds. The first two columns are plain pwrite(2) of as many bytes, to the end of a file and over pages
that are cached. Each append is one call. The times of records are CPU time, those of syncs are not.

${table("a record", (row) => [...costs(row.append, 2), row.readBack.toFixed(2)], ["read back"])}

${table("fdatasync after an append, median", (row) => costs(row.sync, 0))}
`;
}

/** Returns the exit status: 0, 1 when something failed, 2 when the options are wrong. */
export async function journalBenchmark(args: string[]): Promise<number> {
  let options: Options;
  try {
    options = parseOptions(args);
  } catch (error) {
    console.error(`bench journal: ${(error as Error).message}\n${USAGE}`);
    return 2;
  }
  const directory = mkdtempSync(join(options.directory, "voe-bench-journal-"));
  try {
    fillSource();
    const rounds: Row[][] = SHAPES.map(() => []);
    for (let round = 0; round < options.rounds; round++) {
      for (const [index, shape] of SHAPES.entries()) {
        rounds[index]!.push(await measureRow(directory, shape, options.bytes));
      }
    }
    const rows = rounds.map(medianRow);
    const cores = `${availableParallelism()} cores of ${cpus()[0]?.model ?? "an unknown processor"}`;
    const machine = `${new Date().toISOString().slice(0, 10)}. Linux ${release()}, ${cores}.`;
    const text = options.json ? `${JSON.stringify({ machine, rows }, null, 2)}\n` : markdown(machine, rows);
    if (options.output === undefined) process.stdout.write(text);
    else writeFileSync(options.output, text);
    return 0;
  } catch (error) {
    console.error(`bench journal: ${(error as Error).message}`);
    return 1;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
