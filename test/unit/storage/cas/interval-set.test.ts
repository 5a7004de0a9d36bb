import { expect, test } from "bun:test";
import { intervalSet } from "../../../../src/storage/cas/interval-set.ts";
import { seededRandom, testSeed } from "../../../support/seeded-random.ts";

test("intervals that touch become one", () => {
  const set = intervalSet();
  set.add(1, 3);
  set.add(5, 7);
  set.add(3, 5);
  expect([...set.intervals()]).toEqual([[1, 7]]);
});

test("what is taken out of the middle leaves two", () => {
  const set = intervalSet();
  set.add(0, 10);
  set.remove(4, 6);
  expect([...set.intervals()]).toEqual([
    [0, 4],
    [6, 10],
  ]);
  expect([3, 4, 5, 6].map((value) => set.has(value))).toEqual([true, false, false, true]);
});

test("an empty interval changes nothing", () => {
  const set = intervalSet();
  set.add(3, 3);
  set.add(0, 5);
  set.remove(2, 2);
  expect([...set.intervals()]).toEqual([[0, 5]]);
});

test(`random changes are those of a plain set, with the fewest intervals (seed ${testSeed})`, () => {
  const random = seededRandom(testSeed);
  const set = intervalSet();
  const model = new Set<number>();
  for (let step = 0; step < 3000; step++) {
    const from = random.below(200);
    const to = from + random.below(30);
    const adds = random.below(2) === 0;
    if (adds) set.add(from, to);
    else set.remove(from, to);
    for (let value = from; value < to; value++) {
      if (adds) model.add(value);
      else model.delete(value);
    }
    let runs = 0;
    for (let value = 0; value < 240; value++) {
      if (set.has(value) !== model.has(value))
        expect([step, value, set.has(value)]).toEqual([step, value, model.has(value)]);
      if (model.has(value) && !model.has(value - 1)) runs++;
    }
    expect(set.size).toBe(runs);
  }
});

test("the intervals of a range are those that have a part in it", () => {
  const set = intervalSet();
  for (const [from, to] of [
    [10, 20],
    [30, 40],
    [50, 60],
  ] as const) {
    set.add(from, to);
  }
  expect([...set.intervals(19, 31)]).toEqual([
    [10, 20],
    [30, 40],
  ]);
  expect([...set.intervals(20, 30)]).toEqual([]);
  expect([...set.intervals(40, 51)]).toEqual([[50, 60]]);
  expect([...set.intervals(0, 10)]).toEqual([]);
  expect([...set.intervals(60)]).toEqual([]);
});
