/**
 * The index of an archive store: from a block's hash to the packs that may hold it. It is a hint and disposable. It
 * knows the first 64 bits of hashes, so whoever looks up compares the whole hash with the pack's directory; and it can
 * be built again from the packs, which is also how it comes by what was not flushed before a crash.
 *
 * After opening it the store tells it what it lacks: `forget` the packs of `packNames` that the store has no longer,
 * and `fill` in those that it does not `hold`.
 */
import { dirname } from "node:path";
import { highOf, lowOf } from "./entry.ts";
import { createMemtable, findEntries, insertEntry, type Memtable } from "./memtable.ts";
import type { PackTable } from "./pack-table.ts";
import type { Places } from "./places.ts";
import type { IndexPlace } from "./run-file.ts";
import { IndexDamaged } from "./run-format.ts";
import type { Coverage } from "./run-writer.ts";
import { createRunSet } from "./run-set.ts";
import { findInRun, mayHold, releaseRun, tryFindInRun } from "./run.ts";
import { discardStored, openStored, type StoredIndex } from "./stored-index.ts";

/** How a lookup ended. */
export type LookupStatus = number;
export const FOUND = 0;
/** Nothing was learnt: `lookup` waits for the medium, or says what is wrong. */
export const LATER = 1;
export const ABSENT = 2;

export interface PackEntries {
  /** 32 bytes. */
  readonly name: Uint8Array;
  /** Of its blocks, 32 bytes each, in the order of its directory. */
  readonly hashes: Uint8Array;
  /** Bytes of its blocks before compression. */
  readonly plainBytes: number;
}

export interface IndexOptions {
  /** Entries that are kept in memory before they become a run: 24 bytes each, twice. */
  readonly memtableEntries?: number;
  /** The index has to be built again: call `rebuild` at once, and lookups wait for it. Called once for each rebuild. */
  readonly damaged: (error: IndexDamaged) => void;
  /** What an operator should know; `key` names the kind of trouble, so that repetitions can be counted. */
  readonly report: (key: string, message: string) => void;
}

export interface IndexStatus {
  readonly entryCount: number;
  readonly packCount: number;
  /** Bytes that the blocks of all packs have before compression. */
  readonly plainBytes: number;
  readonly runCount: number;
  readonly diskBytes: number;
  readonly memoryBytes: number;
}

export interface BlockIndex {
  /** Sets `places` to where the block with the hash at byte `at` of `hash` may be, newest first. Never waits. */
  tryLookup(hash: Uint8Array, at: number, places: Places): LookupStatus;
  /**
   * The same, waiting for what it takes, a rebuild included: FOUND or ABSENT. Rejects where a fill has failed, and with
   * IndexDamaged where that does not lead to a rebuild.
   */
  lookup(hash: Uint8Array, at: number, places: Places): Promise<LookupStatus>;
  /** Name of a pack by the number that lookups give, 32 bytes that must not be changed. */
  packName(number: number): Uint8Array;
  /** Names of all packs that are known and not forgotten. */
  packNames(): Uint8Array[];
  /** Whether all entries of a pack are in the index. */
  holds(name: Uint8Array): boolean;
  /**
   * Adds a pack, unless it is held. May wait for a flush, and rejects where that fails; then the pack is not held, and
   * can be added again.
   */
  addPack(pack: PackEntries): Promise<void>;
  /** From now on the index knows nothing of these packs. Their entries leave the disk with the next merges. */
  forgetPacks(names: Iterable<Uint8Array>): Promise<void>;
  /** Makes everything durable that was added. Not needed for more than a quick start. */
  flush(): Promise<void>;
  /** Adds packs that exist already. Until they are all there, no block is said to be absent: such lookups wait. */
  fill(packs: AsyncIterable<PackEntries>): Promise<void>;
  /** Throws the runs away and fills in `packs`, which must be all that the store has. Packs added meanwhile stay. */
  rebuild(packs: AsyncIterable<PackEntries>): Promise<void>;
  status(): IndexStatus;
  /** Resolves when no merge goes on or is due. */
  settled(): Promise<void>;
  /** Flushes and closes. */
  close(): Promise<void>;
}

const HASH_BYTES = 32;
const MEMTABLE_ENTRIES = 2 ** 20;
/** Entries that are inserted before others have their turn: less than 1 ms. */
const INSERT_SLICE = 4096;
const CLEAR_SLICE_WORDS = 2 ** 18;

/**
 * Opens the index in a directory, or makes an empty one. A damaged one is reported, thrown away and made anew, since
 * the packs that it then does not hold are filled in by the caller in any case.
 */
