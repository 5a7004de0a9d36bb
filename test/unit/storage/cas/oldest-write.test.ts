import { afterEach, beforeEach, expect, test } from "bun:test";
import { watchOldestWrite } from "../../../../src/storage/cas/oldest-write.ts";
import { manualLoop, type ManualLoop } from "../../../support/manual-loop.ts";

let loop: ManualLoop;
let next: number;
let covered: number;
beforeEach(() => {
  loop = manualLoop();
  next = 1;
  covered = 0;
});
afterEach(() => loop[Symbol.dispose]());
const watch = () =>
  watchOldestWrite({ nextSequence: () => next, coveredSequence: () => covered, nowMs: () => 1_000_000 + loop.nowMs });

test("nothing waits in an empty journal, and what was written waits since then", async () => {
  const oldest = watch();
  expect(oldest.sinceMs()).toBeUndefined();
  await loop.advance(5000);
  next = 10;
  await loop.advance(1000);
  const sinceMs = oldest.sinceMs()!;
  next = 20;
  await loop.advance(60_000);
  expect(oldest.sinceMs()).toBe(sinceMs);
  expect(sinceMs).toBe(1_006_000);
  oldest.close();
});

test("a checkpoint makes the oldest one younger: it is the first that came after", async () => {
  const oldest = watch();
  next = 10;
  await loop.advance(1000);
  next = 20;
  await loop.advance(10_000);
  covered = 9;
  expect(oldest.sinceMs()).toBe(1_002_000);
  covered = 15;
  expect(oldest.sinceMs()).toBe(1_002_000);
  covered = 19;
  expect(oldest.sinceMs()).toBeUndefined();
  oldest.close();
});

test("what an earlier run left waits from the start", async () => {
  next = 100;
  covered = 50;
  const oldest = watch();
  await loop.advance(5000);
  expect(oldest.sinceMs()).toBe(1_000_000);
  oldest.close();
});

test("after hours the age is still told, to some minutes", async () => {
  const oldest = watch();
  for (let second = 0; second < 4000; second++) {
    next += 10;
    await loop.advance(1000);
  }
  covered = next - 10 * 1000;
  const ageMs = 1_000_000 + loop.nowMs - oldest.sinceMs()!;
  expect(ageMs / 1000).toBeGreaterThanOrEqual(990);
  expect(ageMs / 1000).toBeLessThan(1300);
  oldest.close();
});
