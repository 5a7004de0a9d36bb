/**
 * The runs of an index: new ones from memtables, and fewer from many. A run is merged with all newer ones when they
 * hold together at least as many entries as it does. So every run has more than all newer ones together, there are at
 * most as many as the store has doublings of a memtable (7 at 100 million blocks), and an entry is written anew about
 * once for every two of them.
 */
import { join } from "node:path";
import { memtableSource, runSource, writeRun } from "./merge.ts";
import type { Memtable } from "./memtable.ts";
import type { IndexPlace } from "./run-file.ts";
import { IndexDamaged } from "./run-format.ts";
import type { Coverage } from "./run-writer.ts";
import { retireRun, type Run } from "./run.ts";
import { discardStored } from "./stored-index.ts";

/** With so many runs a flush waits for the merge that goes on, and one is begun where the sizes ask for none. */
export const MOST_RUNS = 12;

export interface RunSet {
  /** Oldest first. */
  readonly runs: readonly Run[];
  /** Adds a run with the entries of a table, durably. One at a time. */
  flush(table: Memtable, coverage: Coverage): Promise<void>;
  /** Removes all runs from memory and disk. No flush may be going on. */
  discard(): Promise<void>;
  /** Resolves when no merge goes on or is due. */
  settled(): Promise<void>;
  /** Stops merging and closes the files. */
  close(): Promise<void>;
}

export interface RunSetOptions {
  readonly isForgotten: (pack: number) => boolean;
  /** A merge failed: because the index is damaged, or for want of space, and is tried again after the next flush. */
  readonly mergeFailed: (error: unknown) => void;
}

/** The first of the runs to be merged with all behind it, or -1. */
export function firstToMerge(counts: readonly number[]): number {
  let first = -1;
  let newerCount = 0;
  for (let i = counts.length - 1; i >= 0; i--) {
    if (counts[i]! <= newerCount) first = i;
    newerCount += counts[i]!;
  }
  if (first >= 0 && first < counts.length - 1) return first;
  // Sizes halve from run to run, so the newer half of them is small.
  return counts.length >= MOST_RUNS ? counts.length >> 1 : -1;
}

export function createRunSet(place: IndexPlace, stored: readonly Run[], options: RunSetOptions): RunSet {
  const runs = [...stored];
  /** The last merging that was begun, and whether it goes on. */
  let merging: Promise<void> = Promise.resolve();
  let isMerging = false;
  let stop = new AbortController();

  const merge = async (from: number): Promise<void> => {
    const inputs = runs.slice(from);
    const newest = inputs.at(-1)!;
    const merged = await writeRun(
      place,
      { first: inputs[0]!.first, last: newest.last },
      inputs.map(runSource),
      inputs.reduce((sum, run) => sum + run.entryCount, 0),
      newest,
      options.isForgotten,
      stop.signal,
    );
    // Flushes meanwhile have added runs behind these.
    runs.splice(from, inputs.length, merged);
    for (const run of inputs) {
      // Removed while it is open: its space is freed when it is closed, which is not done by the event loop.
      try {
        place.disk.remove(join(place.directory, run.name));
      } finally {
        retireRun(run);
      }
    }
  };

  const mergeWhileDue = async (): Promise<void> => {
    const { signal } = stop;
    try {
      for (;;) {
        const from = firstToMerge(runs.map((run) => run.entryCount));
        if (from < 0 || signal.aborted) return;
        await merge(from);
      }
    } catch (error) {
      if (!signal.aborted) options.mergeFailed(error);
      // Merging a damaged run would fail again and again.
      if (error instanceof IndexDamaged) stop.abort(error);
    }
  };

  const beginMerging = (): void => {
    if (isMerging || stop.signal.aborted) return;
    isMerging = true;
    merging = mergeWhileDue().finally(() => (isMerging = false));
  };

  const stopMerging = async (): Promise<void> => {
    stop.abort(new Error("the index is closed"));
    await merging;
  };

  beginMerging();
  return {
    runs,
    async flush(table, coverage) {
      if (runs.length >= MOST_RUNS) await merging;
      const number = (runs.at(-1)?.last ?? 0) + 1;
      const range = { first: number, last: number };
      const never = new AbortController().signal;
      runs.push(
        await writeRun(place, range, [memtableSource(table)], table.count, coverage, options.isForgotten, never),
      );
      beginMerging();
    },
    async discard() {
      await stopMerging();
      for (const run of runs.splice(0)) retireRun(run);
      await discardStored(place, false);
      stop = new AbortController();
    },
    settled: () => merging,
    async close() {
      await stopMerging();
      for (const run of runs.splice(0)) retireRun(run);
    },
  };
}
