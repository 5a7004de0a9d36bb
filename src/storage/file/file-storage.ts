/** A disk in a file or on a device, through the page cache. */
import { closeSync, fdatasync, fstatSync, read } from "node:fs";
import { promisify } from "node:util";
import { deviceBytes, isHole, readAt, readCached, writeAt } from "../../../ffi/file.ts";
import { EAGAIN, EOPNOTSUPP } from "../../../ffi/libc.ts";
import { allocateMemory, freeMemory } from "../../../ffi/memory.ts";
import type { Memory } from "../../base/memory.ts";
import {
  LATER,
  MEDIUM_ERROR,
  OK,
  OUT_OF_RANGE,
  READ_ONLY,
  SECTOR_BYTES,
  type BlockStorage,
  type Completion,
  type StorageStatus,
} from "../block-storage.ts";
import { RequestOrder, type OrderedRequest } from "../request-order.ts";
import { SyncPolicy, type SyncMode } from "../sync-policy.ts";
import { tell } from "../tell.ts";
import { cachedPages } from "./cached-pages.ts";
import { freeRange } from "./free-range.ts";
import { diskInfo } from "./disk-info.ts";
import { mediumError } from "./medium-error.ts";
import { growFile, type Medium } from "./medium.ts";
import { syncFailure } from "./sync-failure.ts";

export interface FileStorage extends BlockStorage {
  /** Why the storage no longer writes, where it does not. */
  readonly failure: string | undefined;
  /** Bytes that the medium has given to the disk, holes not counted. */
  allocatedBytes(): number;
  /**
   * Gives a disk in a file at least this size, durably, and takes on what the file or device was given from outside.
   * A disk never shrinks.
   */
  grow(sizeBytes: number | undefined): Promise<void>;
}

export interface FileStorageOptions {
  readonly sync: SyncMode;
  /** Receives what an operator should know; `key` names the kind of trouble, so that repetitions can be counted. */
  readonly report: (key: string, message: string) => void;
}

/** How often a file's size is looked at, so that one that was cut under the server is noticed. */
const SIZE_CHECK_MS = 250;

