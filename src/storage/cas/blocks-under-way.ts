/** Blocks that are new and not in the index yet: by hash, where in memory each is, in a batch or in a pack. */
import type { Compression } from "../../base/compression.ts";
import { DIGEST_BYTES, type Hasher } from "../../base/hash.ts";
import type { Memory } from "../../base/memory.ts";
import type { BlockBatch } from "./block-batch.ts";
import type { PackSpace } from "./pack-builder.ts";
import { PackDirectory } from "./pack-directory.ts";
import { ENTRY_BYTES } from "./pack-format.ts";
import { readEntry } from "./pack.ts";
import { copyHash, HASH_WORDS, isSameHash } from "./tree/shape.ts";

export interface BlocksUnderWay {
  readonly count: number;
  /** Notes a block of a batch, whose hash is the words from `at` on; false where its hash was noted before. */
  addInBatch(words: Int32Array, at: number, batch: BlockBatch, block: number): boolean;
  /** Notes that a block has become an entry of a pack. */
  moveToPack(words: Int32Array, at: number, space: PackSpace, ordinal: number): void;
  remove(words: Int32Array, at: number): void;
  /** Copies a block of this length, verified; false where it is not here, or the memory has gone bad. */
  tryRead(hash: Uint8Array, at: number, lengthBytes: number, target: Memory, targetAt: number): boolean;
}

/** More than a batch has blocks or a pack has entries. */
const NUMBERS = 2 ** 24;
const EMPTY = -1;
const LEAST_CAPACITY = 4096;

/** A hash that is looked for: it may lie where there are no words. */
const soughtWords = new Int32Array(HASH_WORDS);
const sought = new Uint8Array(soughtWords.buffer);

/**
 * A table of hashes with linear probing, since a Map would need a string or an object for each block: with keys of 32
 * characters a new block cost 1.5 us on its way through, so 0.3 us. Hashes are compared and copied as words: 0.2 us.
 */
export function createBlocksUnderWay(hasher: Hasher, compression: Compression): BlocksUnderWay {
  /** Batches and packs: few, and they live as long as this. */
  const homes: (BlockBatch | PackSpace)[] = [];
  let capacity = LEAST_CAPACITY;
  let hashes = new Int32Array(capacity * HASH_WORDS);
  /** Number of the home, times NUMBERS, and the number of the block there. */
  let places = new Float64Array(capacity).fill(EMPTY);
  let count = 0;

  const homeSlotOf = (words: Int32Array, at: number): number => words[at + 1]! & (capacity - 1);

  /** The slot of a hash, or the empty one where it would go. */
  const slotOf = (words: Int32Array, at: number): number => {
    let slot = homeSlotOf(words, at);
    while (places[slot] !== EMPTY && !isSameHash(hashes, slot * HASH_WORDS, words, at))
      slot = (slot + 1) & (capacity - 1);
    return slot;
  };

  const fill = (slot: number, words: Int32Array, at: number, place: number): void => {
    copyHash(words, at, hashes, slot * HASH_WORDS);
    places[slot] = place;
  };

  const grow = (): void => {
    const oldHashes = hashes;
    const oldPlaces = places;
    capacity *= 2;
    hashes = new Int32Array(capacity * HASH_WORDS);
    places = new Float64Array(capacity).fill(EMPTY);
    for (let old = 0; old < oldPlaces.length; old++) {
      if (oldPlaces[old] === EMPTY) continue;
      const at = old * HASH_WORDS;
      fill(slotOf(oldHashes, at), oldHashes, at, oldPlaces[old]!);
    }
  };

  const placeIn = (home: BlockBatch | PackSpace, number: number): number => {
    let index = homes.indexOf(home);
    if (index < 0) index = homes.push(home) - 1;
    return index * NUMBERS + number;
  };

  return {
    get count() {
      return count;
    },
    addInBatch(words, at, batch, block) {
      let slot = slotOf(words, at);
      if (places[slot] !== EMPTY) return false;
      if (count * 2 >= capacity) {
        grow();
        slot = slotOf(words, at);
      }
      fill(slot, words, at, placeIn(batch, block));
      count++;
      return true;
    },
    moveToPack(words, at, space, ordinal) {
      const slot = slotOf(words, at);
      if (places[slot] !== EMPTY) places[slot] = placeIn(space, ordinal);
    },
    remove(words, at) {
      let gap = slotOf(words, at);
      if (places[gap] === EMPTY) return;
      count--;
      places[gap] = EMPTY;
      // What was pushed beyond the gap moves up, or it would not be found any more.
      for (let next = (gap + 1) & (capacity - 1); places[next] !== EMPTY; next = (next + 1) & (capacity - 1)) {
        const from = next * HASH_WORDS;
        const distance = (next - homeSlotOf(hashes, from)) & (capacity - 1);
        if (distance < ((next - gap) & (capacity - 1))) continue;
        fill(gap, hashes, from, places[next]!);
        places[next] = EMPTY;
        gap = next;
      }
    },
    tryRead(hash, at, lengthBytes, target, targetAt) {
      if (count === 0) return false;
      for (let i = 0; i < DIGEST_BYTES; i++) sought[i] = hash[at + i]!;
      const place = places[slotOf(soughtWords, 0)]!;
      if (place === EMPTY) return false;
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
