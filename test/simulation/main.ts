/** `npm run simulate -- [options]`: the archive's simulation, as long as one likes. */
import { parseArgs } from "node:util";
import { allocatedMemoryBytes } from "../../ffi/memory.ts";
import { faultNames, runArchive } from "./archive-schedule.ts";
import type { Tally } from "./archive-world.ts";
import { runRemote } from "./remote-schedule.ts";

const USAGE = `usage: npm run simulate -- [--seeds N] [--seed S] [--minutes M] [--json]
  --seeds N    how many seeds to run, from the first on; 100 unless --minutes is given
  --seed S     the first seed; alone, it is the only one
  --minutes M  how long to run
  --json       prints one JSON document at the end`;

const isCrash = (event: string): boolean =>
  /^(power cuts|kills|orderly ends|crashes during|hosts lost|takeovers|requests that arrived after)/.test(event);
const isFault = (event: string): boolean =>
  faultNames.includes(event) || /^(bits|files|indexes) |of the store that|by the store$/.test(event);
const groups: readonly (readonly [title: string, belongs: (event: string) => boolean])[] = [
  ["ends of processes", isCrash],
  ["faults", isFault],
  ["everything else", (event) => !isCrash(event) && !isFault(event)],
];

const BAR_COLUMNS = 30;
const PROGRESS_MS = 200;
const LINE_MS = 10_000;

interface Plan {
  readonly first: number;
  readonly count: number;
  readonly minutes: number;
  readonly json: boolean;
}

/** Throws where the arguments make no sense. */
function planOf(args: string[]): Plan {
  const { values } = parseArgs({
    args,
    options: {
      seeds: { type: "string" },
      seed: { type: "string" },
      minutes: { type: "string" },
      json: { type: "boolean", default: false },
    },
  });
  const numberOf = (name: "seeds" | "seed" | "minutes", least: number, otherwise: number): number => {
    const text = values[name];
    if (text === undefined) return otherwise;
    const number = Number(text);
    if (!(number >= least) || (name !== "minutes" && !Number.isSafeInteger(number))) {
      throw new Error(`--${name} ${text} is not a number that makes sense here`);
    }
    return number;
  };
  const minutes = numberOf("minutes", 0, Number.POSITIVE_INFINITY);
  const unbounded = values.minutes === undefined ? 100 : Number.POSITIVE_INFINITY;
  const isOne = values.seed !== undefined && values.seeds === undefined && values.minutes === undefined;
  const count = numberOf("seeds", 1, isOne ? 1 : unbounded);
  return { first: numberOf("seed", 0, 1), count, minutes, json: values.json };
}

/** Shows how far it is: a bar on a terminal, a line now and then elsewhere. */
function progressOf({ count, minutes }: Plan): { show(done: number): void; end(): void } {
  const started = performance.now();
  const isTerminal = process.stderr.isTTY;
  let shown = started;
  return {
    show(done) {
      const now = performance.now();
      if (now - shown < (isTerminal ? PROGRESS_MS : LINE_MS)) return;
      shown = now;
      const elapsedMinutes = (now - started) / 60_000;
      const part = Math.min(1, Math.max(done / count, elapsedMinutes / minutes));
      const text = `${done} seeds, ${Math.round(part * 100)} %, ${((now - started) / done).toFixed(0)} ms a seed`;
      const bar = "#".repeat(Math.round(part * BAR_COLUMNS)).padEnd(BAR_COLUMNS, ".");
      process.stderr.write(isTerminal ? `\r[${bar}] ${text}\x1b[K` : `simulate: ${text}\n`);
    },
    end() {
      if (isTerminal) process.stderr.write("\r\x1b[K");
    },
  };
}

async function run(plan: Plan): Promise<number> {
  const tally: Tally = {};
  const started = performance.now();
  const progress = progressOf(plan);
  let done = 0;
  let failed: { seed: number; error: string; replay: string } | undefined;
  for (; done < plan.count && performance.now() - started < plan.minutes * 60_000; done++) {
    const seed = plan.first + done;
    try {
      await runArchive(seed, tally);
      await runRemote(seed, tally);
    } catch (error) {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      failed = { seed, error: text, replay: `npm run simulate -- --seed ${seed}` };
      break;
    }
    progress.show(done + 1);
  }
  progress.end();
  const seconds = (performance.now() - started) / 1000;
  const sorted = Object.fromEntries(Object.entries(tally).toSorted(([a], [b]) => (a < b ? -1 : 1)));
  if (plan.json) {
    console.log(JSON.stringify({ seeds: done, seconds, events: sorted, ...(failed && { failed }) }, undefined, 2));
  } else {
    for (const [title, belongs] of groups) {
      console.log(`${title}:`);
      for (const [event, count] of Object.entries(sorted)) {
        if (belongs(event)) console.log(`${String(count).padStart(10)}  ${event}`);
      }
    }
    const memory = `${(allocatedMemoryBytes() / 2 ** 20).toFixed(1)} MiB still allocated`;
    console.log(
      `simulate: ${done} seeds in ${seconds.toFixed(1)} s, ${tally["blocks verified"]} blocks verified, ${memory}`,
    );
  }
  if (failed === undefined) return 0;
  console.error(`simulate: seed ${failed.seed} failed: ${failed.error}\n\nThe same again: ${failed.replay}`);
  return 1;
}

let plan: Plan | undefined;
try {
  plan = planOf(process.argv.slice(2));
} catch (error) {
  console.error(`simulate: ${(error as Error).message}\n${USAGE}`);
  process.exitCode = 2;
}
if (plan !== undefined) process.exitCode = await run(plan);
