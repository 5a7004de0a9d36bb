import { afterEach, beforeEach, expect, test } from "bun:test";
import { journalSlowdown, type JournalSlowdown } from "../../../../src/storage/cas/journal-slowdown.ts";
import { manualLoop, type ManualLoop } from "../../../support/manual-loop.ts";

const MIB = 2 ** 20;
let loop: ManualLoop;
let journal: { sizeBytes: number; limitBytes: number };
let failing: boolean;
let begun: number;
let slowdown: JournalSlowdown;

beforeEach(() => {
  loop = manualLoop();
  journal = { sizeBytes: 0, limitBytes: 1000 * MIB };
  failing = true;
  begun = 0;
  slowdown = journalSlowdown({ journal, isFailing: () => failing, began: () => begun++ });
});
afterEach(() => loop[Symbol.dispose]());

test("writes are not slowed below three quarters, nor while checkpoints succeed", () => {
  journal.sizeBytes = 749 * MIB;
  expect(slowdown.delayMs(65536)).toBe(0);
  journal.sizeBytes = 999 * MIB;
  failing = false;
  expect(slowdown.delayMs(65536)).toBe(0);
  expect(slowdown.isSlow).toBe(false);
  expect(begun).toBe(0);
});

test("the fuller the journal, the longer a write waits, and never longer than a second", async () => {
  const delays: number[] = [];
  for (const full of [750, 900, 990, 1000]) {
    journal.sizeBytes = full * MIB;
    delays.push(slowdown.delayMs(65536));
    await loop.advance(5000);
  }
  // 64 KiB of a room that is to last a minute.
  expect(delays.map(Math.round)).toEqual([15, 38, 375, 1000]);
});

test("writes at the same time wait for each other, so that many clients are no quicker than one", () => {
  journal.sizeBytes = 900 * MIB;
  const delays = [1, 2, 3].map(() => Math.round(slowdown.delayMs(65536)));
  expect(delays).toEqual([38, 75, 113]);
});

test("it is said once that writes are slowed, and again when that begins anew; discards are not slowed", () => {
  journal.sizeBytes = 800 * MIB;
  expect(slowdown.delayMs(0)).toBe(0);
  slowdown.delayMs(512);
  slowdown.delayMs(512);
  expect(begun).toBe(1);
  failing = false;
  expect(slowdown.isSlow).toBe(false);
  failing = true;
  expect(slowdown.isSlow).toBe(true);
  expect(begun).toBe(2);
});
