/**
 * The sectors of a volume, or of a root, through the cache: they come in when they are read, verified by whoever reads
 * them, and what is in the cache is always what the newest write or discard made it.
 *
 * A write does not wait for what is on its way into the cache: it takes its sectors out of that, and those who read
 * them before the write still get what they are due. A pure writer pays for finding out that an extent is not cached,
 * or for one copy of what was read since it was last written.
 */
import type { Memory } from "../../base/memory.ts";
import { LATER, OK, SECTOR_BYTES, type StorageStatus } from "../block-storage.ts";
import { AHEAD, NONE, READ, REFERENCED, type ExtentCache } from "./extent-cache.ts";
import type { Failed } from "./sector-source.ts";
import { FETCHED, NO_ROOM, readAhead } from "./streams.ts";
import { addSectors, endOfRun, EXTENT_SECTORS, hasAll, hasAny, MASK_WORDS, removeSectors } from "./sector-mask.ts";

/** How far ahead of a reader extents are fetched at most, and the part of the cache that one may take for it. */
const AHEAD_MOST_EXTENTS = 16;
const AHEAD_PART = 1 / 16;
/** The flags of an extent in use, which a hit leaves as they are. */
const IN_USE = REFERENCED | READ;

/** What is behind the cache. */
export interface SectorReader {
  readonly sectorCount: number;
  /** Sectors of a block, a power of two up to EXTENT_SECTORS: one costs as much to read as all of them. */
  readonly blockSectors: number;
  /** Fills `target` with verified content where nothing has to be waited for: OK, LATER or a failure. */
  tryRead(sector: number, count: number, target: Memory, at: number): StorageStatus;
  /**
   * Fills `target` with the sectors as they are now, whatever is written meanwhile, and tells `failed` what could not be
   * read. Never rejects.
   */
  read(sector: number, count: number, target: Memory, at: number, failed: Failed): Promise<StorageStatus>;
}

export interface CachedSectors {
  /** An address as `BlockStorage.lend` gives it. */
  lend(sector: number, count: number): number;
  tryRead(sector: number, count: number, target: Memory, at: number): StorageStatus;
  /** Fills `target` with sectors as they are now, whatever is written meanwhile. Never rejects. */
  read(sector: number, count: number, target: Memory, at: number): Promise<StorageStatus>;
  /** Notes that sectors were written: reads that begin from now on have to see that. */
  wrote(sector: number, count: number, source: Memory, at: number): void;
  /** Notes that the content of sectors is another, whatever it is. */
  changed(sector: number, count: number): void;
  /** Notes that all of the content may be another. Nothing of it may be lent. */
  forget(): void;
  /** Lets go of what is cached, and fetches nothing ahead any more. Reads that are under way end as they would have. */
  close(): void;
}

/** Sectors of an extent on their way into its slot. */
interface Fill {
  readonly slot: number;
  /** Those who wait for it, called while the memory holds what was read. */
  readonly waiting: (() => void)[];
  readonly failures: { readonly from: number; readonly to: number; readonly status: StorageStatus }[];
  readonly ended: Promise<void>;
  readonly end: () => void;
  partsLeft: number;
}

const ignoreFailure: Failed = () => {};

