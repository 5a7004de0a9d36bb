/** What every `Disk` does, whatever is under it. */
import { expect, test } from "bun:test";
import { EAGAIN, EEXIST, ENOENT, SystemError } from "../../ffi/libc.ts";
import { allocateMemory } from "../../ffi/memory.ts";
import type { Memory } from "../../src/base/memory.ts";
import { type Disk, type DiskFile, RangeList } from "../../src/storage/cas/disk.ts";

const memory = allocateMemory(3 * 4096);
const target = allocateMemory(3 * 4096);

function filled(lengthBytes: number, first: number): Memory {
  for (let i = 0; i < lengthBytes; i++) memory.bytes[i] = first + i;
  return memory;
}

async function readAll(file: DiskFile): Promise<string> {
  const done = await file.read(target, 0, target.lengthBytes, 0);
  return new TextDecoder().decode(target.bytes.subarray(0, done));
}

function writeText(file: DiskFile, text: string, offsetBytes: number): number {
  memory.bytes.set(new TextEncoder().encode(text));
  return file.write(memory, 0, text.length, offsetBytes);
}

/** The error number that a call throws, or a promise rejects with. */
async function errnoOf(call: () => unknown): Promise<number> {
  try {
    await call();
  } catch (error) {
    if (error instanceof SystemError) return error.errno;
    throw error;
  }
  return 0;
}

