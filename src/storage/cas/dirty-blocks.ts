/**
 * Which sectors of a volume changed since its last checkpoint, and where in the journal their newest data lies. Blocks
 * that were discarded whole are kept as intervals, since a client may discard a disk at once.
 *
 * A place is the journal's number for where data lies, at least 1. Each sector of a dirty block has a place, or is
 * `CLEAN` (the tree has it) or `ZERO` (discarded).
 */
import { intervalSet } from "./interval-set.ts";

/** The sector did not change: what the tree has is its content. */
export const CLEAN = 0;
/** The sector was discarded: it reads as zeros. */
export const ZERO = -1;

const EMPTY = -1;
const LEAST_CAPACITY = 1024;
/** Filled beyond this a table grows: linear probing stays short. */
const MOST_FILL = 0.6;

export interface DirtyBlocks {
  /** Blocks with at least one sector that has a place or is zero, those discarded whole not counted. */
  readonly blockCount: number;
  /** Whether nothing changed. */
  readonly isEmpty: boolean;
  /** Memory that the table takes, in bytes. */
  readonly memoryBytes: number;
  /**
   * Notes that `count` sectors from `sector` were written, with their data in the journal from `place`, which goes up
   * by `placeStride` a sector.
   */
  write(sector: number, count: number, place: number, placeStride: number): void;
  /** Notes that sectors were discarded. */
  discard(sector: number, count: number): void;
  /** Where the newest data of a sector is: a place, CLEAN or ZERO. */
  placeOf(sector: number): number;
  /** How many sectors from this one on, at most `most`, have places that go up by one a sector; 0: it has none. */
  placedRun(sector: number, most: number): number;
  /** Whether a block has any sector that is not CLEAN. */
  isDirty(block: number): boolean;
  /** Numbers of the dirty blocks from `from` up to, not including, `to`, ascending, without those discarded whole. */
  blocks(from?: number, to?: number): Float64Array;
  /** Ranges of blocks that were discarded whole, and not written since: those that have a part from `from` to before `to`. */
  zeroRanges(from?: number, to?: number): IterableIterator<readonly [from: number, to: number]>;
}

