/** Blocks that are new and not in the index yet: by hash, where in memory each is, in a batch or in a pack. */
import type { Compression } from "../../base/compression.ts";
import { DIGEST_BYTES, type Hasher } from "../../base/hash.ts";
import type { Memory } from "../../base/memory.ts";
import type { BlockBatch } from "./block-batch.ts";
import type { PackSpace } from "./pack-builder.ts";
import { PackDirectory } from "./pack-directory.ts";
import { ENTRY_BYTES } from "./pack-format.ts";
import { readEntry } from "./pack.ts";

export interface BlocksUnderWay {
  has(hash: Uint8Array, at: number): boolean;
  /** Notes a block of a batch; false where its hash was noted before. */
  addInBatch(hash: Uint8Array, at: number, batch: BlockBatch, block: number): boolean;
  /** Notes that a block has become an entry of a pack. */
  moveToPack(hash: Uint8Array, at: number, space: PackSpace, ordinal: number): void;
  remove(hash: Uint8Array, at: number): void;
  /** Copies a block of this length, verified; false where it is not here, or the memory has gone bad. */
  tryRead(hash: Uint8Array, at: number, lengthBytes: number, target: Memory, targetAt: number): boolean;
}

/** More than a batch has blocks or a pack has entries. */
const NUMBERS = 2 ** 24;

/** A block's hash as a key: a string of 32 characters is found faster than any other form of 32 bytes. */
const keyOf = (hash: Uint8Array, at: number): string =>
  Buffer.from(hash.buffer, hash.byteOffset + at, DIGEST_BYTES).toString("latin1");

export function createBlocksUnderWay(hasher: Hasher, compression: Compression): BlocksUnderWay {
  /** Numbers of batches and packs: few, and they live as long as this. */
  const homes: (BlockBatch | PackSpace)[] = [];
  /** Number of the home, times NUMBERS, and the number of the block there: no object for each block. */
  const places = new Map<string, number>();

  const placeIn = (home: BlockBatch | PackSpace, number: number): number => {
    let index = homes.indexOf(home);
    if (index < 0) index = homes.push(home) - 1;
    return index * NUMBERS + number;
  };

  return {
    has: (hash, at) => places.size > 0 && places.has(keyOf(hash, at)),
    addInBatch(hash, at, batch, block) {
      const key = keyOf(hash, at);
      if (places.has(key)) return false;
      places.set(key, placeIn(batch, block));
      return true;
    },
    moveToPack: (hash, at, space, ordinal) => void places.set(keyOf(hash, at), placeIn(space, ordinal)),
    remove: (hash, at) => void places.delete(keyOf(hash, at)),
    tryRead(hash, at, lengthBytes, target, targetAt) {
      const place = places.size > 0 ? places.get(keyOf(hash, at)) : undefined;
      if (place === undefined) return false;
      const home = homes[Math.floor(place / NUMBERS)]!;
      const number = place % NUMBERS;
      if ("memory" in home) {
        target.bytes.set(home.memory.bytes.subarray(number * lengthBytes, (number + 1) * lengthBytes), targetAt);
        return true;
      }
      const entryAt = number * ENTRY_BYTES;
      const entry = new PackDirectory(home.directory.bytes.subarray(entryAt, entryAt + ENTRY_BYTES));
      if (entry.plainBytes(0) !== lengthBytes) return false;
      return readEntry(entry, 0, home.data, entry.offsetBytes(0), target, targetAt, hasher, compression) === "verified";
    },
  };
}
