/**
 * Memory for the content of volumes, in extents of 64 KiB: one for all volumes and exposed roots of a store, each of
 * which is a *space* of it. It holds slots, says which is whose, and which extent gives way to another; what is in them
 * is the business of `cached-sectors.ts`.
 *
 * Memory that was lent is not given to another extent in the same turn of the event loop: extents give way only in a
 * turn of their own, which keeps some slots free for the requests of the next one. A request that finds none free is
 * answered without the cache.
 */
import { eventLoop } from "../../base/event-loop.ts";
import { allocateLargeMemory, freeMemory } from "../../../ffi/memory.ts";
import type { Memory } from "../../base/memory.ts";
import { SECTOR_BYTES } from "../block-storage.ts";
import { EXTENT_SECTORS, MASK_WORDS } from "./sector-mask.ts";
import { SlotQueue } from "./slot-queue.ts";

export const EXTENT_BYTES = EXTENT_SECTORS * SECTOR_BYTES;
/** Instead of a slot: there is none. */
export const NONE = -1;

/** Flags of a slot. It was read since extents last gave way to others near it. */
export const REFERENCED = 1;
/** It was read since it was last written: the next write keeps it up to date, instead of taking the sectors out. */
export const READ = 2;
/** It was fetched ahead of a reader who has not come to it yet. */
export const AHEAD = 4;

const CHUNK_SLOTS = 256;
/** Slots kept free: what the requests of a turn take is less, since reading an extent takes longer than a few us. */
const RESERVE_MOST = 64;
/** Parts of the cache: what came last, in which being read again says nothing; and what is kept since it was. */
const YOUNG_PART = 1 / 8;
const KEPT_PART = 3 / 4;

export interface CacheCounters {
  /** Reads answered from the cache alone, and others. */
  hits: number;
  misses: number;
  /** Bytes of the former. */
  hitBytes: number;
  /** Extents fetched ahead of a reader, and those of them that one came to. */
  fetchedAhead: number;
  usedAhead: number;
  evictions: number;
}

export interface CacheStatistics extends Readonly<CacheCounters> {
  readonly limitBytes: number;
  /** Memory of the extents that are held. */
  readonly usedBytes: number;
}

/** A number for an extent of a space; it may be that of another one, far away. */
const keyOf = (space: number, extent: number): number => space * 2 ** 41 + extent;

export class ExtentCache {
  /** Most extents that are held. */
  readonly capacity: number;
  readonly counters: CacheCounters = { hits: 0, misses: 0, hitBytes: 0, fetchedAhead: 0, usedAhead: 0, evictions: 0 };
  readonly flags: Uint8Array;
  /** Sectors that are in the memory of a slot as they are now, MASK_WORDS words a slot. */
  readonly valid: Int32Array;
  /** Sectors that are on their way into it, and will be as they are now. */
  readonly pending: Int32Array;
  /** 1 while something writes into the slot's memory: it is given to no other extent. */
  readonly pinned: Uint8Array;
  readonly #extents: Float64Array;
  /** NONE: the slot is free, or its space has let go of it. */
  readonly #spaces: Int32Array;
  /** Open addressing, linear probing: slot + 1, or 0 where free. */
  readonly #table: Int32Array;
  readonly #mask: number;
  readonly #shift: number;
  readonly #chunks: Memory[] = [];
  readonly #free: number[] = [];
  /**
   * A slot comes in young, and passes into old, where being read again takes it to kept; otherwise it goes next. One that
   * comes back soon after that is kept at once: a loop through more than young and old hold would never be.
   */
  readonly #young: SlotQueue;
  readonly #old: SlotQueue;
  readonly #kept: SlotQueue;
  /** Extents that gave way not long ago, by hash, the last one at each place: they are kept when they come back. */
  readonly #gone: Float64Array;
  readonly #reserve: number;
  /** Slots that have memory. */
  #slots = 0;
  #mayGrow = true;
  #last = 0;
  #nextSpace = 0;
  #scheduled = false;
  #closed = false;