/** `open` gives a disk and an existing, empty directory on it. */
export function diskContract(name: string, open: () => { disk: Disk; directory: string }): void {
  test(`${name}: what is written is read back, with the size that it makes`, async () => {
    const { disk, directory } = open();
    const file = disk.create(`${directory}/a`);
    expect(file.sizeBytes()).toBe(0);
    expect(writeText(file, "hello", 0)).toBe(5);
    expect(writeText(file, "J", 0)).toBe(1);
    expect(file.sizeBytes()).toBe(5);
    expect(await readAll(file)).toBe("Jello");
    await file.close();
    await file.close();
  });

  test(`${name}: a hole before a write reads as zeros, without waiting`, async () => {
    const { disk, directory } = open();
    const file = disk.create(`${directory}/a`);
    expect(writeText(file, "x", 5000)).toBe(1);
    target.bytes.fill(7);
    expect(file.tryRead(target, 10, 100, 1000)).toBe(100);
    expect(target.bytes.subarray(10, 110).every((byte) => byte === 0)).toBe(true);
    expect([target.bytes[9], target.bytes[110]]).toEqual([7, 7]);
    await file.close();
  });

  test(`${name}: ranges are written one after the other in one call`, async () => {
    const { disk, directory } = open();
    const file = disk.create(`${directory}/a`);
    const ranges = new RangeList();
    const source = filled(256, 0);
    ranges.add(source, 65, 3);
    ranges.add(source, 48, 2);
    ranges.add(source, 97, 1);
    expect(ranges.totalBytes).toBe(6);
    expect(file.writeRanges(ranges, 2)).toBe(6);
    expect(await readAll(file)).toBe("\0\0ABC01a");
    ranges.clear();
    ranges.add(source, 90, 1);
    expect(file.writeRanges(ranges, 0)).toBe(1);
    expect(await readAll(file)).toBe("Z\0ABC01a");
    await file.close();
  });

  test(`${name}: prepare makes a range part of the file, and leaves in it what it held or zeros`, async () => {
    const { disk, directory } = open();
    const file = disk.create(`${directory}/a`);
    file.write(filled(5000, 1), 0, 5000, 0);
    const before = memory.bytes.slice(0, 5000);
    for (const [from, end] of [
      [100, 5000],
      [4096, 4200],
      [5000, 9000],
    ] as const) {
      file.prepare(from, end - from);
      const done = await file.read(target, 0, target.lengthBytes, 0);
      expect(done).toBe(Math.max(5000, end));
      expect(target.bytes.subarray(0, 100)).toEqual(before.subarray(0, 100));
      const kept = (byte: number, at: number): boolean => byte === 0 || byte === before[100 + at];
      expect(target.bytes.subarray(100, 5000).every(kept)).toBe(true);
      expect(target.bytes.subarray(5000, done).every((byte) => byte === 0)).toBe(true);
    }
    await file.close();
  });

  test(`${name}: tryRead gives all that was asked for, or says that read has to tell`, async () => {
    const { disk, directory } = open();
    const file = disk.create(`${directory}/a`);
    file.write(filled(4096, 3), 0, 4096, 0);
    expect(file.tryRead(target, 0, 4096, 0)).toBe(4096);
    expect(Buffer.compare(target.bytes.subarray(0, 4096), memory.bytes.subarray(0, 4096))).toBe(0);
    expect(file.tryRead(target, 0, 4096, 1)).toBe(-EAGAIN);
    expect(await file.read(target, 0, 4096, 1)).toBe(4095);
    expect(await file.read(target, 0, 4096, 5000)).toBe(0);
    await file.close();
  });

  test(`${name}: truncate cuts, and what grows back is zeros`, async () => {
    const { disk, directory } = open();
    const file = disk.create(`${directory}/a`);
    writeText(file, "0123456789", 0);
    file.truncate(4);
    expect(await readAll(file)).toBe("0123");
    file.truncate(6);
    expect(await readAll(file)).toBe("0123\0\0");
    await file.sync();
    file.forgetCached();
    expect(await readAll(file)).toBe("0123\0\0");
    await file.close();
  });

  test(`${name}: a file that is open is seen by another that opens it`, async () => {
    const { disk, directory } = open();
    const file = disk.create(`${directory}/a`);
    writeText(file, "shared", 0);
    const other = disk.open(`${directory}/a`, true);
    expect(await readAll(other)).toBe("shared");
    expect(other.path).toBe(`${directory}/a`);
    await Promise.all([file.close(), other.close()]);
  });

  test(`${name}: create refuses a name that is taken, open one that is not`, async () => {
    const { disk, directory } = open();
    await disk.create(`${directory}/a`).close();
    expect(await errnoOf(() => disk.create(`${directory}/a`))).toBe(EEXIST);
    expect(await errnoOf(() => disk.open(`${directory}/b`))).toBe(ENOENT);
    expect(await errnoOf(() => disk.create(`${directory}/none/b`))).toBe(ENOENT);
  });

  test(`${name}: list names what is in a directory and not what is below`, async () => {
    const { disk, directory } = open();
    disk.makeDirectory(`${directory}/sub`);
    disk.makeDirectory(`${directory}/sub`);
    for (const path of ["z", "b", "sub/below"]) await disk.create(`${directory}/${path}`).close();
    expect(await disk.list(directory)).toEqual(["b", "sub", "z"]);
    expect(await disk.list(`${directory}/sub`)).toEqual(["below"]);
    expect(await errnoOf(() => disk.list(`${directory}/none`))).toBe(ENOENT);
    expect(await errnoOf(() => disk.makeDirectory(`${directory}/none/below`))).toBe(ENOENT);
  });

  test(`${name}: a file that was removed lives on while it is open`, async () => {
    const { disk, directory } = open();
    const file = disk.create(`${directory}/a`);
    writeText(file, "alive", 0);
    disk.remove(`${directory}/a`);
    expect(await disk.list(directory)).toEqual([]);
    expect(await readAll(file)).toBe("alive");
    await file.sync();
    await file.close();
    expect(await errnoOf(() => disk.remove(`${directory}/a`))).toBe(ENOENT);
  });

  test(`${name}: rename replaces the file of that name`, async () => {
    const { disk, directory } = open();
    const [old, fresh] = [disk.create(`${directory}/old`), disk.create(`${directory}/fresh`)];
    writeText(old, "old", 0);
    writeText(fresh, "fresh", 0);
    disk.rename(`${directory}/fresh`, `${directory}/old`);
    await disk.syncDirectory(directory);
    expect(await disk.list(directory)).toEqual(["old"]);
    const file = disk.open(`${directory}/old`);
    expect(await readAll(file)).toBe("fresh");
    expect(await errnoOf(() => disk.rename(`${directory}/none`, `${directory}/x`))).toBe(ENOENT);
    expect(await errnoOf(() => disk.syncDirectory(`${directory}/none`))).toBe(ENOENT);
    await Promise.all([old.close(), fresh.close(), file.close()]);
  });
}
