/**
 * Which parts of a file are known to be in the page cache, and at which addresses a system call may copy them from.
 *
 * A read that is answered from here costs no `pread`: the kernel copies from the mapped page cache straight into the
 * outgoing frame. The mapping is never touched by this program itself. A page that turns out to be gone or unreadable
 * is EFAULT in the system call, where it would be SIGBUS here.
 *
 * A page that is not in memory would stop the event loop for as long as the medium takes, so only pages that a read has
 * just found there are lent, and what is known is forgotten every few seconds, since the kernel may have dropped them.
 */
import { mapFile, residentPages, unmap } from "../../../ffi/memory.ts";
import { SECTOR_BYTES } from "../block-storage.ts";

export const PAGE_BYTES = 4096;
const PAGE_SECTORS = PAGE_BYTES / SECTOR_BYTES;
const WINDOW_BYTES = 2 ** 30;
const WINDOW_SECTORS = WINDOW_BYTES / SECTOR_BYTES;
/** Each mapped GiB can cost 2 MiB of page tables that the kernel does not take back: at most 128 MiB of them. */
const MOST_WINDOWS = 64;
const FORGET_AFTER_MS = 10_000;
/**
 * Pages that are looked at together when one of them is not known: 2 MiB take the kernel about as long as four reads.
 * Without it every page had to be found by a read of its own again and again, half of all reads in a short run.
 */
const REGION_PAGES = 512;

interface Window {
  readonly address: number;
  /** A bit a page. */
  readonly known: Int32Array;
  /** A byte a region: whether it was looked at since the last forgetting. */
  readonly looked: Uint8Array;
  used: boolean;
}

export interface CachedPages {
  /** The address of these sectors, or 0 where they are not known to be in the page cache. */
  addressOf(sector: number, count: number): number;
  /** Notes that a read has just found these sectors in the page cache. */
  found(sector: number, count: number): void;
  close(): void;
}

/**
 * `tellsResidency`: the kernel answers honestly which pages are in memory, as it does for a file that this process may
 * write; of others it says that all are (mincore(2), since Linux 5.2).
 */
export function cachedPages(fd: number, tellsResidency: boolean): CachedPages {
  const windows = new Map<number, Window>();
  // The window of the last call: requests come in runs, and a Map costs more than a comparison.
  let lastIndex = -1;
  let last: Window | undefined;

  const forget = setInterval(() => {
    for (const [index, window] of windows) {
      if (window.used) {
        window.known.fill(0);
        window.looked.fill(0);
        window.used = false;
      } else {
        unmap(window.address, WINDOW_BYTES);
        windows.delete(index);
      }
    }
    lastIndex = -1;
  }, FORGET_AFTER_MS);
  forget.unref();

  const windowAt = (index: number): Window | undefined => {
    if (index !== lastIndex) {
      lastIndex = index;
      last = windows.get(index);
    }
    return last;
  };

  const openWindow = (index: number): Window | undefined => {
    if (windows.size >= MOST_WINDOWS) return undefined;
    const address = mapFile(fd, index * WINDOW_BYTES, WINDOW_BYTES);
    if (address === 0) return undefined;
    const pages = WINDOW_BYTES / PAGE_BYTES;
    const window = {
      address,
      known: new Int32Array(pages / 32),
      looked: new Uint8Array(pages / REGION_PAGES),
      used: true,
    };
    windows.set(index, window);
    lastIndex = index;
    last = window;
    return window;
  };

  /** Notes which pages of a region are in memory; false where that was done before. */
  const look = (window: Window, region: number): boolean => {
    if (!tellsResidency || window.looked[region] === 1) return false;
    window.looked[region] = 1;
    const firstPage = region * REGION_PAGES;
    const resident = residentPages(window.address + firstPage * PAGE_BYTES, REGION_PAGES);
    if (resident === undefined) return false;
    for (let i = 0; i < REGION_PAGES; i += 32) {
      let bits = 0;
      for (let bit = 0; bit < 32; bit++) bits |= (resident[i + bit]! & 1) << bit;
      window.known[(firstPage + i) >> 5]! |= bits;
    }
    return true;
  };

  const isKnown = (window: Window, page: number): boolean =>
    (window.known[page >> 5]! & (1 << (page & 31))) !== 0 ||
    (look(window, Math.floor(page / REGION_PAGES)) && (window.known[page >> 5]! & (1 << (page & 31))) !== 0);

  return {
    addressOf(sector, count) {
      const index = Math.floor(sector / WINDOW_SECTORS);
      const window = windowAt(index);
      if (window === undefined) return 0;
      const at = sector - index * WINDOW_SECTORS;
      // Across the end of a window the addresses do not go on.
      if (at + count > WINDOW_SECTORS) return 0;
      const lastPage = Math.floor((at + count - 1) / PAGE_SECTORS);
      for (let page = Math.floor(at / PAGE_SECTORS); page <= lastPage; page++) {
        if (!isKnown(window, page)) return 0;
      }
      window.used = true;
      return window.address + at * SECTOR_BYTES;
    },
    found(sector, count) {
      const index = Math.floor(sector / WINDOW_SECTORS);
      const at = sector - index * WINDOW_SECTORS;
      const window = windowAt(index) ?? openWindow(index);
      if (window === undefined || at + count > WINDOW_SECTORS) return;
      window.used = true;
      const lastPage = Math.floor((at + count - 1) / PAGE_SECTORS);
      for (let page = Math.floor(at / PAGE_SECTORS); page <= lastPage; page++) {
        window.known[page >> 5]! |= 1 << (page & 31);
      }
    },
    close() {
      clearInterval(forget);
      for (const window of windows.values()) unmap(window.address, WINDOW_BYTES);
      windows.clear();
      lastIndex = -1;
      last = undefined;
    },
  };
}
