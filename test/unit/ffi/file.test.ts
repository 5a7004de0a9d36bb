import { afterEach, beforeEach, expect, test } from "bun:test";
import { closeSync, ftruncateSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isHole, lockFile, punchHole, readAt, readCached, sizeOf, writeAt } from "../../../ffi/file.ts";
import { EAGAIN } from "../../../ffi/libc.ts";
import { allocateMemory } from "../../../ffi/memory.ts";
import { dropCached, missingForResidency } from "../../support/page-cache.ts";
import { titleUnless } from "../../support/requirements.ts";

const EBADF = 9;
const MIB = 2 ** 20;
const memory = allocateMemory(MIB);

let directory: string;
let path: string;
let fd: number;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "voe-ffi-"));
  path = join(directory, "file");
  writeFileSync(path, new Uint8Array(MIB).fill(7));
  fd = openSync(path, "r+");
});
afterEach(() => {
  closeSync(fd);
  rmSync(directory, { recursive: true });
});

const missing = missingForResidency();

test.skipIf(missing !== undefined)(
  titleUnless(missing, "a cached read does not wait for what is not in memory"),
  () => {
    dropCached(path);
    expect(readCached(fd, memory.address, 4096, MIB / 2)).toBe(-EAGAIN);
    readFileSync(path);
    expect(readCached(fd, memory.address, 4096, MIB / 2)).toBe(4096);
    expect(memory.bytes[4095]).toBe(7);
  },
);

test("reads end at the end of the file, and errors are negative numbers", () => {
  expect(readAt(fd, memory.address, 4096, MIB - 100)).toBe(100);
  expect(readAt(fd, memory.address, 4096, MIB)).toBe(0);
  expect(readAt(-1, memory.address, 4096, 0)).toBe(-EBADF);
  expect(readCached(-1, memory.address, 4096, 0)).toBe(-EBADF);
  expect(writeAt(-1, memory.address, 4096, 0)).toBe(-EBADF);
  expect(sizeOf(-1)).toBe(-EBADF);
});

test("offsets beyond 4 GiB arrive whole", () => {
  const farBytes = 5 * 2 ** 32 + 12_345;
  memory.bytes.fill(9, 0, 4096);
  expect(writeAt(fd, memory.address, 4096, farBytes)).toBe(4096);
  expect(sizeOf(fd)).toBe(farBytes + 4096);
  memory.bytes.fill(0, 0, 4096);
  expect(readAt(fd, memory.address, 4096, farBytes)).toBe(4096);
  expect(memory.bytes[4095]).toBe(9);
  expect(readCached(fd, memory.address, 4096, farBytes)).toBe(4096);
});

test("a range without data is a hole, one with any data is not", () => {
  ftruncateSync(fd, 4 * MIB);
  expect(isHole(fd, 0, 4096)).toBe(false);
  expect(isHole(fd, MIB, MIB)).toBe(true);
  expect(isHole(fd, MIB - 4096, MIB)).toBe(false);
  expect(isHole(fd, 3 * MIB, MIB)).toBe(true);
  writeAt(fd, memory.address, 4096, 2 * MIB);
  expect(isHole(fd, MIB, MIB)).toBe(true);
  expect(isHole(fd, MIB, MIB + 1)).toBe(false);
});

test("a hole that is punched reads as zeros and leaves the size", () => {
  expect(punchHole(fd, 4096, 8192)).toBe(0);
  const bytes = readFileSync(path);
  expect(bytes.length).toBe(MIB);
  expect(bytes.subarray(4096, 12_288).every((byte) => byte === 0)).toBe(true);
  expect([bytes[4095], bytes[12_288]]).toEqual([7, 7]);
});

test("locks exclude each other as they should, and end with the descriptor", () => {
  const other = openSync(path, "r");
  expect(lockFile(fd, false)).toBe(true);
  expect(lockFile(other, false)).toBe(true);
  closeSync(fd);
  expect(lockFile(other, true)).toBe(true);
  fd = openSync(path, "r+");
  expect(lockFile(fd, false)).toBe(false);
  expect(lockFile(fd, true)).toBe(false);
  closeSync(other);
  expect(lockFile(fd, true)).toBe(true);
});

test("a lock that the system cannot give is an error, and not one that somebody else has", () => {
  expect(() => lockFile(-1, true)).toThrow("cannot be locked against a second server: ");
});
