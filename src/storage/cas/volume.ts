/**
 * A volume of an archive as a disk. A write is a record of the journal, and nothing more until the next checkpoint; a
 * read takes each sector from where its newest data is (docs/decisions/0004-archive-shape.md).
 */
import { allocateMemory, freeMemory } from "../../../ffi/memory.ts";
import type { Memory } from "../../base/memory.ts";
import {
  LATER,
  MEDIUM_ERROR,
  NO_SPACE,
  OK,
  OUT_OF_RANGE,
  READ_ONLY,
  SECTOR_BYTES,
  type BlockStorage,
  type Completion,
  type DeviceInfo,
  type StorageStatus,
} from "../block-storage.ts";
import { RequestOrder, type OrderedRequest } from "../request-order.ts";
import { SyncPolicy, type SyncMode } from "../sync-policy.ts";
import { tell } from "../tell.ts";
import { CLEAN, dirtyBlocks, type DirtyBlocks } from "./dirty-blocks.ts";
import { FULL } from "./journal.ts";
import { RecordBatch } from "./record-batch.ts";
import { readSectors, RECORD_SECTORS, tryReadSectors, type SectorSource } from "./sector-source.ts";
import { storeChanges } from "./store-changes.ts";

/** Most sectors of one discard record. */
const DISCARD_MOST_SECTORS = 2 ** 32 - 1;

export interface VolumeOptions extends SectorSource {
  /** Number of the volume in the journal's records. */
  readonly id: number;
  readonly info: DeviceInfo & { sectorCount: number };
  readonly sync: SyncMode;
  /** Makes room in the journal by a checkpoint; rejects where there is none to be made. */
  readonly makeRoom: () => Promise<void>;
}

export interface Volume extends BlockStorage {
  readonly id: number;
  /** Why the volume no longer writes, where it does not. */
  readonly failure: string | undefined;
  /** Blocks that wait for a checkpoint. */
  readonly dirtyBlockCount: number;
  /** Takes over what a record of the journal says, when that is replayed. */
  replayWrite(sector: number, count: number, recordPlace: number): void;
  replayDiscard(sector: number, count: number): void;
  /**
   * Sets apart what changed so far, for `store`: false where nothing did. What an earlier `store` failed with is still
   * set apart, and is what the next one stores.
   */
  freeze(): boolean;
  /** Puts what was set apart into blocks and the tree, durably, and yields the new root. May be tried again. */
  store(): Promise<Uint8Array>;
  /** Forgets what was set apart: the root of it is published, and the journal may release it. */
  thaw(): void;
}

