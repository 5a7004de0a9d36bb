import { afterEach, expect, test } from "bun:test";
import { allocatedMemoryBytes, allocateMemory } from "../../../ffi/memory.ts";
import { LATER, MEDIUM_ERROR, OK, READ_ONLY } from "../../../src/storage/block-storage.ts";
import { openByteStorage } from "../../../src/storage/byte-storage.ts";
import { memoryStorage } from "../../../src/storage/memory-storage.ts";
import { heldStorage } from "../../support/held-storage.ts";
import { ended, readSectors } from "../../support/storage-requests.ts";

const memory = allocateMemory(8192);
memory.bytes.fill(7);
afterEach(() => void memory.bytes.fill(7));

test("whole sectors are answered at once where the disk does so, and parts of them are left for later", () => {
  const bytes = openByteStorage(memoryStorage(16));
  expect(bytes.sizeBytes).toBe(8192);
  expect(bytes.tryWrite(512, 1024, memory, 0)).toBe(OK);
  expect(bytes.tryRead(1024, 512, memory, 0)).toBe(OK);
  for (const [offset, length] of [
    [1, 512],
    [0, 511],
    [512, 1],
    [3, 4],
  ] as const) {
    expect(bytes.tryWrite(offset, length, memory, 0)).toBe(LATER);
    expect(bytes.tryRead(offset, length, memory, 0)).toBe(LATER);
  }
});

test("what begins and ends inside sectors ends once, when all of its parts have ended, with the first failure", async () => {
  const storage = heldStorage(16);
  const bytes = openByteStorage({
    ...storage,
    // Both ends fail at once, the middle waits.
    writePart: (_sector, _offsetBytes, _lengthBytes, _source, _at, _durable, completion) =>
      queueMicrotask(() => completion.complete(READ_ONLY)),
  });
  const end = ended((completion) => bytes.write(500, 1060, memory, 0, false, completion));
  let isOver = false;
  void end.then(() => (isOver = true));
  await new Promise((resolve) => setImmediate(resolve));
  expect([isOver, ...storage.waiting]).toEqual([false, "write 1+2"]);
  storage.release(MEDIUM_ERROR);
  expect(await end).toBe(READ_ONLY);
});

test("a trim frees whole sectors only, and one of less than a sector nothing", async () => {
  const storage = memoryStorage(16);
  const bytes = openByteStorage(storage);
  expect(bytes.tryWrite(0, 8192, memory, 0)).toBe(OK);
  for (const [offset, length] of [
    [1000, 1100],
    [4097, 900],
  ] as const) {
    expect(await ended((completion) => bytes.trim(offset, length, true, completion))).toBe(OK);
  }
  const expected = new Uint8Array(8192).fill(7);
  expected.fill(0, 1024, 2048);
  expect(await readSectors(storage, 0, 16)).toEqual(expected);
});

test("extents begin at the byte that was asked for and end with the range", async () => {
  const bytes = openByteStorage({
    ...memoryStorage(16),
    extents: (sector, count, most) => {
      expect([sector, count, most]).toEqual([1, 4, 5]);
      return Promise.resolve([
        { sectorCount: 1, isHole: true },
        { sectorCount: 3, isHole: false },
      ]);
    },
  });
  expect(await bytes.extents(700, 1400, 5)).toEqual([
    { lengthBytes: 324, isHole: true },
    { lengthBytes: 1076, isHole: false },
  ]);
});

test("a read of parts of sectors gives back the memory that it took", async () => {
  const storage = heldStorage(16);
  const bytes = openByteStorage(storage);
  const before = allocatedMemoryBytes();
  const end = ended((completion) => bytes.read(5, 600, memory, 0, completion));
  storage.release(MEDIUM_ERROR);
  expect(await end).toBe(MEDIUM_ERROR);
  expect(allocatedMemoryBytes()).toBe(before);
});
