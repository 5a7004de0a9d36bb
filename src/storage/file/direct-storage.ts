/**
 * A disk on a device past the page cache (O_DIRECT). Nothing is answered at once: every request goes to a thread, and
 * those that overlap keep their order.
 */
import { allocateMemory, freeMemory } from "../../../ffi/memory.ts";
import type { Memory } from "../../base/memory.ts";
import { LATER, MEDIUM_ERROR, OK, SECTOR_BYTES, type StorageStatus } from "../block-storage.ts";
import type { OrderedRequest } from "../request-order.ts";
import { tell } from "../tell.ts";
import type { FileStorage } from "./file-storage.ts";
import { mediumChanges } from "./medium-changes.ts";
import type { Medium } from "./medium.ts";
import { servedMedium, type FileStorageOptions } from "./served-medium.ts";
import { transfer } from "./transfer.ts";

const isAligned = (memory: Memory, at: number): boolean => (memory.address + at) % SECTOR_BYTES === 0;

const laterUnless = (refused: StorageStatus): StorageStatus => (refused === OK ? LATER : refused);

/** Serves a device that was opened for direct I/O, which this storage closes. */
export function directStorage(medium: Medium, options: FileStorageOptions): FileStorage {
  const { path } = medium;
  const { report } = options;
  const served = servedMedium(medium, options);
  const { info, order, policy, refusal } = served;

  return {
    info,
    get failure() {
      return served.failure;
    },
    lend: () => 0,
    tryRead: (sector, count) => laterUnless(refusal(sector, count, false)),
    read(sector, count, target, at, completion) {
      const refused = refusal(sector, count, false);
      if (refused !== OK) {
        tell(completion, refused);
        return;
      }
      const bounce = isAligned(target, at) ? undefined : allocateMemory(count * SECTOR_BYTES);
      const request: OrderedRequest = {
        sector,
        count,
        writes: false,
        start() {
          transfer(medium, "read", sector, count, bounce ?? target, bounce ? 0 : at, report, (status) => {
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
    tryWrite: (sector, count) => laterUnless(refusal(sector, count, true)),
    write(sector, count, source, at, durable, completion) {
      const refused = refusal(sector, count, true);
      if (refused !== OK) {
        tell(completion, refused);
        return;
      }
      const lengthBytes = count * SECTOR_BYTES;
      const copy = allocateMemory(lengthBytes);
      copy.bytes.set(source.bytes.subarray(at, at + lengthBytes));
      const end = (status: StorageStatus): void => {
        freeMemory(copy);
        order.finish(request);
        served.endWrite(status, durable, completion);
      };
      const request: OrderedRequest = {
        sector,
        count,
        writes: true,
        start() {
          if (served.mayWrite()) transfer(medium, "write", sector, count, copy, 0, report, end);
          else end(MEDIUM_ERROR);
        },
      };
      order.begin(request);
    },
    flush: (completion) => policy.commit(completion),
    ...mediumChanges(medium, served, report),
    extents(sector, count) {
      if (refusal(sector, count, false) !== OK) return Promise.reject(new Error(`${path} was closed, or has shrunk`));
      return Promise.resolve([{ sectorCount: count, isHole: false }]);
    },
    onResize: served.onResize,
    allocatedBytes: () => info.sectorCount * SECTOR_BYTES,
    grow: served.grow,
    close: () => served.close(() => {}),
  };
}
