import { expect, test } from "bun:test";
import { CLEAN, dirtyBlocks, ZERO } from "../../../../src/storage/cas/dirty-blocks.ts";
import { seededRandom, testSeed } from "../../../support/seeded-random.ts";

const SECTORS = 4096;

test("a sector that nobody changed is clean", () => {
  const dirty = dirtyBlocks(8);
  expect(dirty.placeOf(17)).toBe(CLEAN);
  expect(dirty.isDirty(2)).toBe(false);
});

test("a write that straddles blocks leaves the rest of them clean", () => {
  const dirty = dirtyBlocks(8);
  dirty.write(6, 4, 1000, 512);
  expect([5, 6, 7, 8, 9, 10].map((sector) => dirty.placeOf(sector))).toEqual([CLEAN, 1000, 1512, 2024, 2536, CLEAN]);
  expect([...dirty.blocks()]).toEqual([0, 1]);
});

test("a write into a discarded block leaves the rest of it zero", () => {
  const dirty = dirtyBlocks(8);
  dirty.discard(0, 64);
  dirty.write(9, 1, 77, 1);
  expect([8, 9, 10, 16].map((sector) => dirty.placeOf(sector))).toEqual([ZERO, 77, ZERO, ZERO]);
  expect([...dirty.zeroRanges()]).toEqual([
    [0, 1],
    [2, 8],
  ]);
});

test("a disk that is discarded as a whole takes no memory for it", () => {
  const dirty = dirtyBlocks(8);
  const before = dirty.memoryBytes;
  dirty.discard(0, 2 ** 40);
  expect(dirty.memoryBytes).toBe(before);
  expect(dirty.placeOf(2 ** 39)).toBe(ZERO);
});

for (const blockSectors of [1, 8, 128]) {
  test(`random writes and discards with blocks of ${blockSectors} sectors are those of a plain array (seed ${testSeed})`, () => {
    const random = seededRandom(testSeed);
    const dirty = dirtyBlocks(blockSectors);
    const model = new Float64Array(SECTORS);
    for (let step = 1; step <= 4000; step++) {
      const sector = random.below(SECTORS);
      const count = 1 + random.below(Math.min(SECTORS - sector, random.below(8) === 0 ? 1024 : 20));
      if (random.below(3) === 0) {
        dirty.discard(sector, count);
        model.fill(ZERO, sector, sector + count);
      } else {
        const stride = random.chance(0.5) ? 1 : 3;
        dirty.write(sector, count, step * 4096, stride);
        for (let i = 0; i < count; i++) model[sector + i] = step * 4096 + i * stride;
      }
      if (step % 100 !== 0) continue;
      for (let i = 0; i < SECTORS; i++)
        if (dirty.placeOf(i) !== model[i]) expect([i, dirty.placeOf(i)]).toEqual([i, model[i]!]);
      for (let i = 0; i < SECTORS; i++) {
        const most = 1 + random.below(Math.min(300, SECTORS - i));
        let run = model[i]! > 0 ? 1 : 0;
        while (run > 0 && run < most && model[i + run] === model[i]! + run) run++;
        if (dirty.placedRun(i, most) !== run) expect([i, most, dirty.placedRun(i, most)]).toEqual([i, most, run]);
      }
      const listed = new Set(dirty.blocks());
      expect(listed.size).toBe(dirty.blockCount);
      for (const [from, to] of dirty.zeroRanges()) for (let block = from; block < to; block++) listed.add(block);
      for (let block = 0; block < SECTORS / blockSectors; block++) {
        const isDirty = model
          .subarray(block * blockSectors, (block + 1) * blockSectors)
          .some((place) => place !== CLEAN);
        if (dirty.isDirty(block) !== isDirty || listed.has(block) !== isDirty)
          expect([block, listed.has(block)]).toEqual([block, isDirty]);
      }
    }
  });
}
