/**
 * Any byte offset and length over a disk of sectors. What begins and ends with sectors goes straight to the disk; of the
 * rest, each sector that is changed in part is one step of the disk's own order, so nothing is lost to anyone who uses
 * the disk at the same time, through this or not.
 */
import { allocateMemory, freeMemory } from "../../ffi/memory.ts";
import type { Memory } from "../base/memory.ts";
import { LATER, OK, SECTOR_BYTES, type BlockStorage, type Completion, type StorageStatus } from "./block-storage.ts";
import { tell } from "./tell.ts";

export interface ByteExtent {
  readonly lengthBytes: number;
  /** The bytes read as zeros, and nothing is kept for them. */
  readonly isHole: boolean;
}

/** A disk by bytes. Every method is that of `BlockStorage`; lengths are at least 1, and a range lies on the disk. */
export interface ByteStorage {
  readonly storage: BlockStorage;
  /** Grows with the disk. */
  readonly sizeBytes: number;
  tryRead(offsetBytes: number, lengthBytes: number, target: Memory, at: number): StorageStatus;
  read(offsetBytes: number, lengthBytes: number, target: Memory, at: number, completion: Completion): void;
  tryWrite(offsetBytes: number, lengthBytes: number, source: Memory, at: number): StorageStatus;
  write(
    offsetBytes: number,
    lengthBytes: number,
    source: Memory,
    at: number,
    durable: boolean,
    completion: Completion,
  ): void;
  writeZeroes(
    offsetBytes: number,
    lengthBytes: number,
    allocate: boolean,
    durable: boolean,
    completion: Completion,
  ): void;
  /** Frees the whole sectors of a range, which read as zeros from then on; the others stay as they are. */
  trim(offsetBytes: number, lengthBytes: number, durable: boolean, completion: Completion): void;
  flush(completion: Completion): void;
  /** Extents of a range, which may end before it; the last ends with it at most. */
  extents(offsetBytes: number, lengthBytes: number, most: number): Promise<ByteExtent[]>;
}

const zeroes = allocateMemory(SECTOR_BYTES);

const isAligned = (offsetBytes: number, lengthBytes: number): boolean =>
  offsetBytes % SECTOR_BYTES === 0 && lengthBytes % SECTOR_BYTES === 0;

/** A request's bytes: a part of a sector at its beginning, whole sectors, and a part of one at its end. */
interface Pieces {
  /** Sector that the request begins in. */
  readonly first: number;
  /** Offset in it. */
  readonly headAt: number;
  /** Bytes before the first whole sector, or all of the request's where it lies in one sector. */
  readonly headBytes: number;
  /** The first whole sector. */
  readonly sector: number;
  readonly count: number;
  /** Bytes after the last whole sector. */
  readonly tailBytes: number;
}

function piecesOf(offsetBytes: number, lengthBytes: number): Pieces {
  const first = Math.floor(offsetBytes / SECTOR_BYTES);
  const headAt = offsetBytes - first * SECTOR_BYTES;
  const headBytes = headAt === 0 ? 0 : Math.min(SECTOR_BYTES - headAt, lengthBytes);
  const sector = headAt === 0 ? first : first + 1;
  const count = Math.floor((lengthBytes - headBytes) / SECTOR_BYTES);
  return { first, headAt, headBytes, sector, count, tailBytes: lengthBytes - headBytes - count * SECTOR_BYTES };
}

/** Ends a request when so many parts of it have ended, with the first failure. */
function joined(parts: number, completion: Completion): Completion {
  let left = parts;
  let first: StorageStatus = OK;
  return {
    complete(status) {
      if (first === OK) first = status;
      if (--left === 0) completion.complete(first);
    },
  };
}

