/**
 * A disk on a device past the page cache (O_DIRECT). Nothing is answered at once: every request goes to a thread, and
 * those that overlap keep their order.
 */
import { closeSync, fdatasync, read, write } from "node:fs";
import { promisify } from "node:util";
import { deviceBytes } from "../../../ffi/file.ts";
import { allocateMemory, freeMemory } from "../../../ffi/memory.ts";
import type { Memory } from "../../base/memory.ts";
import {
  LATER,
  MEDIUM_ERROR,
  OK,
  OUT_OF_RANGE,
  READ_ONLY,
  SECTOR_BYTES,
  type Completion,
  type StorageStatus,
} from "../block-storage.ts";
import { RequestOrder, type OrderedRequest } from "../request-order.ts";
import { SyncPolicy } from "../sync-policy.ts";
import { tell } from "../tell.ts";
import { diskInfo } from "./disk-info.ts";
import type { FileStorage, FileStorageOptions } from "./file-storage.ts";
import { freeRange } from "./free-range.ts";
import { mediumError } from "./medium-error.ts";
import type { Medium } from "./medium.ts";
import { syncFailure } from "./sync-failure.ts";

const isAligned = (memory: Memory, at: number): boolean => (memory.address + at) % SECTOR_BYTES === 0;

/** Serves a device that was opened for direct I/O, which this storage closes. */
export function directStorage(medium: Medium, { sync, report }: FileStorageOptions): FileStorage {
  const { fd, path } = medium;
  const info = diskInfo(medium);
  const order = new RequestOrder();
  const resizeListeners: (() => void)[] = [];
  let failure: string | undefined;
  const policy = new SyncPolicy(
    sync,
    () => promisify(fdatasync)(fd),
    (error) => {
      failure = syncFailure(path, error);
      report(`${path}:failed`, failure);
    },
  );

  const check = (sector: number, count: number, writes: boolean): StorageStatus => {
    if (sector + count > info.sectorCount) return OUT_OF_RANGE;
    if (writes && info.readOnly) return READ_ONLY;
    return writes && failure !== undefined ? MEDIUM_ERROR : OK;
  };

  const endWrite = (status: StorageStatus, durable: boolean, completion: Completion): void => {
    if (status === OK && (durable || policy.waits)) {
      policy.commit(completion);
      return;
    }
    if (status === OK) policy.wrote();
    completion.complete(status);
  };

  /** Reads into or writes from `memory`, whose part at `at` is aligned, in as many calls as it takes. */
  const transfer = (
    verb: "read" | "write",
    sector: number,
    count: number,
    memory: Memory,
    at: number,
    end: (status: StorageStatus) => void,
  ): void => {
    const endAt = at + count * SECTOR_BYTES;
    const go = (from: number): void => {
      const rest = memory.bytes.subarray(from, endAt);
      const done = (error: NodeJS.ErrnoException | null, doneBytes: number): void => {
        if (error) end(mediumError(path, verb, sector, count, Math.abs(error.errno ?? 0), report));
        else if (doneBytes === rest.length) end(OK);
        else if (doneBytes === 0) end(mediumError(path, verb, sector, count, 0, report));
        else go(from + doneBytes);
      };
      const offsetBytes = sector * SECTOR_BYTES + from - at;
      if (verb === "read") read(fd, rest, 0, rest.length, offsetBytes, done);
      else write(fd, rest, 0, rest.length, offsetBytes, done);
    };
    go(at);
  };

  return {
    info,
    get failure() {
      return failure;
    },
    lend: () => 0,
    tryRead: (sector, count) => (check(sector, count, false) === OK ? LATER : OUT_OF_RANGE),
    read(sector, count, target, at, completion) {
      const refusal = check(sector, count, false);
      if (refusal !== OK) {
        tell(completion, refusal);
        return;
      }
      const bounce = isAligned(target, at) ? undefined : allocateMemory(count * SECTOR_BYTES);
      const request: OrderedRequest = {
        sector,
        count,
        writes: false,
        start() {
          transfer("read", sector, count, bounce ?? target, bounce ? 0 : at, (status) => {
            if (bounce) {
              if (status === OK) target.bytes.set(bounce.bytes.subarray(0, count * SECTOR_BYTES), at);
              freeMemory(bounce);
            }
            order.finish(request);
            completion.complete(status);
          });
        },
      };
      order.begin(request);
    },
    tryWrite(sector, count) {
      const refusal = check(sector, count, true);
      return refusal === OK ? LATER : refusal;
    },
    write(sector, count, source, at, durable, completion) {
      const refusal = check(sector, count, true);
      if (refusal !== OK) {
        tell(completion, refusal);
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
          transfer("write", sector, count, copy, 0, (status) => {
            freeMemory(copy);
            order.finish(request);
            endWrite(status, durable, completion);
          });
        },
      };
      order.begin(request);
    },
    flush: (completion) => policy.commit(completion),
    discard(sector, count, completion) {
      const refusal = check(sector, count, true);
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
    },
    onResize: (listener) => void resizeListeners.push(listener),
    allocatedBytes: () => info.sectorCount * SECTOR_BYTES,
    grow() {
      const sectorCount = Math.floor(deviceBytes(fd) / SECTOR_BYTES);
      if (sectorCount > info.sectorCount) {
        info.sectorCount = sectorCount;
        for (const listener of resizeListeners) listener();
      }
      return Promise.resolve();
    },
    async close() {
      await order.whenIdle();
      try {
        await policy.close();
      } finally {
        closeSync(fd);
      }
    },
  };
}
