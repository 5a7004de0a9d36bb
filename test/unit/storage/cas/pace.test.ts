import { expect, test } from "bun:test";
import { replaceEventLoop } from "../../../../src/base/event-loop.ts";
import { clientsFirst } from "../../../../src/storage/cas/pace.ts";

/** Holds the event loop for a while. */
function work(ms: number): void {
  const untilMs = performance.now() + ms;
  while (performance.now() < untilMs);
}

test("a slice is due after half a millisecond of work, and not after a rest", async () => {
  const pace = clientsFirst();
  // A busy machine may take the processor away in between.
  let isFresh = false;
  for (let attempt = 0; attempt < 100 && !isFresh; attempt++) {
    await pace.rest();
    isFresh = !pace.isDue;
  }
  expect(isFresh).toBe(true);
  work(0.6);
  expect(pace.isDue).toBe(true);
});

test("where others use their turn it stays away for several times as long as it worked", async () => {
  const pace = clientsFirst();
  work(4);
  setImmediate(() => work(1));
  const beganMs = performance.now();
  await pace.rest();
  // Four times four milliseconds, less the one that the others took.
  expect(performance.now() - beganMs).toBeGreaterThanOrEqual(14);
});

test("a slice that waited for a medium is not followed by a rest that is as long", async () => {
  const pace = clientsFirst();
  await Bun.sleep(30);
  setImmediate(() => work(1));
  const beganMs = performance.now();
  await pace.rest();
  expect(performance.now() - beganMs).toBeLessThan(100);
});

test("time that passed before work is resumed is not paid for by a rest", async () => {
  let nowMs = 0;
  const restsMs: number[] = [];
  const restore = replaceEventLoop({
    nowMs: () => nowMs,
    async turn() {
      nowMs += 1;
    },
    after(delayMs, work) {
      restsMs.push(delayMs);
      nowMs += delayMs;
      work();
      return () => {};
    },
    every: () => () => {},
  });
  try {
    const pace = clientsFirst(() => 8);
    nowMs += 9000;
    pace.resume();
    nowMs += 2;
    await pace.rest();
    expect(restsMs).toEqual([15]);
  } finally {
    restore();
  }
});
