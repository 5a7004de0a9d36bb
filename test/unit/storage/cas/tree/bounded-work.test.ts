import { expect, test } from "bun:test";
import { forEachBounded } from "../../../../../src/storage/cas/tree/bounded-work.ts";
import { reasonOf } from "../../../../support/reason-of.ts";

test("items are begun in order, no more than so many unfinished, and all are done in the end", async () => {
  const begun: number[] = [];
  let now = 0;
  let most = 0;
  await forEachBounded([...Array(20).keys()], 4, async (item) => {
    begun.push(item);
    most = Math.max(most, ++now);
    for (let turn = item % 3; turn >= 0; turn--) await new Promise((resolve) => setImmediate(resolve));
    now--;
  });
  expect(begun).toEqual([...Array(20).keys()]);
  expect(most).toBe(4);
  expect(now).toBe(0);
});

test("after a failure nothing more is begun, and it is told when what was begun has ended", async () => {
  const begun: number[] = [];
  const ended: number[] = [];
  const work = async (item: number): Promise<void> => {
    begun.push(item);
    for (let turn = 0; turn < (item === 1 ? 1 : 5); turn++) await new Promise((resolve) => setImmediate(resolve));
    ended.push(item);
    if (item === 1) throw new Error("failed at 1");
    if (item === 0) throw new Error("failed at 0");
  };
  expect(await reasonOf(forEachBounded([0, 1, 2, 3, 4, 5], 3, work))).toBe("failed at 1");
  expect(begun).toEqual([0, 1, 2]);
  expect(ended.toSorted((a, b) => a - b)).toEqual([0, 1, 2]);
});

test("a failure without a promise is told like one with", async () => {
  const begun: number[] = [];
  const reason = await reasonOf(
    forEachBounded([0, 1, 2], 3, (item) => {
      begun.push(item);
      if (item === 1) throw new Error("failed at once");
      return undefined;
    }),
  );
  expect(reason).toBe("failed at once");
  expect(begun).toEqual([0, 1]);
});

test("long work without a promise gives the event loop its turn", async () => {
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  await forEachBounded([...Array(20).keys()], 1, () => {
    const until = performance.now() + 1;
    while (performance.now() < until);
    return undefined;
  });
  clearInterval(timer);
  expect(turns).toBeGreaterThan(3);
});
