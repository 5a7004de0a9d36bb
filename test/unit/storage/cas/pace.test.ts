import { expect, test } from "bun:test";
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
  work(10);
  setImmediate(() => work(1));
  const beganMs = performance.now();
  await pace.rest();
  // Four times ten milliseconds, less the one that the others took.
  expect(performance.now() - beganMs).toBeGreaterThanOrEqual(38);
});