export async function openIndex(place: IndexPlace, options: IndexOptions): Promise<BlockIndex> {
  place.disk.makeDirectory(place.directory);
  await place.disk.syncDirectory(dirname(place.directory));
  let stored: StoredIndex;
  try {
    stored = await openStored(place);
  } catch (error) {
    if (!(error instanceof IndexDamaged)) throw error;
    options.report("index:damaged", `${error.message}: it is built again from the packs`);
    await discardStored(place, true);
    stored = await openStored(place);
  }
  return indexOf(place, stored.packs, stored, options);
}

const sum = <T>(list: readonly T[], of: (item: T) => number): number =>
  list.reduce((total, item) => total + of(item), 0);

function indexOf(place: IndexPlace, packs: PackTable, stored: StoredIndex, options: IndexOptions): BlockIndex {
  const memtableEntries = options.memtableEntries ?? MEMTABLE_ENTRIES;
  let active = createMemtable(memtableEntries);
  let spare: Memtable | undefined;
  /** What is being flushed, with what its run will say of the packs. */
  let frozen: { readonly table: Memtable; readonly coverage: Coverage } | undefined;
  let flushing: Promise<void> | undefined;
  let damage: IndexDamaged | undefined;
  /** Why absence is not known: a fill goes on, or has failed. */
  let filling: Promise<void> | undefined;
  /** Counts rebuilds: whoever was adding a pack meanwhile begins again. */
  let rebuildCount = 0;
  const adding = new Set<number>();
  let discarding: Promise<void> = Promise.resolve();

  /** Packs that have a number and not all of their entries in the index, ascending. */
  let incomplete = new Set<number>();
  const coveredCount = stored.runs.at(-1)?.coveredPackCount ?? 0;
  for (const number of packs.numbers()) if (number >= coveredCount) incomplete.add(number);

  const noteDamage = (error: IndexDamaged): void => {
    if (damage === undefined) options.damaged(error);
    damage ??= error;
  };

  const runSet = createRunSet(place, stored.runs, {
    isForgotten: (pack) => packs.isForgotten(pack),
    mergeFailed: (error) => {
      if (error instanceof IndexDamaged) noteDamage(error);
      else options.report("index:merge", `merging runs of the index failed: ${(error as Error).message}`);
    },
  });

  const flushFrozen = async (): Promise<void> => {
    const { table, coverage } = frozen!;
    await packs.persist();
    await discarding;
    await runSet.flush(table, coverage);
    frozen = undefined;
    for (let at = 0; at < table.words.length; at += CLEAR_SLICE_WORDS) {
      table.words.fill(0, at, at + CLEAR_SLICE_WORDS);
      await place.pause();
    }
    table.count = 0;
    spare = table;
  };

  /** Begins to flush what was frozen, if that does not go on already, and resolves when it is done. */
  const continueFlush = (): Promise<void> => {
    flushing ??= flushFrozen().finally(() => (flushing = undefined));
    return flushing;
  };

  /** Begins an empty memtable. What was frozen before must have been flushed. */
  const freeze = (): void => {
    const [coveredPackCount = packs.count] = incomplete;
    const coverage = { packCount: packs.count, packChain: packs.chainAt(packs.count), coveredPackCount };
    frozen = { table: active, coverage };
    active = spare ?? createMemtable(memtableEntries);
    spare = undefined;
  };

  const makeRoom = async (): Promise<void> => {
    if (flushing !== undefined || frozen !== undefined) {
      await continueFlush();
      return;
    }
    freeze();
    // The memtable that was begun has room: the one that needs the next one meets a failure.
    continueFlush().catch((error: Error) =>
      options.report("index:flush", `the index was not flushed: ${error.message}`),
    );
  };

  const insertAll = async (number: number, hashes: Uint8Array): Promise<void> => {
    for (let at = 0, ordinal = 0; at < hashes.length; at += HASH_BYTES, ordinal++) {
      if (ordinal > 0 && ordinal % INSERT_SLICE === 0) await place.pause();
      while (!insertEntry(active, highOf(hashes, at), lowOf(hashes, at), number, ordinal)) await makeRoom();
    }
  };

  const addPack = async ({ name, hashes, plainBytes }: PackEntries): Promise<void> => {
    let number = packs.numberOf(name);
    if (number !== undefined && !incomplete.has(number)) return;
    number ??= packs.add(name, plainBytes);
    incomplete.add(number);
    adding.add(number);
    try {
      for (let rebuilds = -1; rebuilds !== rebuildCount;) {
        rebuilds = rebuildCount;
        await insertAll(number, hashes);
      }
      incomplete.delete(number);
    } finally {
      adding.delete(number);
    }
  };

  const flush = async (): Promise<void> => {
    if (frozen !== undefined || flushing !== undefined) {
      await continueFlush();
      // Another may have been frozen meanwhile.
      await flush();
    } else if (active.count > 0) {
      freeze();
      await continueFlush();
    }
  };

  const collectNew = (high: number, low: number, places: Places): void => {
    places.count = 0;
    findEntries(active, high, low, places);
    if (frozen !== undefined) findEntries(frozen.table, high, low, places);
  };

  const dropForgotten = (places: Places): void => {
    let kept = 0;
    for (let i = 0; i < places.count; i++) {
      if (packs.isForgotten(places.packs[i]!)) continue;
      places.packs[kept] = places.packs[i]!;
      places.ordinals[kept] = places.ordinals[i]!;
      kept += 1;
    }
    places.count = kept;
  };

  const lookupOnce = async (high: number, low: number, places: Places): Promise<void> => {
    collectNew(high, low, places);
    const candidates = runSet.runs.filter((run) => mayHold(run, high, low)).toReversed();
    for (const run of candidates) run.readerCount += 1;
    try {
      for (const run of candidates) await findInRun(run, high, low, places);
    } catch (error) {
      // A run that is retired is replaced already.
      if (error instanceof IndexDamaged && !candidates.some(({ retired }) => retired)) noteDamage(error);
      throw error;
    } finally {
      candidates.forEach(releaseRun);
    }
    dropForgotten(places);
  };

  const fillWith = async (packEntries: AsyncIterable<PackEntries>): Promise<void> => {
    for await (const pack of packEntries) {
      await addPack(pack);
      await place.pause();
    }
    // All of it is in memory: what is not flushed is only learnt once more after the next start.
    await flush().catch((error: Error) => options.report("index:flush", `the index was not flushed: ${error.message}`));
  };

  /** Does what makes the index complete, one after the other. Where that fails it stays incomplete, and lookups say why. */
  const gated = async (work: () => Promise<void>): Promise<void> => {
    const before = filling?.catch(() => {});
    const mine = (before ?? Promise.resolve()).then(work);
    filling = mine;
    await mine;
    if (filling === mine) filling = undefined;
  };

  const rebuildWith = async (packEntries: AsyncIterable<PackEntries>): Promise<void> => {
    for (let current = flushing; current !== undefined; current = flushing) await current.catch(() => {});
    rebuildCount += 1;
    incomplete = new Set(packs.numbers());
    discarding = runSet.discard();
    await discarding;
    damage = undefined;
    await fillWith(packEntries);
    const gone = [...incomplete].filter((number) => !adding.has(number));
    for (const number of gone) {
      packs.forget(packs.nameOf(number));
      incomplete.delete(number);
    }
    await packs.persist();
  };

  return {
    tryLookup(hash, at, places) {
      const high = highOf(hash, at);
      const low = lowOf(hash, at);
      collectNew(high, low, places);
      const { runs } = runSet;
      for (let i = runs.length - 1; i >= 0; i--) {
        if (mayHold(runs[i]!, high, low) && !tryFindInRun(runs[i]!, high, low, places)) return LATER;
      }
      if (places.count > 0) dropForgotten(places);
      if (places.count > 0) return FOUND;
      return filling === undefined ? ABSENT : LATER;
    },
    async lookup(hash, at, places) {
      const high = highOf(hash, at);
      const low = lowOf(hash, at);
      for (let damageCount = 0; ;) {
        const waitFor = filling;
        try {
          await lookupOnce(high, low, places);
          if (places.count > 0) return FOUND;
          if (waitFor === undefined && filling === undefined) return ABSENT;
        } catch (error) {
          const isBuilt = waitFor !== undefined || filling !== undefined;
          // What is damaged again and again is for whoever asks to know.
          if (!(error instanceof IndexDamaged) || !isBuilt || ++damageCount > 2) throw error;
        }
        await (filling ?? waitFor);
      }
    },
    packName: (number) => packs.nameOf(number),
    packNames: () => packs.numbers().map((number) => packs.nameOf(number)),
    holds(name) {
      const number = packs.numberOf(name);
      return number !== undefined && !incomplete.has(number);
    },
    addPack,
    async forgetPacks(names) {
      for (const name of names) {
        const number = packs.forget(name);
        if (number !== undefined) incomplete.delete(number);
      }
      await packs.persist();
    },
    flush,
    fill: (packEntries) => gated(() => fillWith(packEntries)),
    rebuild: (packEntries) => gated(() => rebuildWith(packEntries)),
    status() {
      const { runs } = runSet;
      const tables = [active, spare, frozen?.table].filter((table) => table !== undefined);
      return {
        entryCount: sum(runs, (run) => run.entryCount) + sum(tables, (table) => table.count),
        packCount: packs.numbers().length,
        plainBytes: packs.plainBytes,
        runCount: runs.length,
        diskBytes: sum(runs, (run) => run.fileBytes) + packs.sizeBytes,
        memoryBytes:
          sum(runs, (run) => run.filter.words.byteLength + run.fences.byteLength) +
          sum(tables, (table) => table.words.byteLength) +
          packs.sizeBytes,
      };
    },
    settled: () => runSet.settled(),
    async close() {
      try {
        await flush();
      } finally {
        await runSet.close();
        packs.close();
      }
    },
  };
}
