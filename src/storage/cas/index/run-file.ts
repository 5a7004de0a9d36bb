/** Reads and writes whole pieces of the index's files, in slices that leave the event loop free in between. */
import { crc32 } from "node:zlib";
import { ENOENT, ENOSPC, SystemError } from "../../../../ffi/libc.ts";
import { allocateMemory, freeMemory } from "../../../../ffi/memory.ts";
import type { Memory } from "../../../base/memory.ts";
import type { Disk, DiskFile } from "../disk.ts";
import { IndexDamaged } from "./run-format.ts";

/** Where the files of an index are, and how its long work is interrupted. */
export interface IndexPlace {
  readonly disk: Disk;
  /** A directory that has nothing else in it. */
  readonly directory: string;
  /** Resolves when whatever else waits for the event loop has had its turn. */
  pause(): Promise<void>;
}

/** A slice takes the event loop well under 1 ms. */
const SLICE_BYTES = 2 ** 18;

/**
 * After so many bytes a file is synced while the next are written. Left to the end, gigabytes of dirty pages would
 * have writers wait in the kernel, and every fdatasync of a journal on the same filesystem with them.
 */
const SYNC_BYTES = 2 ** 23;

const memories: Memory[] = [];

/** Memory for one slice, for the kernel to read and write. Give it back with `returnSlice`. */
export const takeSlice = (): Memory => memories.pop() ?? allocateMemory(SLICE_BYTES);

/** So many are kept for later. */
const KEPT_MEMORIES = 8;

/** Not while a read fills it. */
export function returnSlice(memory: Memory): void {
  if (memories.length < KEPT_MEMORIES) memories.push(memory);
  else freeMemory(memory);
}

export const wordsOf = (memory: Memory): Uint32Array =>
  new Uint32Array(memory.bytes.buffer as ArrayBuffer, memory.bytes.byteOffset, memory.lengthBytes / 4);

/** Fills a part of `target`. What cannot be read is damage like any other: the index can be built again elsewhere. */
export async function readFully(
  file: DiskFile,
  target: Memory,
  lengthBytes: number,
  offsetBytes: number,
): Promise<void> {
  const done = await file.read(target, 0, lengthBytes, offsetBytes);
  if (done === lengthBytes) return;
  const why = done < 0 ? new SystemError("the read failed", -done).message : "the file ends before that";
  throw new IndexDamaged(`${lengthBytes} bytes at byte ${offsetBytes} of ${file.path} cannot be read: ${why}`);
}

/** Reads all of `target` and returns its CRC-32. */
export async function readBytes(file: DiskFile, target: Uint8Array, offsetBytes: number): Promise<number> {
  const memory = takeSlice();
  let checksum = 0;
  try {
    for (let at = 0; at < target.length; at += SLICE_BYTES) {
      const lengthBytes = Math.min(SLICE_BYTES, target.length - at);
      await readFully(file, memory, lengthBytes, offsetBytes + at);
      const slice = memory.bytes.subarray(0, lengthBytes);
      target.set(slice, at);
      checksum = crc32(slice, checksum);
    }
    return checksum;
  } finally {
    returnSlice(memory);
  }
}

/** A file that is being written. */
export interface WrittenFile {
  readonly file: DiskFile;
  readonly place: IndexPlace;
  unsyncedBytes: number;
  syncing: Promise<void>;
}

export const writtenFile = (place: IndexPlace, file: DiskFile): WrittenFile => ({
  file,
  place,
  unsyncedBytes: 0,
  syncing: Promise.resolve(),
});

/** Writes the beginning of `source`, which must not change meanwhile, and lets others have the event loop. */
export async function writeSlice(
  written: WrittenFile,
  source: Memory,
  lengthBytes: number,
  offsetBytes: number,
): Promise<void> {
  const { file, place } = written;
  for (let done = 0; done < lengthBytes;) {
    const bytes = file.write(source, done, lengthBytes - done, offsetBytes + done);
    if (bytes <= 0) throw new SystemError(`${file.path} cannot be written`, bytes < 0 ? -bytes : ENOSPC);
    done += bytes;
  }
  written.unsyncedBytes += lengthBytes;
  if (written.unsyncedBytes >= SYNC_BYTES) {
    written.unsyncedBytes = 0;
    await written.syncing;
    written.syncing = file.sync();
    // Awaited later: a failure is met there, and must not be unheard until then.
    written.syncing.catch(() => {});
  }
  await place.pause();
}

/** Writes all of `bytes` and returns its CRC-32. */
export async function writeBytes(written: WrittenFile, bytes: Uint8Array, offsetBytes: number): Promise<number> {
  const memory = takeSlice();
  let checksum = 0;
  try {
    for (let at = 0; at < bytes.length; at += SLICE_BYTES) {
      const slice = bytes.subarray(at, at + SLICE_BYTES);
      memory.bytes.set(slice);
      await writeSlice(written, memory, slice.length, offsetBytes + at);
      checksum = crc32(slice, checksum);
    }
    return checksum;
  } finally {
    returnSlice(memory);
  }
}

/** Makes everything durable that was written. */
export async function syncWritten(written: WrittenFile): Promise<void> {
  await written.syncing;
  await written.file.sync();
}

/** Closes a file of which nothing is wanted any more: not even whether that worked. */
export function closeFile(file: DiskFile): void {
  file.close().catch(() => {});
}

/** Removes a file that may be there or not. */
export function removeIfThere(disk: Disk, path: string): void {
  try {
    disk.remove(path);
  } catch (error) {
    if (!(error instanceof SystemError && error.errno === ENOENT)) throw error;
  }
}