export function openVolume(options: VolumeOptions): Volume {
  const { id, info, blocks } = options;
  const blockSectors = blocks.blockBytes / SECTOR_BYTES;
  const order = new RequestOrder();
  const batch = new RecordBatch();
  const scratch = allocateMemory(blocks.blockBytes);
  const resizeListeners: (() => void)[] = [];
  const reads = new Set<Promise<StorageStatus>>();
  let dirty = dirtyBlocks(blockSectors);
  let frozen: DirtyBlocks | undefined;
  let closed = false;

  const policy = new SyncPolicy(
    options.sync,
    () => options.journal.sync(),
    // The journal has said so itself.
    () => {},
  );
  const failure = (): string | undefined => (policy.failure ?? options.journal.failure)?.message;

  const placeOf = (sector: number): number => {
    const place = dirty.placeOf(sector);
    return place === CLEAN && frozen !== undefined ? frozen.placeOf(sector) : place;
  };

  const refusal = (sector: number, count: number, writes: boolean): StorageStatus => {
    if (sector + count > info.sectorCount) return OUT_OF_RANGE;
    if (closed) return MEDIUM_ERROR;
    if (!writes) return OK;
    if (info.readOnly) return READ_ONLY;
    return options.journal.failure === undefined && policy.failure === undefined ? OK : MEDIUM_ERROR;
  };

  const isBlocked = (sector: number, count: number, writes: boolean): boolean =>
    !order.isIdle && order.isBlocked(sector, count, writes);

  /** Puts a write into the journal, in as many records as it takes; FULL where there is no room for all of it. */
  const append = (sector: number, count: number, source: Memory, at: number): StorageStatus => {
    for (let done = 0; done < count;) {
      const part = Math.min(RECORD_SECTORS, count - done);
      batch.clear();
      batch.addWrite(id, sector + done, part, source, at + done * SECTOR_BYTES);
      const status = options.journal.append(batch);
      if (status !== OK) return status;
      dirty.write(sector + done, part, batch.placeOf(0), 1);
      done += part;
    }
    return OK;
  };

  const appendDiscard = (sector: number, count: number): StorageStatus => {
    for (let done = 0; done < count;) {
      const part = Math.min(DISCARD_MOST_SECTORS, count - done);
      batch.clear();
      batch.addDiscard(id, sector + done, part);
      const status = options.journal.append(batch);
      if (status !== OK) return status;
      dirty.discard(sector + done, part);
      done += part;
    }
    return OK;
  };

  const endWrite = (status: StorageStatus, durable: boolean, completion: Completion): void => {
    if (status === OK && (durable || policy.waits)) {
      policy.commit(completion);
      return;
    }
    if (status === OK) policy.wrote();
    tell(completion, status);
  };

  /** Does what `attempt` does, in its order, again and again while the journal is full and room can be made. */
  const whenRoom = (
    sector: number,
    count: number,
    attempt: () => StorageStatus,
    end: (status: StorageStatus) => void,
  ): void => {
    const request: OrderedRequest = {
      sector,
      count,
      writes: true,
      start() {
        const status = failure() === undefined ? attempt() : MEDIUM_ERROR;
        if (status === FULL) {
          options.makeRoom().then(
            () => request.start(),
            () => finish(NO_SPACE),
          );
        } else {
          finish(status);
        }
      },
    };
    const finish = (status: StorageStatus): void => {
      order.finish(request);
      end(status);
    };
    order.begin(request);
  };

  return {
    id,
    info,
    get failure() {
      return failure();
    },
    get dirtyBlockCount() {
      return dirty.blockCount + (frozen?.blockCount ?? 0);
    },
    lend: () => 0,
    tryRead(sector, count, target, at) {
      const refused = refusal(sector, count, false);
      if (refused !== OK) return refused;
      if (isBlocked(sector, count, false)) return LATER;
      return tryReadSectors(options, placeOf, sector, count, target, at, scratch);
    },
    read(sector, count, target, at, completion) {
      const refused = refusal(sector, count, false);
      if (refused !== OK) {
        tell(completion, refused);
        return;
      }
      const request: OrderedRequest = {
        sector,
        count,
        writes: false,
        start() {
          // What is read is settled when it begins: later writes to it need not wait.
          const reading = readSectors(options, placeOf, sector, count, target, at);
          order.finish(request);
          reads.add(reading);
          void reading.then((status) => {
            reads.delete(reading);
            completion.complete(status);
          });
        },
      };
      order.begin(request);
    },
    tryWrite(sector, count, source, at) {
      const refused = refusal(sector, count, true);
      if (refused !== OK) return refused;
      if (policy.waits || isBlocked(sector, count, true)) return LATER;
      const status = append(sector, count, source, at);
      if (status === FULL) return LATER;
      if (status === OK) policy.wrote();
      return status;
    },
    write(sector, count, source, at, durable, completion) {
      const refused = refusal(sector, count, true);
      if (refused !== OK) {
        tell(completion, refused);
        return;
      }
      if (!isBlocked(sector, count, true)) {
        const status = append(sector, count, source, at);
        if (status !== FULL) {
          endWrite(status, durable, completion);
          return;
        }
      }
      const copy = allocateMemory(count * SECTOR_BYTES);
      copy.bytes.set(source.bytes.subarray(at, at + count * SECTOR_BYTES));
      whenRoom(
        sector,
        count,
        () => append(sector, count, copy, 0),
        (status) => {
          freeMemory(copy);
          endWrite(status, durable, completion);
        },
      );
    },
    flush: (completion) => policy.commit(completion),
    discard(sector, count, completion) {
      const refused = refusal(sector, count, true);
      if (refused !== OK) {
        tell(completion, refused);
        return;
      }
      whenRoom(
        sector,
        count,
        () => appendDiscard(sector, count),
        (status) => endWrite(status, false, completion),
      );
    },
    onResize: (listener) => void resizeListeners.push(listener),
    replayWrite: (sector, count, recordPlace) => dirty.write(sector, count, recordPlace, 1),
    replayDiscard: (sector, count) => dirty.discard(sector, count),
    freeze() {
      if (frozen !== undefined) return true;
      if (dirty.isEmpty) return false;
      frozen = dirty;
      dirty = dirtyBlocks(blockSectors);
      return true;
    },
    store() {
      if (frozen === undefined) throw new Error(`volume ${id} has nothing set apart to be stored`);
      return storeChanges(options, frozen);
    },
    thaw() {
      frozen = undefined;
    },
    async close() {
      closed = true;
      await order.whenIdle();
      await Promise.all(reads);
      await policy.close();
      freeMemory(scratch);
    },
  };
}
