import { expect, test } from "bun:test";
import { BLOCK_COUNT_MOST, blocksUnder, depthOf, slotOf } from "../../../../../src/storage/cas/tree/shape.ts";

test.each([
  [1, 1],
  [128, 1],
  [129, 2],
  [16384, 2],
  [16385, 3],
  [2 * 2 ** 20, 3],
  [2 * 2 ** 20 + 1, 4],
  [2 ** 28, 4],
  [2 ** 28 + 1, 5],
  [2 ** 42 + 1, 7],
  [BLOCK_COUNT_MOST, 7],
])("a volume of %d blocks has a tree of depth %d", (blockCount, depth) => {
  expect(depthOf(blockCount)).toBe(depth);
});

test.each([0, -1, 1.5, NaN, Infinity, BLOCK_COUNT_MOST + 1])("a volume of %d blocks is refused", (blockCount) => {
  expect(() => depthOf(blockCount)).toThrow(RangeError);
});

test("slots are the digits of the block's number in base 128, up to the last block there can be", () => {
  for (const block of [0, 1, 127, 128, 2 ** 21 - 1, 2 ** 28 - 1, 2 ** 28, 2 ** 32 + 5, 2 ** 40 + 12345, 2 ** 44 - 1]) {
    for (let level = 1; level <= 7; level++) {
      expect(slotOf(block, level)).toBe(Math.floor(block / blocksUnder(level - 1)) % 128);
    }
  }
});
