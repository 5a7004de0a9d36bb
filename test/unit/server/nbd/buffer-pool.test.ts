import { expect, test } from "bun:test";
import { allocatedMemoryBytes } from "../../../../ffi/memory.ts";
import { createBufferPool } from "../../../../src/server/nbd/buffer-pool.ts";

const MIB = 2 ** 20;

test("a buffer has room for its data behind a header, and is used again", () => {
  const pool = createBufferPool(64 * MIB, () => {});
  const buffer = pool.take(100_000)!;
  expect(buffer.lengthBytes).toBeGreaterThanOrEqual(100_000 + 512);
  pool.give(buffer);
  expect(pool.take(131_072)).toBe(buffer);
  pool.give(buffer);
  pool.close();
});

test("large buffers have a bound together, small ones are there always; who was refused hears of room", () => {
  let heard = 0;
  const pool = createBufferPool(40 * MIB, () => void heard++);
  const large = pool.take(32 * MIB)!;
  expect(pool.take(16 * MIB)).toBeUndefined();
  expect(pool.isShort).toBe(true);
  const small = pool.take(4096)!;
  const anyway = pool.takeAnyway(16 * MIB);
  expect(heard).toBe(0);
  pool.give(large);
  expect([heard, pool.isShort]).toEqual([1, false]);
  pool.give(small);
  pool.give(anyway);
  expect([heard, pool.usedBytes]).toEqual([1, 0]);
  pool.close();
});

test("what is kept for use again has a bound, and closing gives all of it back", () => {
  const before = allocatedMemoryBytes();
  const pool = createBufferPool(1024 * MIB, () => {});
  const buffers = Array.from({ length: 8 }, () => pool.take(16 * MIB)!);
  for (const buffer of buffers) pool.give(buffer);
  expect(allocatedMemoryBytes() - before).toBeLessThanOrEqual(33 * MIB);
  pool.close();
  expect(allocatedMemoryBytes()).toBe(before);
});
