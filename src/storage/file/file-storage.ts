/** A disk in a file or on a device, through the page cache. */
import { fstatSync } from "node:fs";
import { isHole, readAt, readCached, writeAt } from "../../../ffi/file.ts";
import { EAGAIN, EOPNOTSUPP } from "../../../ffi/libc.ts";
import { allocateMemory, freeMemory } from "../../../ffi/memory.ts";
import type { Memory } from "../../base/memory.ts";
import {
  LATER,
  MEDIUM_ERROR,
  OK,
  SECTOR_BYTES,
  type BlockStorage,
  type Completion,
  type StorageStatus,
} from "../block-storage.ts";
import type { OrderedRequest } from "../request-order.ts";
import { tell } from "../tell.ts";
import { dataExtents } from "./data-ranges.ts";
import { cachedPages, PAGE_BYTES } from "./cached-pages.ts";
import { mediumChanges } from "./medium-changes.ts";
import { mediumError } from "./medium-error.ts";
import type { Medium } from "./medium.ts";
import { servedMedium, type FileStorageOptions } from "./served-medium.ts";
import { transfer } from "./transfer.ts";

export interface FileStorage extends BlockStorage {
  /** Why the storage no longer writes, where it does not. */
  readonly failure: string | undefined;
  /** Bytes that the medium has given to the disk, holes not counted. */
  allocatedBytes(): number;
  /**
   * Gives a disk in a file at least this size, durably, and takes on what the file or device was given from outside.
   * A disk never shrinks, and one that has failed stays as it is.
   */
  grow(sizeBytes: number | undefined): Promise<void>;
}

const PAGE_SECTORS = PAGE_BYTES / SECTOR_BYTES;
const probe = allocateMemory(PAGE_BYTES);

/** Serves a medium, which this storage closes. */
export function fileStorage(medium: Medium, options: FileStorageOptions): FileStorage {
  const { fd, path } = medium;
  const { report } = options;
  const served = servedMedium(medium, options);
  const { info, order, policy, refusal } = served;
  const pages = cachedPages(fd, !medium.readOnly);

  const isBlocked = (sector: number, count: number, writes: boolean): boolean =>
    !order.isIdle && order.isBlocked(sector, count, writes);

  /** Whether the page that a sector lies in needs no reading from the medium. */
  const isPageReady = (sector: number): boolean => {
    if (pages.addressOf(sector, 1) !== 0) return true;
    const offsetBytes = Math.floor(sector / PAGE_SECTORS) * PAGE_BYTES;
    // Filesystems that cannot tell are those in memory and on networks, which read nothing for the sake of a write.
    return readCached(fd, probe.address, 1, offsetBytes) !== -EAGAIN || isHole(fd, offsetBytes, PAGE_BYTES);
  };

  /** Whether a write needs no medium: one that covers a page in part has to have the rest of it in memory first. */
  const isQuickWrite = (sector: number, count: number): boolean => {
    const last = sector + count - 1;
    const startsPage = sector % PAGE_SECTORS === 0;
    const endsPage = last % PAGE_SECTORS === PAGE_SECTORS - 1;
    if (!startsPage && !isPageReady(sector)) return false;
    if (endsPage) return true;
    const isSamePage = Math.floor(sector / PAGE_SECTORS) === Math.floor(last / PAGE_SECTORS);
    return (isSamePage && !startsPage) || isPageReady(last);
  };

  const writeNow = (sector: number, count: number, source: Memory, at: number): StorageStatus => {
    const lengthBytes = count * SECTOR_BYTES;
    for (let doneBytes = 0; doneBytes < lengthBytes;) {
      const address = source.address + at + doneBytes;
      const written = writeAt(fd, address, lengthBytes - doneBytes, sector * SECTOR_BYTES + doneBytes);
      if (written <= 0) return mediumError(path, "write", sector, count, -written, report);
      doneBytes += written;
    }
    // The next write to a part of such a page need not ask.
    if ((sector | count) % PAGE_SECTORS !== 0) pages.found(sector, count);
    return OK;
  };

  const tryWrite = (sector: number, count: number, source: Memory, at: number): StorageStatus => {
    const refused = refusal(sector, count, true);
    if (refused !== OK) return refused;
    if (policy.waits || isBlocked(sector, count, true) || !isQuickWrite(sector, count)) return LATER;
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
    const refused = refusal(sector, count, true);
    if (refused !== OK) {
      tell(completion, refused);
      return;
    }
    if (!isBlocked(sector, count, true) && isQuickWrite(sector, count)) {
      served.endWrite(writeNow(sector, count, source, at), durable, completion);
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
  };

  const checkOpen = (sector: number, count: number): void => {
    // A descriptor that was closed may be another file's by now.
    if (refusal(sector, count, false) !== OK) throw new Error(`${path} was closed, or is shorter than it was`);
  };

  const lend = (sector: number, count: number): number => {
    if (refusal(sector, count, false) !== OK || isBlocked(sector, count, false)) return 0;
    return pages.addressOf(sector, count);
  };

  const tryRead = (sector: number, count: number, target: Memory, at: number): StorageStatus => {
    const refused = refusal(sector, count, false);
    if (refused !== OK) return refused;
    if (isBlocked(sector, count, false)) return LATER;
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

  const read = (sector: number, count: number, target: Memory, at: number, completion: Completion): void => {
    const refused = refusal(sector, count, false);
    if (refused !== OK) {
      tell(completion, refused);
      return;
    }
    const request: OrderedRequest = {
      sector,
      count,
      writes: false,
      start: () =>
        transfer(medium, "read", sector, count, target, at, report, (status) => {
          order.finish(request);
          completion.complete(status);
        }),
    };
    order.begin(request);
  };

  return {
    info,
    get failure() {
      return served.failure;
    },
    lend,
    tryRead,
    read,
    tryWrite,
    write,
    flush: (completion) => policy.commit(completion),
    ...mediumChanges(medium, served, report),
    async extents(sector, count, most) {
      checkOpen(sector, count);
      return dataExtents(fd, sector, count, most);
    },
    onResize: served.onResize,
    allocatedBytes: () => (medium.kind === "file" ? fstatSync(fd).blocks * 512 : info.sectorCount * SECTOR_BYTES),
    grow: served.grow,
    close: () => served.close(() => pages.close()),
  };
}
