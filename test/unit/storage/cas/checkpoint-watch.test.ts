import { afterEach, beforeEach, expect, test } from "bun:test";
import { replaceEventLoop } from "../../../../src/base/event-loop.ts";
import { watchJournal } from "../../../../src/storage/cas/checkpoint-watch.ts";

const CHECKPOINT_BYTES = 1000;

let tick: () => void;
let restore: () => void;
let journal: { sizeBytes: number };
let runs: number;
let failure: Error | undefined;
let reports: string[];

beforeEach(() => {
  restore = replaceEventLoop({
    nowMs: () => 0,
    turn: () => Promise.resolve(),
    after: () => () => {},
    every(_intervalMs, work) {
      tick = work;
      return () => {};
    },
  });
  journal = { sizeBytes: 0 };
  runs = 0;
  failure = undefined;
  reports = [];
  const job = {
    isBusy: false,
    runUnhurried() {
      runs++;
      return failure === undefined ? Promise.resolve() : Promise.reject(failure);
    },
  };
  watchJournal({ journal, job, checkpointBytes: CHECKPOINT_BYTES, report: (_key, text) => void reports.push(text) });
});

afterEach(() => restore());

/** Lets time pass, in tenths of a second, each with so many bytes written. */
function pass(tenths: number, writtenBytes: number): void {
  for (let at = 0; at < tenths; at++) {
    journal.sizeBytes += writtenBytes;
    tick();
  }
}

test("a journal that grows fast is checkpointed when it has the size for it", () => {
  pass(99, CHECKPOINT_BYTES / 100);
  expect(runs).toBe(0);
  pass(1, CHECKPOINT_BYTES / 100);
  expect(runs).toBe(1);
});

test("a journal that grew little for a second is checkpointed at a sixteenth of that", () => {
  pass(5, 0);
  journal.sizeBytes = CHECKPOINT_BYTES / 16;
  pass(10, CHECKPOINT_BYTES / 1000);
  expect(runs).toBe(0);
  pass(1, CHECKPOINT_BYTES / 1000);
  expect(runs).toBe(1);
});

test("a small journal stays as it is, however long nobody writes", () => {
  journal.sizeBytes = CHECKPOINT_BYTES / 16 - 1;
  pass(100, 0);
  expect(runs).toBe(0);
});

test("a checkpoint that fails is told, and tried again after five seconds", async () => {
  failure = new Error("the disk is full");
  journal.sizeBytes = CHECKPOINT_BYTES;
  pass(1, 0);
  await Promise.resolve();
  await Promise.resolve();
  expect(reports.join()).toContain("a checkpoint failed: the disk is full");
  pass(49, 0);
  expect(runs).toBe(1);
  pass(1, 0);
  expect(runs).toBe(2);
});
