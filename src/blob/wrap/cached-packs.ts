/** The packs of a cache within a number of bytes: least recently used out. A disk that fails means no caching. */
import { eventLoop } from "../../base/event-loop.ts";
import type { Memory } from "../../base/memory.ts";
import { realFileSystem } from "../file-system.ts";
import { createOpenBlobs } from "../open-blobs.ts";
import type { CacheDirectory } from "./cache-directory.ts";
import {
  hasRange,
  isComplete,
  mark,
  partialPack,
  PRESENT,
  wholePack,
  type CachedPack,
  type PackRange,
} from "./cached-pack.ts";

export interface CachedPacksOptions {
  readonly directory: CacheDirectory;
  readonly limitBytes: number;
  readonly report: (key: string, message: string) => void;
}

export interface CachedPacks {
  /** The pack, if anything of it is here; asking counts as using it. */
  get(name: string): CachedPack | undefined;
  /** An empty pack to be filled, instead of what there was of it; undefined where nothing is to be kept now. */
  create(name: string, sizeBytes: number): CachedPack | undefined;
  /** Whether all of a range is here. */
  has(pack: CachedPack, offsetBytes: number, lengthBytes: number): boolean;
  /** Reads what the page cache holds of a range, at once. */
  tryRead(pack: CachedPack, offsetBytes: number, lengthBytes: number, target: Memory, at: number): boolean;
  /** Reads a range that is in the file. False where the file fails: then it is dropped. */
  read(pack: CachedPack, offsetBytes: number, lengthBytes: number, target: Memory, at: number): Promise<boolean>;
  willRead(pack: CachedPack, offsetBytes: number, lengthBytes: number): void;
  /** Writes a range that was fetched into the file of its pack. Never rejects: where it fails, the range is not kept. */
  savePart(pack: CachedPack, range: PackRange, bytes: Uint8Array): Promise<boolean>;
  /** Says that one of the ranges that were on their way has ended. */
  ended(pack: CachedPack): void;
  /** Writes a whole pack beside what there is of it, for `keep` or `discard`; undefined where that fails. */
  saveWhole(name: string, bytes: Uint8Array): Promise<CachedPack | undefined>;
  keep(pack: CachedPack): void;
  discard(pack: CachedPack): void;
  /** Forgets a pack; whether there was one, and whole. */
  drop(name: string): boolean;
  statistics(): PackCacheStatistics;
  close(): Promise<void>;
}

export interface PackCacheStatistics {
  readonly packs: number;
  readonly usedBytes: number;
  readonly limitBytes: number;
}

const OPEN_MOST = 256;
/** How long nothing is kept after the disk failed. */
const REST_MS = 60_000;
const SAVE_EVERY_MS = 60_000;

