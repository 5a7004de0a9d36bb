import { describe, expect, test } from "bun:test";
import {
  copyEntries,
  createMemtable,
  findEntries,
  insertEntry,
  type Memtable,
} from "../../../../../src/storage/cas/index/memtable.ts";
import { createPlaces } from "../../../../../src/storage/cas/index/places.ts";
import { seededRandom } from "../../../../support/seeded-random.ts";

type Entry = readonly [high: number, low: number, pack: number, ordinal: number];

const placesOf = (table: Memtable, high: number, low: number): string[] => {
  const places = createPlaces();
  findEntries(table, high, low, places);
  return Array.from({ length: places.count }, (_, i) => `${places.packs[i]}:${places.ordinals[i]}`);
};

/** Everything in the table, read in batches of `batch` entries. */
const contentOf = (table: Memtable, batch: number): Entry[] => {
  const target = new Uint32Array(batch * 4);
  const next = { slot: 0 };
  const content: Entry[] = [];
  for (;;) {
    const words = copyEntries(table, next.slot, target, next);
    if (words === 0) return content;
    for (let at = 0; at < words; at += 4)
      content.push([target[at]!, target[at + 1]!, target[at + 2]!, target[at + 3]!]);
  }
};

const inOrder = (entries: Iterable<Entry>): Entry[] =>
  [...entries].sort((a, b) => a[0] - b[0] || a[1] - b[1] || a[2] - b[2] || a[3] - b[3]);

/** Ways to spread first words: evenly, in few values, all at the very end of the table. */
const spreads: Record<string, (below: (limit: number) => number) => number> = {
  "even hashes": (below) => below(2 ** 32),
  "hashes with few first words": (below) => below(5) * 2 ** 29 + below(2),
  "hashes that all belong into the last slot": (below) => 0xffff_ffff - below(3),
};

describe.each(Object.keys(spreads))("with %s", (spread) => {
  test.each([1, 2, 3, 4, 5])("a memtable holds what a map holds, in order (seed %d)", (seed) => {
    const random = seededRandom(seed);
    const table = createMemtable(500);
    const model = new Map<string, Entry>();
    for (let i = 0; i < 600; i++) {
      const high = spreads[spread]!((limit) => random.below(limit));
      const entry: Entry = [high, random.below(3), random.below(4), random.below(3)];
      const isNew = !model.has(entry.join());
      expect(insertEntry(table, ...entry)).toBe(!isNew || model.size < 500);
      if (isNew && model.size < 500) model.set(entry.join(), entry);
    }
    expect(table.count).toBe(model.size);
    const expected = inOrder(model.values());
    expect(contentOf(table, 500)).toEqual(expected);
    expect(contentOf(table, 7)).toEqual(expected);
    for (const [high, low] of expected) {
      const places = expected.filter((other) => other[0] === high && other[1] === low);
      expect(placesOf(table, high, low)).toEqual(places.map(([, , pack, ordinal]) => `${pack}:${ordinal}`));
    }
    expect(placesOf(table, 12_345, 99)).toEqual([]);
  });
});

test("the largest and smallest of all words are kept", () => {
  const table = createMemtable(4);
  const last = 0xffff_ffff;
  expect(insertEntry(table, last, last, last - 1, last)).toBe(true);
  expect(insertEntry(table, 0, 0, 0, 0)).toBe(true);
  expect(contentOf(table, 4)).toEqual([
    [0, 0, 0, 0],
    [last, last, last - 1, last],
  ]);
});

test("a table whose last slots are taken is full, and never writes beyond its end", () => {
  const table = createMemtable(100_000);
  let count = 0;
  while (insertEntry(table, 0xffff_ffff, count, 1, 1)) count += 1;
  expect(count).toBeGreaterThan(1000);
  expect(count).toBeLessThan(2000);
  expect(contentOf(table, 100)).toHaveLength(count);
  expect(insertEntry(table, 0, 0, 1, 1)).toBe(true);
});
