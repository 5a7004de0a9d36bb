/** A volume of an archive as a disk: refusals, the order of requests, and when a write is answered. */
import { allocateMemory, freeMemory } from "../../../ffi/memory.ts";
import { eventLoop } from "../../base/event-loop.ts";
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
import type { OrderedRequest } from "../request-order.ts";
import { SyncPolicy, type SyncMode } from "../sync-policy.ts";
import { tell } from "../tell.ts";
import { FULL, type Journal } from "./journal.ts";
import type { JournalSlowdown } from "./journal-slowdown.ts";
import type { Volume } from "./volume.ts";

export interface VolumeDisk extends BlockStorage {
  /** Why the disk no longer writes, where it does not. */
  readonly failure: string | undefined;
  /** Takes on the size that the volume was given. */
  resized(): void;
}

export interface VolumeDiskOptions {
  readonly volume: Volume;
  readonly journal: Journal;
  readonly info: Omit<DeviceInfo, "sectorCount">;
  readonly sync: SyncMode;
  /** Makes room in the journal, or on its disk, by a checkpoint; rejects where there is none to be made. */
  readonly makeRoom: (onDisk: boolean) => Promise<void>;
  readonly slowdown: JournalSlowdown;
}

/** Whether the journal, or the disk that it is on, has no room for a write: a checkpoint makes some. */
const needsRoom = (status: StorageStatus): boolean => status === FULL || status === NO_SPACE;

