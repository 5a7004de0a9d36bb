/** A root, that of a snapshot or of a checkpoint, as a read-only disk. */
import { allocateMemory, freeMemory } from "../../../ffi/memory.ts";
import {
  MEDIUM_ERROR,
  OK,
  OUT_OF_RANGE,
  READ_ONLY,
  SECTOR_BYTES,
  type BlockStorage,
  type DeviceInfo,
  type StorageStatus,
} from "../block-storage.ts";
import { tell } from "../tell.ts";
import type { Blocks } from "./blocks.ts";
import { cachedSectors } from "./cached-sectors.ts";
import { CLEAN } from "./dirty-blocks.ts";
import { readSectors, tryReadSectors, type BlockSource } from "./sector-source.ts";
import type { ExtentCache } from "./extent-cache.ts";
import type { NodeReader } from "./tree/node-reader.ts";
import { VolumeTree } from "./tree/volume-tree.ts";
import { treeExtents } from "./tree-extents.ts";

export interface RootStorageOptions {
  readonly info: DeviceInfo;
  readonly root: Uint8Array;
  readonly blocks: Blocks;
  readonly reader: NodeReader;
  readonly cache: ExtentCache;
  readonly report: (key: string, message: string) => void;
}

const everythingIsClean = (): number => CLEAN;

export function rootStorage({ info, root, blocks, reader, cache, report }: RootStorageOptions): BlockStorage {
  const blockCount = Math.ceil((info.sectorCount * SECTOR_BYTES) / blocks.blockBytes);
  const source: BlockSource = { blocks, report, tree: new VolumeTree(reader, blockCount, root) };
  const scratch = allocateMemory(blocks.blockBytes);
  /** What is being read, for requests and ahead of them, and the requests that wait for it. */
  const reads = new Set<Promise<StorageStatus>>();
  const requests = new Set<Promise<unknown>>();
  let closing: Promise<void> | undefined;

  const sectors = cachedSectors(cache, {
    sectorCount: info.sectorCount,
    blockSectors: blocks.blockBytes / SECTOR_BYTES,
    tryRead: (sector, count, target, at) =>
      tryReadSectors(source, everythingIsClean, sector, count, target, at, scratch),
    read(sector, count, target, at, failed) {
      const reading = readSectors(source, everythingIsClean, sector, count, target, at, failed);
      reads.add(reading);
      void reading.then(() => reads.delete(reading));
      return reading;
    },
  });

  const refusal = (sector: number, count: number): StorageStatus => {
    if (sector + count > info.sectorCount) return OUT_OF_RANGE;
    return closing === undefined ? OK : MEDIUM_ERROR;
  };

  return {
    info,
    lend: (sector, count) => (refusal(sector, count) === OK ? sectors.lend(sector, count) : 0),
    tryRead(sector, count, target, at) {
      const refused = refusal(sector, count);
      return refused === OK ? sectors.tryRead(sector, count, target, at) : refused;
    },
    read(sector, count, target, at, completion) {
      const refused = refusal(sector, count);
      if (refused !== OK) {
        tell(completion, refused);
        return;
      }
      const reading = sectors.read(sector, count, target, at);
      requests.add(reading);
      void reading.then((status) => {
        requests.delete(reading);
        completion.complete(status);
      });
    },
    tryWrite: () => READ_ONLY,
    write: (_sector, _count, _source, _at, _durable, completion) => tell(completion, READ_ONLY),
    flush: (completion) => tell(completion, closing === undefined ? OK : MEDIUM_ERROR),
    writePart: (_sector, _offsetBytes, _lengthBytes, _source, _at, _durable, completion) => tell(completion, READ_ONLY),
    hasFastZeroes: false,
    writeZeroes: (_sector, _count, _allocate, _durable, completion) => tell(completion, READ_ONLY),
    async extents(sector, count, most) {
      if (refusal(sector, count) !== OK) throw new Error("the snapshot is closed, or ends before these sectors");
      const tree = { root, blockCount };
      const finding = treeExtents({ reader, tree, blockBytes: blocks.blockBytes, layers: [] }, sector, count, most);
      requests.add(finding);
      try {
        return await finding;
      } finally {
        requests.delete(finding);
      }
    },
    onResize: () => {},
    close() {
      closing ??= (async () => {
        sectors.close();
        await Promise.allSettled([...reads, ...requests]);
        freeMemory(scratch);
      })();
      return closing;
    },
  };
}
