import { expect, test } from "bun:test";
import {
  addSectors,
  endOfRun,
  EXTENT_SECTORS,
  hasAll,
  hasAny,
  MASK_WORDS,
  removeSectors,
} from "../../../../src/storage/cas/sector-mask.ts";
import { seededRandom, testSeed } from "../../../support/seeded-random.ts";

test(`a mask holds what a set of sectors holds, and its neighbours stay empty (VOE_TEST_SEED=${testSeed})`, () => {
  const random = seededRandom(testSeed);
  const masks = new Int32Array(3 * MASK_WORDS);
  const model = new Set<number>();
  for (let step = 0; step < 5000; step++) {
    const from = random.below(EXTENT_SECTORS);
    const to =
      from + 1 + random.below(random.chance(0.5) ? Math.min(20, EXTENT_SECTORS - from) : EXTENT_SECTORS - from);
    const adds = random.chance(0.5);
    (adds ? addSectors : removeSectors)(masks, MASK_WORDS, from, to);
    for (let sector = from; sector < to; sector++) {
      if (adds) model.add(sector);
      else model.delete(sector);
    }
    const first = random.below(EXTENT_SECTORS);
    const end = first + 1 + random.below(EXTENT_SECTORS - first);
    const asked = Array.from({ length: end - first }, (_, i) => model.has(first + i));
    expect(hasAll(masks, MASK_WORDS, first, end)).toBe(asked.every(Boolean));
    expect(hasAny(masks, MASK_WORDS, first, end)).toBe(asked.some(Boolean));
    const change = asked.findIndex((is) => is !== asked[0]);
    expect(endOfRun(masks, MASK_WORDS, first, end)).toBe(change < 0 ? end : first + change);
    expect(hasAny(masks, 0, 0, EXTENT_SECTORS) || hasAny(masks, 2 * MASK_WORDS, 0, EXTENT_SECTORS)).toBe(false);
  }
});
