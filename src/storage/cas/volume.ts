/**
 * A volume of an archive: where each of its sectors is. A write is a record of the journal, and nothing more until the
 * next checkpoint; a read takes each sector from where its newest data is (docs/decisions/0004-archive-shape.md).
 */
import { allocateMemory, freeMemory } from "../../../ffi/memory.ts";
import type { Memory } from "../../base/memory.ts";
import { OK, SECTOR_BYTES, type Extent, type StorageStatus } from "../block-storage.ts";
import { RequestOrder } from "../request-order.ts";
import { CLEAN, dirtyBlocks, type DirtyBlocks, ZERO } from "./dirty-blocks.ts";
import { cachedSectors } from "./cached-sectors.ts";
import { treeExtents } from "./tree-extents.ts";
import type { ExtentCache } from "./extent-cache.ts";
import { BLOCK_MOST_BYTES } from "./pack-format.ts";
import type { Pace } from "./pace.ts";
import { RecordBatch } from "./record-batch.ts";
import { readSectors, RECORD_SECTORS, tryReadSectors, type SectorSource } from "./sector-source.ts";
import { storeChanges } from "./store-changes.ts";
import type { NodeReader } from "./tree/node-reader.ts";
import type { VolumeTree } from "./tree/volume-tree.ts";

/** Most sectors of one discard record. */
const DISCARD_MOST_SECTORS = 2 ** 32 - 1;
/** Used within one call, and so shared by all volumes. */
const batch = new RecordBatch();
const scratch = allocateMemory(BLOCK_MOST_BYTES);

export interface VolumeOptions extends SectorSource {
  /** Number of the volume in the journal's records. */
  readonly id: number;
  readonly sectorCount: number;
  /** Where its content is kept for the next read. */
  readonly cache: ExtentCache;
  readonly reader: NodeReader;
  /** What the journal holds of it already. */
  readonly dirty?: DirtyBlocks;
}

export interface Volume {
  readonly id: number;
  readonly blockBytes: number;
  /** Grows, see `grow`. */
  readonly sectorCount: number;
  readonly tree: VolumeTree;
  /** The order of requests, which `restore` takes part in. */
  readonly order: RequestOrder;
  /** Blocks that wait for a checkpoint. */
  readonly dirtyBlockCount: number;
  /** Bytes that were written to it since it was opened. */
  readonly writtenBytes: number;
  /** Memory that the tables of dirty blocks take, in bytes. */
  readonly dirtyBytes: number;
  /** An address that a system call may copy these sectors from, as `BlockStorage.lend` says. */
  lend(sector: number, count: number): number;
  /** Fills `target` where nothing has to be waited for: OK, LATER or a failure. */
  tryRead(sector: number, count: number, target: Memory, at: number): StorageStatus;
  /** Fills `target` with sectors as they are now, whatever is written meanwhile. Never rejects. */
  read(sector: number, count: number, target: Memory, at: number): Promise<StorageStatus>;
  /** As `BlockStorage.extents`, of a range on the volume: what it is when this is called. */
  extents(sector: number, count: number, most: number): Promise<Extent[]>;
  /** Puts a write into the journal, in as many records as it takes; FULL where there is no room for all of it. */
  append(sector: number, count: number, source: Memory, at: number): StorageStatus;
  appendDiscard(sector: number, count: number): StorageStatus;
  /**
   * Sets apart what changed so far, for `store`: false where nothing did. What an earlier `store` failed with is still
   * set apart, and is what the next one stores.
   */
  freeze(): boolean;
  /**
   * Puts what was set apart into blocks and the tree, durably, and yields the new root. May be tried again. What it had
   * to keep out of blocks that cannot be read is in the journal once more, and has to be synced before the root is
   * published: see `keptBlocks`.
   */
  store(pace: Pace): Promise<Uint8Array>;
  /** Blocks that the last `store` has left as they were: its root is not quite what was set apart. */
  readonly keptBlocks: number;
  /** Forgets what was set apart: the root of it is published, and the journal may release it. */
  thaw(): void;
  /** Makes the volume larger; the tree must have grown before. */
  grow(sectorCount: number): void;
  /**
   * From now on the content is that of another tree, and what was written since is forgotten. Nothing may be set apart,
   * and no write under way.
   */
  replaceTree(tree: VolumeTree): void;
  /** Waits for reads that are under way. */
  close(): Promise<void>;
}