/** Serves a medium, which this storage closes. */
export function fileStorage(medium: Medium, options: FileStorageOptions): FileStorage {
  const { fd, path } = medium;
  const { report } = options;
  const info = diskInfo(medium);
  const pages = cachedPages(fd, !medium.readOnly);
  const order = new RequestOrder();
  const resizeListeners: (() => void)[] = [];
  let failure: string | undefined;

  const fail = (reason: string): void => {
    failure = reason;
    report(`${path}:failed`, reason);
  };
  const policy = new SyncPolicy(
    options.sync,
    () => promisify(fdatasync)(fd),
    (error) => fail(syncFailure(path, error)),
  );

  const checkSize = setInterval(() => {
    if (medium.kind !== "file" || failure !== undefined) return;
    const { size } = fstatSync(fd);
    if (size >= info.sectorCount * SECTOR_BYTES) return;
    fail(
      `${path} was cut to ${size} bytes under the server, it had ${info.sectorCount * SECTOR_BYTES}: nothing more is written`,
    );
  }, SIZE_CHECK_MS);
  checkSize.unref();

  const checkWrite = (sector: number, count: number): StorageStatus => {
    if (sector + count > info.sectorCount) return OUT_OF_RANGE;
    if (info.readOnly) return READ_ONLY;
    return failure === undefined ? OK : MEDIUM_ERROR;
  };

  const writeNow = (sector: number, count: number, source: Memory, at: number): StorageStatus => {
    const lengthBytes = count * SECTOR_BYTES;
    for (let doneBytes = 0; doneBytes < lengthBytes;) {
      const address = source.address + at + doneBytes;
      const written = writeAt(fd, address, lengthBytes - doneBytes, sector * SECTOR_BYTES + doneBytes);
      if (written <= 0) return mediumError(path, "write", sector, count, -written, report);
      doneBytes += written;
    }
    return OK;
  };

  /** Ends a write that has reached the page cache: now, or when it has reached the medium. */
  const endWrite = (status: StorageStatus, durable: boolean, completion: Completion): void => {
    if (status === OK && (durable || policy.waits)) {
      policy.commit(completion);
      return;
    }
    if (status === OK) policy.wrote();
    tell(completion, status);
  };

  const tryWrite = (sector: number, count: number, source: Memory, at: number): StorageStatus => {
    const refusal = checkWrite(sector, count);
    if (refusal !== OK) return refusal;
    if (policy.waits || (!order.isIdle && order.isBlocked(sector, count, true))) return LATER;
    const status = writeNow(sector, count, source, at);
    if (status === OK) policy.wrote();
    return status;
  };

  const write = (
    sector: number,
    count: number,
    source: Memory,
    at: number,
    durable: boolean,
    completion: Completion,
  ): void => {
    const refusal = checkWrite(sector, count);
    if (refusal !== OK) {
      tell(completion, refusal);
      return;
    }
    if (order.isIdle || !order.isBlocked(sector, count, true)) {
      endWrite(writeNow(sector, count, source, at), durable, completion);
      return;
    }
    const lengthBytes = count * SECTOR_BYTES;
    const copy = allocateMemory(lengthBytes);
    copy.bytes.set(source.bytes.subarray(at, at + lengthBytes));
    const request: OrderedRequest = {
      sector,
      count,
      writes: true,
      start() {
        const status = failure === undefined ? writeNow(sector, count, copy, 0) : MEDIUM_ERROR;
        freeMemory(copy);
        order.finish(request);
        endWrite(status, durable, completion);
      },
    };
    order.begin(request);
  };

  const lend = (sector: number, count: number): number => {
    if (sector + count > info.sectorCount || failure !== undefined) return 0;
    if (!order.isIdle && order.isBlocked(sector, count, false)) return 0;
    return pages.addressOf(sector, count);
  };

  const tryRead = (sector: number, count: number, target: Memory, at: number): StorageStatus => {
    if (sector + count > info.sectorCount) return OUT_OF_RANGE;
    if (!order.isIdle && order.isBlocked(sector, count, false)) return LATER;
    const lengthBytes = count * SECTOR_BYTES;
    const address = target.address + at;
    const offsetBytes = sector * SECTOR_BYTES;
    let done = readCached(fd, address, lengthBytes, offsetBytes);
    // What was never written is read at once as well: no medium has to be waited for.
    if (done === -EAGAIN && isHole(fd, offsetBytes, lengthBytes)) done = readAt(fd, address, lengthBytes, offsetBytes);
    if (done === lengthBytes) {
      pages.found(sector, count);
      return OK;
    }
    // Not in memory, or only in part, or a filesystem that cannot tell: a thread may wait for it, this loop may not.
    if (done > 0 || done === -EAGAIN || done === -EOPNOTSUPP) return LATER;
    return mediumError(path, "read", sector, count, -done, report);
  };

  const readLater = (sector: number, count: number, target: Memory, at: number, completion: Completion): void => {
    if (sector + count > info.sectorCount) {
      tell(completion, OUT_OF_RANGE);
      return;
    }
    const request: OrderedRequest = {
      sector,
      count,
      writes: false,
      start: () => readOn(0),
    };
    const lengthBytes = count * SECTOR_BYTES;
    const end = (status: StorageStatus): void => {
      order.finish(request);
      completion.complete(status);
    };
    const readOn = (doneBytes: number): void => {
      const rest = target.bytes.subarray(at + doneBytes, at + lengthBytes);
      read(fd, rest, 0, rest.length, sector * SECTOR_BYTES + doneBytes, (error, bytesRead) => {
        if (error) end(mediumError(path, "read", sector, count, Math.abs(error.errno ?? 0), report));
        else if (bytesRead === rest.length) end(OK);
        else if (bytesRead === 0) end(mediumError(path, "read", sector, count, 0, report));
        else readOn(doneBytes + bytesRead);
      });
    };
    order.begin(request);
  };

  const discard = (sector: number, count: number, completion: Completion): void => {
    const refusal = checkWrite(sector, count);
    if (refusal !== OK) {
      tell(completion, refusal);
      return;
    }
    const request: OrderedRequest = {
      sector,
      count,
      writes: true,
      start() {
        freeRange(medium, sector * SECTOR_BYTES, count * SECTOR_BYTES, (errno) => {
          const status = errno === 0 ? OK : mediumError(path, "discard", sector, count, errno, report);
          order.finish(request);
          endWrite(status, false, completion);
        });
      },
    };
    order.begin(request);
  };

  return {
    info,
    get failure() {
      return failure;
    },
    lend,
    tryRead,
    read: readLater,
    tryWrite,
    write,
    flush: (completion) => policy.commit(completion),
    discard,
    onResize: (listener) => void resizeListeners.push(listener),
    allocatedBytes: () => (medium.kind === "file" ? fstatSync(fd).blocks * 512 : medium.sizeBytes),
    async grow(sizeBytes) {
      if (medium.kind === "file" && sizeBytes !== undefined && sizeBytes > fstatSync(fd).size && !medium.readOnly) {
        await growFile(fd, path, sizeBytes);
      }
      const nowBytes = medium.kind === "file" ? fstatSync(fd).size : deviceBytes(fd);
      const sectorCount = Math.floor(nowBytes / SECTOR_BYTES);
      if (sectorCount <= info.sectorCount) return;
      info.sectorCount = sectorCount;
      for (const listener of resizeListeners) listener();
    },
    async close() {
      clearInterval(checkSize);
      await order.whenIdle();
      try {
        await policy.close();
      } finally {
        pages.close();
        closeSync(fd);
      }
    },
  };
}