  /** Holds at least one extent, however small the limit. */
  constructor(limitBytes: number) {
    const capacity = Math.max(1, Math.floor(limitBytes / EXTENT_BYTES));
    this.capacity = capacity;
    this.flags = new Uint8Array(capacity);
    this.pinned = new Uint8Array(capacity);
    this.valid = new Int32Array(capacity * MASK_WORDS);
    this.pending = new Int32Array(capacity * MASK_WORDS);
    this.#extents = new Float64Array(capacity);
    this.#spaces = new Int32Array(capacity).fill(NONE);
    this.#table = new Int32Array(2 ** Math.ceil(Math.log2(capacity * 2)));
    this.#mask = this.#table.length - 1;
    this.#shift = Math.clz32(this.#mask);
    this.#gone = new Float64Array(2 ** Math.floor(Math.log2(capacity))).fill(NONE);
    const next = new Int32Array(capacity);
    this.#young = new SlotQueue(next);
    this.#old = new SlotQueue(next);
    this.#kept = new SlotQueue(next);
    this.#reserve = Math.min(RESERVE_MOST, capacity >> 3);
    this.#addChunk();
  }

  /** A number for what is cached under it from now on. */
  openSpace(): number {
    return this.#nextSpace++;
  }

  /** The slot of an extent, or NONE. */
  find(space: number, extent: number): number {
    // Requests come in runs, and a comparison costs less than a search.
    const last = this.#last;
    if (this.#extents[last] === extent && this.#spaces[last] === space) return last;
    for (let probe = this.#home(space, extent); ; probe = (probe + 1) & this.#mask) {
      const slot = this.#table[probe]! - 1;
      if (slot === NONE) return NONE;
      if (this.#extents[slot] === extent && this.#spaces[slot] === space) {
        this.#last = slot;
        return slot;
      }
    }
  }

  /** An empty slot for an extent that has none, or NONE where none is free in this turn. */
  claim(space: number, extent: number): number {
    const slot = this.#free.pop();
    if (this.#free.length < this.#reserve || slot === undefined) this.#schedule();
    if (slot === undefined) return NONE;
    this.#spaces[slot] = space;
    this.#extents[slot] = extent;
    this.flags[slot] = 0;
    let probe = this.#home(space, extent);
    while (this.#table[probe] !== 0) probe = (probe + 1) & this.#mask;
    this.#table[probe] = slot + 1;
    if (this.#gone[this.#goneAt(space, extent)] === keyOf(space, extent)) {
      this.#kept.push(slot);
      return slot;
    }
    this.#young.push(slot);
    if (this.#young.count > this.capacity * YOUNG_PART) {
      const grown = this.#young.shift();
      // A reader who goes through it reads an extent many times, and then never again.
      this.flags[grown]! &= ~REFERENCED;
      this.#old.push(grown);
    }
    return slot;
  }

  /** The memory that the slot's bytes are in, from `offsetOf` on. */
  memoryOf(slot: number): Memory {
    return this.#chunks[(slot / CHUNK_SLOTS) | 0]!;
  }

  offsetOf(slot: number): number {
    return (slot % CHUNK_SLOTS) * EXTENT_BYTES;
  }

  /** Lets go of a slot that was pinned: it is free where its space has let go of it meanwhile. */
  unpin(slot: number): void {
    this.pinned[slot] = 0;
    if (this.#spaces[slot] === NONE) this.#free.push(slot);
  }

  /** Forgets all extents of a space. Nothing of it may be lent. */
  drop(space: number): void {
    for (let slot = 0; slot < this.#slots; slot++) {
      if (this.#spaces[slot] !== space) continue;
      this.#remove(slot);
      if (this.pinned[slot] === 0) this.#free.push(slot);
    }
    const isHeld = (slot: number): boolean => this.#spaces[slot] !== NONE;
    for (const queue of [this.#young, this.#old, this.#kept]) queue.retain(isHeld);
  }

  /** Visits all slots of a space. */
  forEach(space: number, visit: (slot: number, extent: number) => void): void {
    for (let slot = 0; slot < this.#slots; slot++) if (this.#spaces[slot] === space) visit(slot, this.#extents[slot]!);
  }

  statistics(): CacheStatistics {
    const held = this.#young.count + this.#old.count + this.#kept.count;
    return { ...this.counters, limitBytes: this.capacity * EXTENT_BYTES, usedBytes: held * EXTENT_BYTES };
  }

  /** Gives the memory back. Nothing of it may be lent, pinned or used again. */
  close(): void {
    this.#closed = true;
    for (const memory of this.#chunks.splice(0)) freeMemory(memory);
  }

  #home(space: number, extent: number): number {
    // Multiplied by the golden ratio, neighbours are spread by the upper bits, and only by them.
    return Math.imul(extent ^ Math.imul(space, 0x85ebca6b), 0x9e3779b1) >>> this.#shift;
  }

  #goneAt(space: number, extent: number): number {
    return Math.floor((this.#home(space, extent) * this.#gone.length) / this.#table.length);
  }

  #addChunk(): void {
    const count = Math.min(CHUNK_SLOTS, this.capacity - this.#slots);
    this.#chunks.push(allocateLargeMemory(count * EXTENT_BYTES));
    this.#slots += count;
    for (let slot = this.#slots - 1; slot >= this.#slots - count; slot--) this.#free.push(slot);
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    void eventLoop.turn().then(() => {
      this.#scheduled = false;
      if (!this.#closed) this.#refill();
    });
  }

  /** Makes slots free: in a turn of its own, in which nothing is lent. */
  #refill(): void {
    while (this.#free.length < Math.max(1, this.#reserve)) {
      if (this.#grow()) continue;
      const slot = this.#evict();
      if (slot === NONE) return;
      this.counters.evictions++;
      const [space, extent] = [this.#spaces[slot]!, this.#extents[slot]!];
      this.#gone[this.#goneAt(space, extent)] = keyOf(space, extent);
      this.#remove(slot);
      this.#free.push(slot);
    }
  }

  #grow(): boolean {
    if (!this.#mayGrow || this.#slots === this.capacity) return false;
    try {
      this.#addChunk();
      return true;
    } catch {
      // The system has no more memory for it: the cache stays as large as it is.
      this.#mayGrow = false;
      return false;
    }
  }

  /** Takes the slot that is needed least out of the queues, or returns NONE where all are pinned. */
  #evict(): number {
    while (this.#kept.count > this.capacity * KEPT_PART) this.#demote();
    for (let looked = 2 * this.#slots; looked > 0; looked--) {
      if (this.#old.count === 0) {
        if (this.#kept.count > 0) this.#demote();
        else if (this.#young.count > 0) this.#old.push(this.#young.shift());
        else return NONE;
        continue;
      }
      const slot = this.#old.shift();
      if (this.pinned[slot] === 1) this.#old.push(slot);
      else if ((this.flags[slot]! & REFERENCED) !== 0) {
        this.flags[slot]! &= ~REFERENCED;
        this.#kept.push(slot);
      } else {
        return slot;
      }
    }
    return NONE;
  }

  /** Moves the first of the kept slots that was not read since it came to the front the last time. */
  #demote(): void {
    for (;;) {
      const slot = this.#kept.shift();
      if ((this.flags[slot]! & REFERENCED) === 0) {
        this.#old.push(slot);
        return;
      }
      this.flags[slot]! &= ~REFERENCED;
      this.#kept.push(slot);
    }
  }

  /** Takes a slot from its extent. */
  #remove(slot: number): void {
    let gap = this.#home(this.#spaces[slot]!, this.#extents[slot]!);
    while (this.#table[gap] !== slot + 1) gap = (gap + 1) & this.#mask;
    // What follows moves up, unless that would put it before the place where its search begins.
    for (let probe = (gap + 1) & this.#mask; this.#table[probe] !== 0; probe = (probe + 1) & this.#mask) {
      const other = this.#table[probe]! - 1;
      const home = this.#home(this.#spaces[other]!, this.#extents[other]!);
      if (((probe - home) & this.#mask) < ((probe - gap) & this.#mask)) continue;
      this.#table[gap] = this.#table[probe]!;
      gap = probe;
    }
    this.#table[gap] = 0;
    this.#spaces[slot] = NONE;
    this.valid.fill(0, slot * MASK_WORDS, (slot + 1) * MASK_WORDS);
    this.pending.fill(0, slot * MASK_WORDS, (slot + 1) * MASK_WORDS);
  }
}