export function cachedSectors(cache: ExtentCache, reader: SectorReader): CachedSectors {
  const { counters, flags, valid, pending, pinned } = cache;
  const space = cache.openSpace();
  const fills = new Map<number, Fill>();

  const isValid = (slot: number, from: number, to: number): boolean => hasAll(valid, slot * MASK_WORDS, from, to);

  /** Notes that a slot was read which was not in use. */
  const takeIntoUse = (slot: number, extent: number): void => {
    const isFirst = (flags[slot]! & AHEAD) !== 0;
    flags[slot] = IN_USE;
    if (!isFirst) return;
    counters.usedAhead++;
    ahead.reached(extent);
  };

  const copyOut = (slot: number, from: number, to: number, target: Memory, at: number): void => {
    const base = cache.offsetOf(slot);
    const { bytes } = cache.memoryOf(slot);
    target.bytes.set(bytes.subarray(base + from * SECTOR_BYTES, base + to * SECTOR_BYTES), at);
  };

  const endOfExtent = (extent: number): number =>
    Math.min(EXTENT_SECTORS, reader.sectorCount - extent * EXTENT_SECTORS);

  /** Brings in the sectors that are missing, where nothing has to be waited for. The slot must not be pinned. */
  const tryFill = (slot: number, extent: number, from: number, to: number): StorageStatus => {
    const mask = slot * MASK_WORDS;
    const memory = cache.memoryOf(slot);
    for (let next = from, end = from; next < to; next = end) {
      end = endOfRun(valid, mask, next, to);
      // What is there already may be lent, and is not touched.
      if (hasAny(valid, mask, next, next + 1)) continue;
      const at = cache.offsetOf(slot) + next * SECTOR_BYTES;
      const status = reader.tryRead(extent * EXTENT_SECTORS + next, end - next, memory, at);
      if (status !== OK) return status;
      addSectors(valid, mask, next, end);
    }
    return OK;
  };

  const endFill = (extent: number, fill: Fill): void => {
    const { slot, failures, waiting } = fill;
    const mask = slot * MASK_WORDS;
    for (const tell of waiting) tell();
    if (fills.get(extent) === fill) fills.delete(extent);
    for (const { from, to } of failures) removeSectors(pending, mask, from, to);
    // Where the space has let go of the slot, nothing is pending any more.
    for (let word = mask; word < mask + MASK_WORDS; word++) valid[word]! |= pending[word]!;
    pending.fill(0, mask, mask + MASK_WORDS);
    cache.unpin(slot);
    fill.end();
  };

  /** Begins to bring in the sectors that are missing, of which there is one at least. The slot must not be pinned. */
  const beginFill = (slot: number, extent: number, from: number, to: number): Fill => {
    const { promise: ended, resolve: end } = Promise.withResolvers<void>();
    const fill: Fill = { slot, waiting: [], failures: [], ended, end, partsLeft: 1 };
    const mask = slot * MASK_WORDS;
    const firstSector = extent * EXTENT_SECTORS;
    const memory = cache.memoryOf(slot);
    const endPart = (): void => {
      if (--fill.partsLeft === 0) endFill(extent, fill);
    };
    const failed: Failed = (sector, count, status) =>
      void fill.failures.push({ from: sector - firstSector, to: sector - firstSector + count, status });
    pinned[slot] = 1;
    fills.set(extent, fill);
    for (let next = from, runEnd = from; next < to; next = runEnd) {
      runEnd = endOfRun(valid, mask, next, to);
      if (hasAny(valid, mask, next, next + 1)) continue;
      addSectors(pending, mask, next, runEnd);
      fill.partsLeft++;
      const at = cache.offsetOf(slot) + next * SECTOR_BYTES;
      void reader.read(firstSector + next, runEnd - next, memory, at, failed).then(endPart);
    }
    fill.partsLeft--;
    return fill;
  };

  /**
   * Waits for sectors that are in the slot, or on their way into it. Its memory holds them as they are now until the fill
   * has ended, whatever is written meanwhile.
   */
  const join = (fill: Fill, from: number, to: number, target: Memory, at: number): Promise<StorageStatus> =>
    new Promise((resolve) => {
      fill.waiting.push(() => {
        copyOut(fill.slot, from, to, target, at);
        const failure = fill.failures.find((run) => run.from < to && from < run.to);
        resolve(failure === undefined ? OK : failure.status);
      });
    });

  const ahead = readAhead({
    mostExtents: Math.min(AHEAD_MOST_EXTENTS, Math.floor(cache.capacity * AHEAD_PART)),
    extentCount: () => Math.ceil(reader.sectorCount / EXTENT_SECTORS),
    fetch(extent) {
      let slot = cache.find(space, extent);
      const end = endOfExtent(extent);
      if (slot === NONE) slot = cache.claim(space, extent);
      if (slot === NONE) return NO_ROOM;
      // Also where all of it is there: the reader is to be noticed when it comes to it.
      if ((flags[slot]! & AHEAD) === 0) counters.fetchedAhead++;
      flags[slot]! |= AHEAD;
      if (pinned[slot] === 1) return fills.get(extent)!.ended;
      // What cannot be read, the reader is told when it asks for it.
      return tryFill(slot, extent, 0, end) === LATER ? beginFill(slot, extent, 0, end).ended : FETCHED;
    },
  });

  const blockStart = (from: number): number => from - (from % reader.blockSectors);
  const blockEnd = (extent: number, to: number): number =>
    Math.min(Math.ceil(to / reader.blockSectors) * reader.blockSectors, endOfExtent(extent));

  /** Reads sectors of one extent that are not all in the cache. */
  const tryReadMissing = (
    slotFound: number,
    extent: number,
    from: number,
    to: number,
    target: Memory,
    at: number,
  ): StorageStatus => {
    const sector = extent * EXTENT_SECTORS + from;
    const isSequential = ahead.missed(sector, to - from);
    const slot = slotFound === NONE ? cache.claim(space, extent) : slotFound;
    if (slot === NONE || pinned[slot] === 1) {
      const mask = slot * MASK_WORDS;
      const isComing = slot !== NONE && hasAny(pending, mask, from, to);
      return isComing ? LATER : reader.tryRead(sector, to - from, target, at);
    }
    const status = isSequential
      ? tryFill(slot, extent, 0, endOfExtent(extent))
      : tryFill(slot, extent, blockStart(from), blockEnd(extent, to));
    if (isValid(slot, from, to)) {
      flags[slot]! |= IN_USE;
      copyOut(slot, from, to, target, at);
      return OK;
    }
    // What failed need not be among what was asked for.
    return status === LATER ? LATER : reader.tryRead(sector, to - from, target, at);
  };

  /** Reads sectors of one extent, beginning now; a promise only where that takes one. */
  const readPart = (
    extent: number,
    from: number,
    to: number,
    target: Memory,
    at: number,
  ): Promise<StorageStatus> | typeof OK => {
    let slot = cache.find(space, extent);
    if (slot !== NONE && isValid(slot, from, to)) {
      counters.hits++;
      counters.hitBytes += (to - from) * SECTOR_BYTES;
      if (flags[slot] !== IN_USE) takeIntoUse(slot, extent);
      copyOut(slot, from, to, target, at);
      return OK;
    }
    counters.misses++;
    const sector = extent * EXTENT_SECTORS + from;
    const isSequential = ahead.missed(sector, to - from);
    if (slot === NONE) slot = cache.claim(space, extent);
    if (slot === NONE) return reader.read(sector, to - from, target, at, ignoreFailure);
    if ((flags[slot]! & AHEAD) !== 0) takeIntoUse(slot, extent);
    flags[slot]! |= IN_USE;
    if (pinned[slot] === 0) {
      const [first, end] = isSequential ? [0, endOfExtent(extent)] : [blockStart(from), blockEnd(extent, to)];
      return join(beginFill(slot, extent, first, end), from, to, target, at);
    }
    const mask = slot * MASK_WORDS;
    for (let next = from; next < to; next++) {
      if (!hasAny(valid, mask, next, next + 1) && !hasAny(pending, mask, next, next + 1)) {
        // A write took them out of what is on its way.
        return reader.read(sector, to - from, target, at, ignoreFailure);
      }
    }
    return join(fills.get(extent)!, from, to, target, at);
  };

  return {
    lend(sector, count) {
      const extent = Math.floor(sector / EXTENT_SECTORS);
      const from = sector - extent * EXTENT_SECTORS;
      if (from + count > EXTENT_SECTORS) return 0;
      const slot = cache.find(space, extent);
      if (slot === NONE || !isValid(slot, from, from + count)) return 0;
      counters.hits++;
      counters.hitBytes += count * SECTOR_BYTES;
      if (flags[slot] !== IN_USE) takeIntoUse(slot, extent);
      return cache.memoryOf(slot).address + cache.offsetOf(slot) + from * SECTOR_BYTES;
    },
    tryRead(sector, count, target, at) {
      let isHit = true;
      for (let done = 0; done < count;) {
        const extent = Math.floor((sector + done) / EXTENT_SECTORS);
        const from = sector + done - extent * EXTENT_SECTORS;
        const to = Math.min(EXTENT_SECTORS, from + count - done);
        const slot = cache.find(space, extent);
        const partAt = at + done * SECTOR_BYTES;
        if (slot !== NONE && isValid(slot, from, to)) {
          if (flags[slot] !== IN_USE) takeIntoUse(slot, extent);
          copyOut(slot, from, to, target, partAt);
        } else {
          const status = tryReadMissing(slot, extent, from, to, target, partAt);
          if (status !== OK) return status;
          isHit = false;
        }
        done += to - from;
      }
      if (isHit) {
        counters.hits++;
        counters.hitBytes += count * SECTOR_BYTES;
      } else {
        counters.misses++;
      }
      return OK;
    },
    async read(sector, count, target, at) {
      const parts: Promise<StorageStatus>[] = [];
      for (let done = 0; done < count;) {
        const extent = Math.floor((sector + done) / EXTENT_SECTORS);
        const from = sector + done - extent * EXTENT_SECTORS;
        const to = Math.min(EXTENT_SECTORS, from + count - done);
        const part = readPart(extent, from, to, target, at + done * SECTOR_BYTES);
        if (part !== OK) parts.push(part);
        done += to - from;
      }
      const statuses = await Promise.all(parts);
      return statuses.find((status) => status !== OK) ?? OK;
    },
    wrote(sector, count, source, at) {
      for (let done = 0; done < count;) {
        const extent = Math.floor((sector + done) / EXTENT_SECTORS);
        const from = sector + done - extent * EXTENT_SECTORS;
        const to = Math.min(EXTENT_SECTORS, from + count - done);
        const slot = cache.find(space, extent);
        if (slot !== NONE) {
          const mask = slot * MASK_WORDS;
          if (pinned[slot] === 1 || (flags[slot]! & READ) === 0) {
            removeSectors(valid, mask, from, to);
            removeSectors(pending, mask, from, to);
          } else {
            flags[slot]! &= ~READ;
            const partAt = at + done * SECTOR_BYTES;
            const bytes = source.bytes.subarray(partAt, partAt + (to - from) * SECTOR_BYTES);
            cache.memoryOf(slot).bytes.set(bytes, cache.offsetOf(slot) + from * SECTOR_BYTES);
            addSectors(valid, mask, from, to);
          }
        }
        done += to - from;
      }
    },
    changed(sector, count) {
      const takeOut = (slot: number, extent: number): void => {
        const from = Math.max(0, sector - extent * EXTENT_SECTORS);
        const to = Math.min(EXTENT_SECTORS, sector + count - extent * EXTENT_SECTORS);
        if (from >= to) return;
        removeSectors(valid, slot * MASK_WORDS, from, to);
        removeSectors(pending, slot * MASK_WORDS, from, to);
      };
      const first = Math.floor(sector / EXTENT_SECTORS);
      const end = Math.ceil((sector + count) / EXTENT_SECTORS);
      if (end - first > cache.capacity) {
        cache.forEach(space, takeOut);
        return;
      }
      for (let extent = first; extent < end; extent++) {
        const slot = cache.find(space, extent);
        if (slot !== NONE) takeOut(slot, extent);
      }
    },
    forget: () => cache.drop(space),
    close() {
      ahead.close();
      cache.drop(space);
    },
  };
}
