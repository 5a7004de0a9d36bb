/** Requests to a storage as promises, with what every one of them has to keep to. */
import { closeSync, openSync, readSync, unlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeAt } from "../../ffi/file.ts";
import { allocateMemory, freeMemory } from "../../ffi/memory.ts";
import type { Memory } from "../../src/base/memory.ts";
import {
  LATER,
  OK,
  SECTOR_BYTES,
  type BlockStorage,
  type Completion,
  type Extent,
  type StorageStatus,
} from "../../src/storage/block-storage.ts";
import { extentList } from "../../src/storage/extent-list.ts";

const STATUS_NAMES = ["ok", "later", "out of range", "read-only", "medium error", "no space"];
export const statusName = (status: StorageStatus): string => STATUS_NAMES[status] ?? `status ${status}`;

/** The end of a request that takes a completion. Throws where that is told within the call, rejects where twice. */
export function ended(begin: (completion: Completion) => void): Promise<StorageStatus> {
  const { promise, resolve, reject } = Promise.withResolvers<StorageStatus>();
  let calling = true;
  let count = 0;
  begin({
    complete(status) {
      count++;
      if (calling) reject(new Error("a completion was told within the call that it was given in"));
      else if (count > 1) throw new Error("a completion was told twice");
      // A later turn, so that being told twice is noticed before the test goes on.
      else setImmediate(() => resolve(status));
    },
  });
  calling = false;
  return promise;
}

/** Lends out memory of `count` sectors for as long as `use` takes. */
export async function withMemory<T>(count: number, use: (memory: Memory) => Promise<T>): Promise<T> {
  const memory = allocateMemory(count * SECTOR_BYTES);
  try {
    return await use(memory);
  } finally {
    freeMemory(memory);
  }
}

/** Reads as a protocol does: at once where that goes, else later. */
export function readStatus(
  storage: BlockStorage,
  sector: number,
  count: number,
  target: Memory,
): Promise<StorageStatus> {
  const status = storage.tryRead(sector, count, target, 0);
  if (status !== LATER) return Promise.resolve(status);
  return ended((completion) => storage.read(sector, count, target, 0, completion));
}

/** The bytes of sectors. Rejects where the read fails. */
export function readSectors(storage: BlockStorage, sector: number, count: number): Promise<Uint8Array> {
  return withMemory(count, async (memory) => {
    const status = await readStatus(storage, sector, count, memory);
    if (status !== OK) throw new Error(`read of ${count} sectors at ${sector}: ${statusName(status)}`);
    return memory.bytes.slice(0, count * SECTOR_BYTES);
  });
}

/** Writes as a protocol does, and spoils the source as soon as it may: the storage must have copied it. */
export function writeStatus(
  storage: BlockStorage,
  sector: number,
  data: Uint8Array,
  durable = false,
): Promise<StorageStatus> {
  const count = data.length / SECTOR_BYTES;
  const memory = allocateMemory(data.length);
  try {
    memory.bytes.set(data);
    const status = durable ? LATER : storage.tryWrite(sector, count, memory, 0);
    if (status !== LATER) return Promise.resolve(status);
    const end = ended((completion) => storage.write(sector, count, memory, 0, durable, completion));
    memory.bytes.fill(0xee);
    return end;
  } finally {
    freeMemory(memory);
  }
}

export async function writeSectors(storage: BlockStorage, sector: number, data: Uint8Array): Promise<void> {
  const status = await writeStatus(storage, sector, data);
  if (status !== OK) throw new Error(`write at sector ${sector}: ${statusName(status)}`);
}

export const flushStatus = (storage: BlockStorage): Promise<StorageStatus> =>
  ended((completion) => storage.flush(completion));

export const discardStatus = (storage: BlockStorage, sector: number, count: number): Promise<StorageStatus> =>
  ended((completion) => storage.writeZeroes(sector, count, false, false, completion));

/** All extents of a disk, or of the sectors from `first` to before `end`, as those who ask bit by bit put them together. */
export async function allExtents(
  storage: Pick<BlockStorage, "info" | "extents">,
  first = 0,
  end = storage.info.sectorCount,
  most = 64,
): Promise<Extent[]> {
  const list = extentList(Infinity);
  for (let at = first; at < end;) {
    const extents = await storage.extents(at, end - at, most);
    if (extents.length === 0 || extents.length > most) throw new Error(`${extents.length} extents of at most ${most}`);
    for (const { sectorCount, isHole } of extents) {
      if (sectorCount < 1) throw new Error(`an extent of ${sectorCount} sectors`);
      list.add(sectorCount, isHole);
      at += sectorCount;
    }
    if (at > end) throw new Error(`extents that end at sector ${at}, asked for were those before ${end}`);
  }
  return list.extents;
}

/** Bytes at an address as a system call finds them, and as nothing else may: see `BlockStorage.lend`. */
export function copyLent(address: number, lengthBytes: number): Uint8Array {
  const path = join(tmpdir(), `voe-lent-${process.pid}`);
  const fd = openSync(path, "w+", 0o600);
  try {
    unlinkSync(path);
    const written = writeAt(fd, address, lengthBytes, 0);
    if (written !== lengthBytes) throw new Error(`the kernel copied ${written} of ${lengthBytes} lent bytes`);
    const bytes = new Uint8Array(lengthBytes);
    readSync(fd, bytes, 0, lengthBytes, 0);
    return bytes;
  } finally {
    closeSync(fd);
  }
}