export function volumeDisk(options: VolumeDiskOptions): VolumeDisk {
  const { volume, journal, makeRoom, slowdown } = options;
  const { order } = volume;
  const info = { ...options.info, sectorCount: volume.sectorCount };
  const resizeListeners: (() => void)[] = [];
  let closing: Promise<void> | undefined;
  let readsUnderWay = 0;
  let onReadsEnd: (() => void) | undefined;

  const policy = new SyncPolicy(
    options.sync,
    () => journal.sync(),
    // The journal has said so itself.
    () => {},
  );

  const refusal = (sector: number, count: number, writes: boolean): StorageStatus => {
    if (sector + count > info.sectorCount) return OUT_OF_RANGE;
    if (closing !== undefined) return MEDIUM_ERROR;
    if (!writes) return OK;
    if (info.readOnly) return READ_ONLY;
    return journal.failure === undefined && policy.failure === undefined ? OK : MEDIUM_ERROR;
  };

  const isBlocked = (sector: number, count: number, writes: boolean): boolean =>
    !order.isIdle && order.isBlocked(sector, count, writes);

  const endWrite = (status: StorageStatus, durable: boolean, completion: Completion): void => {
    if (status === OK && (durable || policy.waits)) {
      policy.commit(completion);
      return;
    }
    if (status === OK) policy.wrote();
    tell(completion, status);
  };

  /**
   * Does what `attempt` does, in its order, once writes of so many bytes need not be slowed, and again and again while
   * there is no room in the journal and some can be made. `prepare` comes before it, in the same place of the order.
   */
  const whenRoom = (
    sector: number,
    count: number,
    bytes: number,
    attempt: () => StorageStatus,
    end: (status: StorageStatus) => void,
    prepare?: () => Promise<StorageStatus>,
  ): void => {
    const request: OrderedRequest = {
      sector,
      count,
      writes: true,
      start() {
        if (prepare === undefined) begin();
        else void prepare().then((status) => (status === OK ? begin() : finish(status)));
      },
    };
    const begin = (): void => {
      const delayMs = slowdown.delayMs(bytes);
      if (delayMs > 0) eventLoop.after(delayMs, proceed);
      else proceed();
    };
    const proceed = (): void => {
      const status = journal.failure === undefined && policy.failure === undefined ? attempt() : MEDIUM_ERROR;
      if (needsRoom(status)) makeRoom(status === NO_SPACE).then(proceed, () => finish(NO_SPACE));
      else finish(status);
    };
    const finish = (status: StorageStatus): void => {
      order.finish(request);
      end(status);
    };
    order.begin(request);
  };

  return {
    info,
    get failure() {
      return (policy.failure ?? journal.failure)?.message;
    },
    lend(sector, count) {
      if (refusal(sector, count, false) !== OK || isBlocked(sector, count, false)) return 0;
      return volume.lend(sector, count);
    },
    tryRead(sector, count, target, at) {
      const refused = refusal(sector, count, false);
      if (refused !== OK) return refused;
      return isBlocked(sector, count, false) ? LATER : volume.tryRead(sector, count, target, at);
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
          readsUnderWay++;
          const reading = volume.read(sector, count, target, at);
          order.finish(request);
          void reading.then((status) => {
            completion.complete(status);
            if (--readsUnderWay === 0) onReadsEnd?.();
          });
        },
      };
      order.begin(request);
    },
    tryWrite(sector, count, source, at) {
      const refused = refusal(sector, count, true);
      if (refused !== OK) return refused;
      if (policy.waits || isBlocked(sector, count, true) || slowdown.isSlow) return LATER;
      const status = volume.append(sector, count, source, at);
      if (needsRoom(status)) return LATER;
      if (status === OK) policy.wrote();
      return status;
    },
    write(sector, count, source, at, durable, completion) {
      const refused = refusal(sector, count, true);
      if (refused !== OK) {
        tell(completion, refused);
        return;
      }
      if (!isBlocked(sector, count, true) && !slowdown.isSlow) {
        const status = volume.append(sector, count, source, at);
        if (!needsRoom(status)) {
          endWrite(status, durable, completion);
          return;
        }
      }
      const copy = allocateMemory(count * SECTOR_BYTES);
      copy.bytes.set(source.bytes.subarray(at, at + count * SECTOR_BYTES));
      whenRoom(
        sector,
        count,
        count * SECTOR_BYTES,
        () => volume.append(sector, count, copy, 0),
        (status) => {
          freeMemory(copy);
          endWrite(status, durable, completion);
        },
      );
    },
    flush(completion) {
      if (closing === undefined) policy.commit(completion);
      else tell(completion, MEDIUM_ERROR);
    },
    writePart(sector, offsetBytes, lengthBytes, source, at, durable, completion) {
      const refused = refusal(sector, 1, true);
      if (refused !== OK) {
        tell(completion, refused);
        return;
      }
      const part = source.bytes.slice(at, at + lengthBytes);
      const whole = allocateMemory(SECTOR_BYTES);
      whenRoom(
        sector,
        1,
        SECTOR_BYTES,
        () => {
          whole.bytes.set(part, offsetBytes);
          return volume.append(sector, 1, whole, 0);
        },
        (status) => {
          freeMemory(whole);
          endWrite(status, durable, completion);
        },
        () => volume.read(sector, 1, whole, 0),
      );
    },
    hasFastZeroes: true,
    writeZeroes(sector, count, _allocate, durable, completion) {
      const refused = refusal(sector, count, true);
      if (refused !== OK) {
        tell(completion, refused);
        return;
      }
      whenRoom(
        sector,
        count,
        0,
        () => volume.appendDiscard(sector, count),
        (status) => endWrite(status, durable, completion),
      );
    },
    async extents(sector, count, most) {
      if (refusal(sector, count, false) !== OK) throw new Error("the volume is closed, or ends before these sectors");
      return volume.extents(sector, count, most);
    },
    onResize: (listener) => void resizeListeners.push(listener),
    resized() {
      info.sectorCount = volume.sectorCount;
      for (const listener of resizeListeners) listener();
    },
    close() {
      closing ??= (async () => {
        await order.whenIdle();
        if (readsUnderWay > 0) {
          await new Promise<void>((resolve) => {
            onReadsEnd = resolve;
          });
        }
        await policy.close();
      })();
      return closing;
    },
  };
}