export function openVolume(options: VolumeOptions): Volume {
  const { id, blocks, journal, report } = options;
  const blockSectors = blocks.blockBytes / SECTOR_BYTES;
  const reads = new Set<Promise<unknown>>();
  let source: SectorSource = { blocks, journal, report, tree: options.tree };
  let sectorCount = options.sectorCount;
  let dirty = options.dirty ?? dirtyBlocks(blockSectors);
  let frozen: DirtyBlocks | undefined;
  let keptBlocks = 0;
  let writtenBytes = 0;

  const placeOf = (sector: number): number => {
    const place = dirty.placeOf(sector);
    return place === CLEAN && frozen !== undefined ? frozen.placeOf(sector) : place;
  };

  const sectors = cachedSectors(options.cache, {
    blockSectors,
    get sectorCount() {
      return sectorCount;
    },
    tryRead: (sector, count, target, at) => tryReadSectors(source, placeOf, sector, count, target, at, scratch),
    read(sector, count, target, at, failed) {
      const reading = readSectors(source, placeOf, sector, count, target, at, failed);
      reads.add(reading);
      void reading.then(() => reads.delete(reading));
      return reading;
    },
  });

  /**
   * Writes the changes of a block into the journal once more, as if they came now: the place where they are will be
   * released. A sector that was written again meanwhile is newer.
   */
  const keepChanges = async (block: number, changes: DirtyBlocks): Promise<void> => {
    const memory = allocateMemory(SECTOR_BYTES);
    try {
      for (let sector = block * blockSectors; sector < (block + 1) * blockSectors; sector++) {
        const place = changes.placeOf(sector);
        if (place === CLEAN || sector >= sectorCount) continue;
        let status: StorageStatus = OK;
        if (place !== ZERO) status = await journal.read(place, SECTOR_BYTES, memory, 0);
        if (status === OK && dirty.placeOf(sector) === CLEAN) {
          batch.clear();
          if (place === ZERO) batch.addDiscard(id, sector, 1);
          else batch.addWrite(id, sector, 1, memory, 0);
          status = journal.append(batch);
          if (status === OK && place === ZERO) dirty.discard(sector, 1);
          else if (status === OK) dirty.write(sector, 1, batch.placeOf(0), 1);
        }
        if (status !== OK) throw new Error(`sector ${sector} of block ${block}, which cannot be read, cannot be kept`);
      }
    } finally {
      freeMemory(memory);
    }
    report(
      `block:${block}`,
      `block ${block} (sectors ${block * blockSectors} to ${(block + 1) * blockSectors - 1}) is damaged in the store, so ` +
        `what was written to a part of it stays in the journal. Write the block whole to mend it, or run voe verify`,
    );
  };

  return {
    id,
    blockBytes: blocks.blockBytes,
    order: new RequestOrder(),
    get sectorCount() {
      return sectorCount;
    },
    get tree() {
      return source.tree;
    },
    get dirtyBlockCount() {
      return dirty.blockCount + (frozen?.blockCount ?? 0);
    },
    get writtenBytes() {
      return writtenBytes;
    },
    get dirtyBytes() {
      return dirty.memoryBytes + (frozen?.memoryBytes ?? 0);
    },
    lend: (sector, count) => sectors.lend(sector, count),
    tryRead: (sector, count, target, at) => sectors.tryRead(sector, count, target, at),
    read: (sector, count, target, at) => sectors.read(sector, count, target, at),
    extents(sector, count, most) {
      const layers = frozen === undefined ? [dirty] : [dirty, frozen];
      // What is not dirty is as it was at the last commit, whatever a checkpoint has changed in the tree since.
      const { committed } = source.tree;
      const { blockBytes } = blocks;
      const finding = treeExtents({ reader: options.reader, tree: committed, blockBytes, layers }, sector, count, most);
      reads.add(finding);
      void finding.catch(() => {}).then(() => reads.delete(finding));
      return finding;
    },
    append(sector, count, from, at) {
      for (let done = 0; done < count;) {
        const part = Math.min(RECORD_SECTORS, count - done);
        batch.clear();
        batch.addWrite(id, sector + done, part, from, at + done * SECTOR_BYTES);
        const status = journal.append(batch);
        if (status !== OK) return status;
        dirty.write(sector + done, part, batch.placeOf(0), 1);
        sectors.wrote(sector + done, part, from, at + done * SECTOR_BYTES);
        done += part;
        writtenBytes += part * SECTOR_BYTES;
      }
      return OK;
    },
    appendDiscard(sector, count) {
      for (let done = 0; done < count;) {
        const part = Math.min(DISCARD_MOST_SECTORS, count - done);
        batch.clear();
        batch.addDiscard(id, sector + done, part);
        const status = journal.append(batch);
        if (status !== OK) return status;
        dirty.discard(sector + done, part);
        sectors.changed(sector + done, part);
        done += part;
      }
      return OK;
    },
    freeze() {
      if (frozen !== undefined) return true;
      if (dirty.isEmpty) return false;
      frozen = dirty;
      dirty = dirtyBlocks(blockSectors);
      return true;
    },
    store(pace) {
      if (frozen === undefined) throw new Error(`volume ${id} has nothing set apart to be stored`);
      const changes = frozen;
      keptBlocks = 0;
      return storeChanges(source, changes, pace, async (block) => {
        await keepChanges(block, changes);
        keptBlocks++;
      });
    },
    get keptBlocks() {
      return keptBlocks;
    },
    thaw() {
      frozen = undefined;
    },
    grow(count) {
      sectorCount = count;
    },
    replaceTree(tree) {
      if (frozen !== undefined) throw new Error(`volume ${id} has changes that another tree would undo`);
      dirty = dirtyBlocks(blockSectors);
      // A new object: reads that are under way keep the old one.
      source = { ...source, tree };
      sectors.forget();
    },
    async close() {
      sectors.close();
      await Promise.allSettled(reads);
    },
  };
}
