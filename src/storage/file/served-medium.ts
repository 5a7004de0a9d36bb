/**
 * What the storages on a medium have in common: its size and how much of it is still there, its syncs, its failure, its
 * growth and its end.
 */
import { closeSync, fdatasync, ftruncate } from "node:fs";
import { promisify } from "node:util";
import { sizeOf } from "../../../ffi/file.ts";
import {
  MEDIUM_ERROR,
  OK,
  OUT_OF_RANGE,
  READ_ONLY,
  SECTOR_BYTES,
  type Completion,
  type DeviceInfo,
  type StorageStatus,
} from "../block-storage.ts";
import { RequestOrder } from "../request-order.ts";
import { SyncPolicy, type SyncMode } from "../sync-policy.ts";
import { tell } from "../tell.ts";
import { diskInfo } from "./disk-info.ts";
import { sizeError, type Medium } from "./medium.ts";
import { syncFailure } from "./sync-failure.ts";

export interface FileStorageOptions {
  readonly sync: SyncMode;
  /** Receives what an operator should know; `key` names the kind of trouble, so that repetitions can be counted. */
  readonly report: (key: string, message: string) => void;
}

/** How often a medium's size is looked at, so that one that was cut under the server is noticed. */
const SIZE_CHECK_MS = 250;

export interface ServedMedium {
  readonly info: DeviceInfo;
  readonly order: RequestOrder;
  readonly policy: SyncPolicy;
  /** Why nothing is written any more, where nothing is. */
  readonly failure: string | undefined;
  /** OK, or why a request for these sectors cannot be taken. */
  readonly refusal: (sector: number, count: number, writes: boolean) => StorageStatus;
  /** Whether a write that was taken earlier may still be done. */
  readonly mayWrite: () => boolean;
  /** Ends a write that is with the medium's cache, or has failed: now, or when it is durable where it has to be. */
  readonly endWrite: (status: StorageStatus, durable: boolean, completion: Completion) => void;
  readonly onResize: (listener: () => void) => void;
  /** See `FileStorage.grow`. */
  readonly grow: (sizeBytes: number | undefined) => Promise<void>;
  /** Takes no more requests, finishes those there are, makes all durable and closes the medium after `release`. */
  readonly close: (release: () => void) => Promise<void>;
}

export function servedMedium(medium: Medium, { sync, report }: FileStorageOptions): ServedMedium {
  const { fd, path } = medium;
  const info = diskInfo(medium);
  const order = new RequestOrder();
  const resizeListeners: (() => void)[] = [];
  let failure: string | undefined;
  // Sectors from the start that have always been there: fewer than the disk has once the medium was cut, since what is
  // there now, should it have grown again, is not what was written. None once it is closed.
  let intactCount = info.sectorCount;
  let closed: Promise<void> | undefined;

  const fail = (reason: string): void => {
    failure ??= reason;
    report(`${path}:failed`, reason);
  };
  const policy = new SyncPolicy(
    sync,
    () => promisify(fdatasync)(fd),
    (error) => fail(syncFailure(path, error)),
  );

  /** Whether the medium has not been cut. A write must never be the one that makes it long enough again. */
  const isWhole = (): boolean => {
    const sizeBytes = Math.max(0, sizeOf(fd));
    if (sizeBytes >= intactCount * SECTOR_BYTES) return true;
    intactCount = Math.floor(sizeBytes / SECTOR_BYTES);
    fail(
      `${path} was cut to ${sizeBytes} bytes under the server, it had ${info.sectorCount * SECTOR_BYTES}: what lay behind ` +
        `is lost, and nothing more is written. Restore it, then start voe again`,
    );
    return false;
  };
  const checkSize = setInterval(isWhole, SIZE_CHECK_MS);
  checkSize.unref();

  const mayWrite = (): boolean => isWhole() && failure === undefined;

  // For requests that are taken once in a turn of the event loop is enough: to look for each write took 4-6 % of the
  // server's time.
  let looked = false;
  const forgetLook = (): void => {
    looked = false;
  };
  const mayTakeWrite = (): boolean => {
    if (looked) return failure === undefined;
    looked = true;
    setImmediate(forgetLook);
    return mayWrite();
  };

  /** Makes what the medium has been given durable: through the one place that syncs, as each failure is told only once. */
  const commit = (): Promise<StorageStatus> => new Promise((resolve) => policy.commit({ complete: resolve }));

  return {
    info,
    order,
    policy,
    get failure() {
      return failure;
    },
    refusal(sector, count, writes) {
      if (sector + count > intactCount) return sector + count > info.sectorCount ? OUT_OF_RANGE : MEDIUM_ERROR;
      if (!writes) return OK;
      if (info.readOnly) return READ_ONLY;
      return mayTakeWrite() ? OK : MEDIUM_ERROR;
    },
    mayWrite,
    endWrite(status, durable, completion) {
      const ended = status === OK && failure !== undefined ? MEDIUM_ERROR : status;
      if (ended === OK && (durable || policy.waits)) {
        policy.commit(completion);
        return;
      }
      if (ended === OK) policy.wrote();
      tell(completion, ended);
    },
    onResize: (listener) => void resizeListeners.push(listener),
    async grow(sizeBytes) {
      const wanted = medium.kind === "file" && !medium.readOnly && sizeBytes !== undefined && sizeBytes > sizeOf(fd);
      if (!mayWrite()) {
        if (wanted) report(`${path}:grow`, `${path} cannot grow: ${failure}`);
        return;
      }
      if (wanted) {
        try {
          await promisify(ftruncate)(fd, sizeBytes);
        } catch (error) {
          throw sizeError(path, sizeBytes, error);
        }
        if ((await commit()) !== OK) throw new Error(failure);
      }
      const sectorCount = Math.floor(sizeOf(fd) / SECTOR_BYTES);
      if (sectorCount <= info.sectorCount) return;
      info.sectorCount = sectorCount;
      intactCount = sectorCount;
      for (const listener of resizeListeners) listener();
    },
    close(release) {
      clearInterval(checkSize);
      // The descriptor's number is given to the next file that is opened: nothing may use it any more.
      intactCount = 0;
      closed ??= (async () => {
        await order.whenIdle();
        try {
          await policy.close();
        } finally {
          release();
          closeSync(fd);
        }
      })();
      return closed;
    },
  };
}