export function cachedPacks({ directory, limitBytes, report }: CachedPacksOptions): CachedPacks {
  const packs = new Map<string, CachedPack>();
  const files = createOpenBlobs(realFileSystem, directory.pathOf, OPEN_MOST);
  const removals = new Set<Promise<void>>();
  let usedBytes = 0;
  let restsUntilMs = 0;
  let isChanged = false;

  const failed = (error: unknown): void => {
    restsUntilMs = eventLoop.nowMs() + REST_MS;
    report(
      "cache",
      `the cache ${directory.pathOf("")} cannot be written (${(error as Error).message}): nothing more is kept in it for ` +
        `a minute, and blocks are read from the store. See that its disk works and has as much space as cache_size`,
    );
  };

  const removeFile = (file: string): void => {
    files.drop(file);
    const removal = directory.remove(file).catch(failed);
    removals.add(removal);
    void removal.then(() => removals.delete(removal));
  };

  const letGo = (pack: CachedPack): void => {
    pack.dropped = true;
    usedBytes -= pack.keptBytes;
    pack.keptBytes = 0;
    // What is being written is removed when that has ended.
    if (pack.coming === 0) removeFile(pack.file);
  };

  const drop = (name: string): boolean => {
    const pack = packs.get(name);
    if (pack === undefined) return false;
    packs.delete(name);
    isChanged = true;
    letGo(pack);
    return pack.granules === undefined;
  };

  /**
   * Whether so much may be kept more, once others made room for it. Second chance: what was asked for since it was last
   * looked at goes to the end of the line. `keeper` stays, and what is being filled.
   */
  const hasRoom = (bytes: number, keeper?: CachedPack): boolean => {
    let chances = 2 * packs.size;
    for (const [name, pack] of packs) {
      if (usedBytes + bytes <= limitBytes || chances-- <= 0) break;
      if (!pack.recent && pack.coming === 0 && pack !== keeper) {
        drop(name);
        continue;
      }
      packs.delete(name);
      pack.recent = false;
      packs.set(name, pack);
    }
    return usedBytes + bytes <= limitBytes;
  };

  const keep = (pack: CachedPack): void => {
    drop(pack.name);
    packs.set(pack.name, pack);
    isChanged = true;
  };

  const keeps = (sizeBytes: number): boolean =>
    sizeBytes > 0 && sizeBytes <= limitBytes && eventLoop.nowMs() >= restsUntilMs;

  const saveOrder = async (): Promise<void> => {
    if (!isChanged) return;
    isChanged = false;
    const whole = [...packs.values()].filter(({ granules }) => granules === undefined);
    await directory.saveOrder(whole.map(({ file }) => file)).catch(failed);
  };
  const stopSaving = eventLoop.every(SAVE_EVERY_MS, () => void saveOrder());

  for (const { name, sizeBytes, file } of directory.found) {
    usedBytes += sizeBytes;
    keep({ ...wholePack(name, sizeBytes, file), recent: false });
  }
  hasRoom(0);
  isChanged = false;

  return {
    get(name) {
      const pack = packs.get(name);
      if (pack !== undefined) pack.recent = true;
      return pack;
    },
    create(name, sizeBytes) {
      if (!keeps(sizeBytes)) return undefined;
      const pack = partialPack(name, sizeBytes, directory.name(name, sizeBytes));
      keep(pack);
      return pack;
    },
    has: hasRange,
    tryRead: (pack, offsetBytes, lengthBytes, target, at) =>
      hasRange(pack, offsetBytes, lengthBytes) && files.tryRead(pack.file, offsetBytes, lengthBytes, target, at),
    async read(pack, offsetBytes, lengthBytes, target, at) {
      try {
        if ((await files.read(pack.file, offsetBytes, lengthBytes, target, at)) === lengthBytes) return true;
        report("cache:read", `${directory.pathOf(pack.file)} was cut: it is fetched again`);
      } catch (error) {
        if (pack.dropped) return false;
        report("cache:read", `${directory.pathOf(pack.file)} cannot be read: ${(error as Error).message}`);
      }
      if (packs.get(pack.name) === pack) drop(pack.name);
      return false;
    },
    willRead: (pack, offsetBytes, lengthBytes) => files.willRead(pack.file, offsetBytes, lengthBytes),
    async savePart(pack, range, bytes) {
      if (pack.dropped || eventLoop.nowMs() < restsUntilMs) return false;
      if (!hasRoom(bytes.length, pack)) return false;
      usedBytes += bytes.length;
      pack.keptBytes += bytes.length;
      try {
        await directory.writePart(pack.file, pack.sizeBytes, bytes, range.fromBytes);
        if (pack.dropped) return false;
        mark(pack, range, PRESENT);
        if (!isComplete(pack)) return true;
        await directory.complete(pack.file, pack.sizeBytes);
        pack.granules = undefined;
        isChanged = true;
        return true;
      } catch (error) {
        if (pack.dropped) return false;
        failed(error);
        // It gives its space back, and what it has may be written in part.
        drop(pack.name);
        return false;
      }
    },
    ended(pack) {
      pack.coming--;
      if (pack.dropped && pack.coming === 0) removeFile(pack.file);
    },
    async saveWhole(name, bytes) {
      if (!keeps(bytes.length) || !hasRoom(bytes.length)) return undefined;
      const pack = wholePack(name, bytes.length, directory.name(name, bytes.length));
      usedBytes += bytes.length;
      try {
        await directory.writeWhole(pack.file, bytes);
        return pack;
      } catch (error) {
        failed(error);
        letGo(pack);
        return undefined;
      }
    },
    keep,
    discard: letGo,
    drop,
    statistics: () => ({ packs: packs.size, usedBytes, limitBytes }),
    async close() {
      stopSaving();
      for (const pack of packs.values()) if (pack.granules !== undefined) drop(pack.name);
      isChanged = true;
      await saveOrder();
      await Promise.all(removals);
      await files.close();
      directory.unlock();
    },
  };
}
