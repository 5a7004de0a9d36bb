import { expect, test } from "bun:test";
import { addToFilter, createFilter, filterOf, mayContain } from "../../../../../src/storage/cas/index/bloom-filter.ts";
import { seededRandom } from "../../../../support/seeded-random.ts";

const ENTRIES = 20_000;
const random = seededRandom(1);
const filter = createFilter(ENTRIES);
const hashes = Array.from({ length: ENTRIES }, () => [random.below(2 ** 32), random.below(2 ** 32)] as const);
for (const [high, low] of hashes) addToFilter(filter, high, low);

test("a filter never denies what was added, read back from its bytes too", () => {
  const read = filterOf(new Uint32Array(filter.words));
  expect(hashes.filter(([high, low]) => !mayContain(filter, high, low))).toEqual([]);
  expect(hashes.filter(([high, low]) => !mayContain(read, high, low))).toEqual([]);
});

test("a filter takes two bytes an entry and is wrong about one absent hash in 500 at most", () => {
  expect(filter.words.byteLength).toBe(ENTRIES * 2);
  let wrong = 0;
  for (let i = 0; i < 100_000; i++) if (mayContain(filter, random.below(2 ** 32), random.below(2 ** 32))) wrong += 1;
  expect(wrong).toBeLessThan(200);
});

test("a filter tells hashes apart that differ in one bit of their second half", () => {
  const single = createFilter(1000);
  addToFilter(single, 1, 0x1234_5678);
  const alike = Array.from({ length: 32 }, (_, bit) => (0x1234_5678 ^ (1 << bit)) >>> 0);
  expect(alike.filter((low) => mayContain(single, 1, low))).toEqual([]);
});

test("the hashes at both ends have lines, in a filter of one line too", () => {
  for (const entries of [0, 1, 32, 33, 5000]) {
    const ends = createFilter(entries);
    addToFilter(ends, 0, 0);
    addToFilter(ends, 0xffff_ffff, 0xffff_ffff);
    expect(mayContain(ends, 0, 0) && mayContain(ends, 0xffff_ffff, 0xffff_ffff)).toBe(true);
  }
});