export function openByteStorage(storage: BlockStorage): ByteStorage {
  /** Does both ends as parts of a sector and the middle by `change`, all begun before this returns. */
  const changeParts = (
    { first, headAt, headBytes, sector, count, tailBytes }: Pieces,
    source: Memory,
    at: number,
    tailAt: number,
    durable: boolean,
    completion: Completion,
    change: (sector: number, count: number, completion: Completion) => void,
  ): void => {
    const end = joined(Number(headBytes > 0) + Number(count > 0) + Number(tailBytes > 0), completion);
    if (headBytes > 0) storage.writePart(first, headAt, headBytes, source, at, durable, end);
    if (count > 0) change(sector, count, end);
    if (tailBytes > 0) storage.writePart(sector + count, 0, tailBytes, source, tailAt, durable, end);
  };

  return {
    storage,
    get sizeBytes() {
      return storage.info.sectorCount * SECTOR_BYTES;
    },
    tryRead(offsetBytes, lengthBytes, target, at) {
      if (!isAligned(offsetBytes, lengthBytes)) return LATER;
      return storage.tryRead(offsetBytes / SECTOR_BYTES, lengthBytes / SECTOR_BYTES, target, at);
    },
    read(offsetBytes, lengthBytes, target, at, completion) {
      if (isAligned(offsetBytes, lengthBytes)) {
        storage.read(offsetBytes / SECTOR_BYTES, lengthBytes / SECTOR_BYTES, target, at, completion);
        return;
      }
      const sector = Math.floor(offsetBytes / SECTOR_BYTES);
      const count = Math.ceil((offsetBytes + lengthBytes) / SECTOR_BYTES) - sector;
      const whole = allocateMemory(count * SECTOR_BYTES);
      const end = (status: StorageStatus): void => {
        const from = offsetBytes - sector * SECTOR_BYTES;
        if (status === OK) target.bytes.set(whole.bytes.subarray(from, from + lengthBytes), at);
        freeMemory(whole);
        completion.complete(status);
      };
      const status = storage.tryRead(sector, count, whole, 0);
      if (status === LATER) storage.read(sector, count, whole, 0, { complete: end });
      else tell({ complete: end }, status);
    },
    tryWrite(offsetBytes, lengthBytes, source, at) {
      if (!isAligned(offsetBytes, lengthBytes)) return LATER;
      return storage.tryWrite(offsetBytes / SECTOR_BYTES, lengthBytes / SECTOR_BYTES, source, at);
    },
    write(offsetBytes, lengthBytes, source, at, durable, completion) {
      if (isAligned(offsetBytes, lengthBytes)) {
        storage.write(offsetBytes / SECTOR_BYTES, lengthBytes / SECTOR_BYTES, source, at, durable, completion);
        return;
      }
      const pieces = piecesOf(offsetBytes, lengthBytes);
      const middleAt = at + pieces.headBytes;
      const tailAt = middleAt + pieces.count * SECTOR_BYTES;
      changeParts(pieces, source, at, tailAt, durable, completion, (sector, count, end) =>
        storage.write(sector, count, source, middleAt, durable, end),
      );
    },
    writeZeroes(offsetBytes, lengthBytes, allocate, durable, completion) {
      changeParts(piecesOf(offsetBytes, lengthBytes), zeroes, 0, 0, durable, completion, (sector, count, end) =>
        storage.writeZeroes(sector, count, allocate, durable, end),
      );
    },
    trim(offsetBytes, lengthBytes, durable, completion) {
      const { sector, count } = piecesOf(offsetBytes, lengthBytes);
      if (count > 0) storage.writeZeroes(sector, count, false, durable, completion);
      else if (durable) storage.flush(completion);
      else tell(completion, OK);
    },
    flush: (completion) => storage.flush(completion),
    async extents(offsetBytes, lengthBytes, most) {
      const first = Math.floor(offsetBytes / SECTOR_BYTES);
      const end = offsetBytes + lengthBytes;
      const extents = await storage.extents(first, Math.ceil(end / SECTOR_BYTES) - first, most);
      let sector = first;
      return extents.map(({ sectorCount, isHole }) => {
        const from = Math.max(offsetBytes, sector * SECTOR_BYTES);
        sector += sectorCount;
        return { lengthBytes: Math.min(end, sector * SECTOR_BYTES) - from, isHole };
      });
    },
  };
}
