/**
 * Memory for the data of large requests, and of those that wait for a storage: kept for use again, and bounded, so that
 * clients which ask for much and take nothing cannot have all memory.
 */
import { allocateMemory, freeMemory } from "../../../ffi/memory.ts";
import type { Memory } from "../../base/memory.ts";
import { SMALL_DATA_BYTES } from "../../protocol/nbd/commands.ts";

/** Unused memory that is kept, in bytes. */
const KEPT_MOST_BYTES = 32 * 2 ** 20;
/** Data comes in powers of two from this one on, and a page before it has room for a header. */
const LEAST_DATA_BYTES = 4 * 2 ** 10;
const HEADER_ROOM_BYTES = 4 * 2 ** 10;

export interface BufferPool {
  /** Memory for so much data behind BUFFER_DATA_AT; undefined where large ones together would have too much. */
  take(dataBytes: number): Memory | undefined;
  /** The same, beyond the bound where that has to be. */
  takeAnyway(dataBytes: number): Memory;
  give(buffer: Memory): void;
  /** Bytes that are in use. */
  readonly usedBytes: number;
  /** Whether someone waits for room. */
  readonly isShort: boolean;
  close(): void;
}

/** A pool that has at most `mostBytes` of large buffers in use. `onRoom` is called when there is room again. */
export function createBufferPool(mostBytes: number, onRoom: () => void): BufferPool {
  const kept = new Map<number, Memory[]>();
  let keptBytes = 0;
  let usedBytes = 0;
  let isShort = false;
  let closed = false;

  const takeAnyway = (dataBytes: number): Memory => {
    const size = sizeFor(dataBytes);
    usedBytes += size;
    const found = kept.get(size)?.pop();
    if (found === undefined) return allocateMemory(size);
    keptBytes -= size;
    return found;
  };

  return {
    get usedBytes() {
      return usedBytes;
    },
    get isShort() {
      return isShort;
    },
    take(dataBytes) {
      if (dataBytes <= SMALL_DATA_BYTES || usedBytes + sizeFor(dataBytes) <= mostBytes) return takeAnyway(dataBytes);
      isShort = true;
      return undefined;
    },
    takeAnyway,
    give(buffer) {
      const size = buffer.lengthBytes;
      usedBytes -= size;
      if (closed || keptBytes + size > KEPT_MOST_BYTES) {
        freeMemory(buffer);
      } else {
        keptBytes += size;
        const others = kept.get(size);
        if (others === undefined) kept.set(size, [buffer]);
        else others.push(buffer);
      }
      if (!isShort) return;
      isShort = false;
      onRoom();
    },
    close() {
      closed = true;
      for (const buffers of kept.values()) for (const buffer of buffers) freeMemory(buffer);
      kept.clear();
    },
  };
}

/** The size of the memory for so much data. */
function sizeFor(dataBytes: number): number {
  let size = LEAST_DATA_BYTES;
  while (size < dataBytes) size *= 2;
  return size + HEADER_ROOM_BYTES;
}