/** `blockSectors`: sectors of a block, a power of two. */
export function dirtyBlocks(blockSectors: number): DirtyBlocks {
  const shift = Math.log2(blockSectors);
  if (!Number.isInteger(shift)) throw new Error(`a block of ${blockSectors} sectors is no power of two`);
  let capacity = LEAST_CAPACITY;
  let keys = new Float64Array(capacity).fill(EMPTY);
  let places = new Float64Array(capacity * blockSectors);
  let used = 0;
  const zeroed = intervalSet();

  /** The slot of a block, or that where it would go. */
  const slotOf = (block: number): number => {
    // Neighbours stay neighbours, which sequential access likes; runs of different places are spread by the multiplier.
    let slot = (Math.imul(Math.floor(block / 8), 0x9e3779b1) + block) & (capacity - 1);
    for (let key = keys[slot]!; key !== EMPTY && key !== block; key = keys[slot]!) slot = (slot + 1) & (capacity - 1);
    return slot;
  };

  const grow = (): void => {
    const oldKeys = keys;
    const oldPlaces = places;
    capacity *= 2;
    keys = new Float64Array(capacity).fill(EMPTY);
    places = new Float64Array(capacity * blockSectors);
    for (let old = 0; old < oldKeys.length; old++) {
      const block = oldKeys[old]!;
      if (block === EMPTY) continue;
      const slot = slotOf(block);
      keys[slot] = block;
      const from = old * blockSectors;
      places.set(oldPlaces.subarray(from, from + blockSectors), slot * blockSectors);
    }
  };

  /** The slot of the block that was asked for last: its sectors are asked for one after the other. */
  let lastBlock = EMPTY;
  let lastSlot = 0;
  const recallSlotOf = (block: number): number => {
    if (block !== lastBlock) {
      lastSlot = slotOf(block);
      lastBlock = block;
    }
    return lastSlot;
  };

  /** The slot of a block, made where there is none. */
  const claim = (block: number): number => {
    let slot = slotOf(block);
    if (keys[slot] === block) return slot;
    lastBlock = EMPTY;
    if (used + 1 > capacity * MOST_FILL) {
      grow();
      slot = slotOf(block);
    }
    used++;
    keys[slot] = block;
    if (zeroed.has(block)) {
      // What is not written now stays discarded.
      places.fill(ZERO, slot * blockSectors, (slot + 1) * blockSectors);
      zeroed.remove(block, block + 1);
    }
    return slot;
  };

  /** Takes a block out again, closing the gap that later ones were pushed beyond. */
  const release = (slot: number): void => {
    lastBlock = EMPTY;
    used--;
    let gap = slot;
    keys[gap] = EMPTY;
    places.fill(CLEAN, gap * blockSectors, (gap + 1) * blockSectors);
    for (let next = (gap + 1) & (capacity - 1); keys[next] !== EMPTY; next = (next + 1) & (capacity - 1)) {
      const block = keys[next]!;
      keys[next] = EMPTY;
      const home = slotOf(block);
      keys[home] = block;
      if (home === next) continue;
      places.copyWithin(home * blockSectors, next * blockSectors, (next + 1) * blockSectors);
      places.fill(CLEAN, next * blockSectors, (next + 1) * blockSectors);
      gap = next;
    }
  };

  const discardPart = (block: number, from: number, to: number): void => {
    const slot = claim(block);
    places.fill(ZERO, slot * blockSectors + from, slot * blockSectors + to);
  };

  const discardWhole = (from: number, to: number): void => {
    if (to - from < used) {
      for (let block = from; block < to; block++) {
        const slot = slotOf(block);
        if (keys[slot] === block) release(slot);
      }
    } else {
      for (const block of keys.slice()) {
        if (block !== EMPTY && block >= from && block < to) release(slotOf(block));
      }
    }
    zeroed.add(from, to);
  };

  return {
    get blockCount() {
      return used;
    },
    get isEmpty() {
      return used === 0 && zeroed.size === 0;
    },
    get memoryBytes() {
      return keys.byteLength + places.byteLength;
    },
    write(sector, count, place, placeStride) {
      let next = place;
      for (let at = sector; at < sector + count;) {
        const block = Math.floor(at / blockSectors);
        const base = claim(block) * blockSectors - block * blockSectors;
        const end = Math.min(sector + count, (block + 1) * blockSectors);
        for (; at < end; at++, next += placeStride) places[base + at] = next;
      }
    },
    discard(sector, count) {
      const end = sector + count;
      const firstWhole = Math.ceil(sector / blockSectors);
      const endWhole = Math.floor(end / blockSectors);
      if (firstWhole > endWhole) {
        const block = endWhole;
        discardPart(block, sector - block * blockSectors, end - block * blockSectors);
        return;
      }
      const head = firstWhole * blockSectors - sector;
      if (head > 0) discardPart(firstWhole - 1, blockSectors - head, blockSectors);
      if (firstWhole < endWhole) discardWhole(firstWhole, endWhole);
      const tail = end - endWhole * blockSectors;
      if (tail > 0) discardPart(endWhole, 0, tail);
    },
    placeOf(sector) {
      const block = Math.floor(sector / blockSectors);
      const slot = recallSlotOf(block);
      if (keys[slot] === block) return places[slot * blockSectors + sector - block * blockSectors]!;
      return zeroed.has(block) ? ZERO : CLEAN;
    },
    placedRun(sector, most) {
      let run = 0;
      let place = 0;
      while (run < most) {
        const block = Math.floor((sector + run) / blockSectors);
        const slot = slotOf(block);
        if (keys[slot] !== block) break;
        const base = (slot - block) * blockSectors + sector;
        const end = Math.min(most, (block + 1) * blockSectors - sector);
        if (run === 0) place = places[base]!;
        if (place <= CLEAN) return 0;
        while (run < end && places[base + run] === place + run) run++;
        if (run < end) break;
      }
      return run;
    },
    isDirty: (block) => keys[slotOf(block)] === block || zeroed.has(block),
    blocks(from = 0, to = Infinity) {
      const numbers = new Float64Array(Math.min(used, Math.max(0, to - from)));
      let count = 0;
      if (to - from < used) {
        for (let block = from; block < to; block++) if (keys[slotOf(block)] === block) numbers[count++] = block;
        return numbers.subarray(0, count);
      }
      for (let slot = 0; slot < capacity; slot++) {
        const block = keys[slot]!;
        if (block !== EMPTY && block >= from && block < to) numbers[count++] = block;
      }
      // 262,144 of them take 8 ms.
      return numbers.subarray(0, count).sort();
    },
    zeroRanges: (from, to) => zeroed.intervals(from, to),
  };
}
