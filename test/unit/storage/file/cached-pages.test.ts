import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SECTOR_BYTES } from "../../../../src/storage/block-storage.ts";
import { cachedPages, PAGE_BYTES, type CachedPages } from "../../../../src/storage/file/cached-pages.ts";
import { dropCached } from "../../../support/page-cache.ts";
import { copyLent } from "../../../support/storage-requests.ts";
import { makeSectors } from "../../../support/versioned-sectors.ts";

const WINDOW_SECTORS = 2 ** 30 / SECTOR_BYTES;
/** A page of sectors. */
const PAGE = PAGE_BYTES / SECTOR_BYTES;

let directory: string;
let path: string;
let fd: number;
let pages: CachedPages;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "voe-pages-"));
  path = join(directory, "disk.img");
  fd = openSync(path, "w+");
  // Sparse: two windows and a little, with data at the start and around the border between the windows.
  ftruncateSync(fd, 2 ** 31 + 2 ** 20);
  writeSync(fd, makeSectors(0, 64, 1), 0, 64 * SECTOR_BYTES, 0);
  const border = WINDOW_SECTORS - 16;
  writeSync(fd, makeSectors(border, 32, 1), 0, 32 * SECTOR_BYTES, border * SECTOR_BYTES);
  pages = cachedPages(fd, false);
});
afterEach(() => {
  pages.close();
  closeSync(fd);
  rmSync(directory, { recursive: true });
});

const expectSectors = (sector: number, count: number): void => {
  const address = pages.addressOf(sector, count);
  expect(address).not.toBe(0);
  expect(copyLent(address, count * SECTOR_BYTES)).toEqual(makeSectors(sector, count, 1));
};

describe("pages that a read has found", () => {
  test("have an address, and those around them have none", () => {
    expect(pages.addressOf(8, 1)).toBe(0);
    pages.found(8, 16);
    expectSectors(8, 16);
    expectSectors(23, 1);
    for (const [sector, count] of [
      [7, 1],
      [24, 1],
      [7, 2],
      [23, 2],
      [0, 64],
    ] as const) {
      expect([sector, count, pages.addressOf(sector, count)]).toEqual([sector, count, 0]);
    }
  });

  test("are whole pages, since the kernel keeps whole pages", () => {
    pages.found(13, 1);
    expectSectors(8, PAGE);
    expect(pages.addressOf(16, 1)).toBe(0);
  });

  test("that were found one by one have one address together", () => {
    for (const sector of [16, 32, 24, 8]) pages.found(sector, PAGE);
    expectSectors(10, 29);
  });

  test("have no common address across the end of a window, and each its own", () => {
    pages.found(WINDOW_SECTORS - 16, 16);
    pages.found(WINDOW_SECTORS, 16);
    expectSectors(WINDOW_SECTORS - 3, 3);
    expectSectors(WINDOW_SECTORS, 3);
    expect(pages.addressOf(WINDOW_SECTORS - 3, 6)).toBe(0);
  });

  test("found across the end of a window at once are not taken for known", () => {
    pages.found(WINDOW_SECTORS - 8, 16);
    expect(pages.addressOf(WINDOW_SECTORS - 8, 16)).toBe(0);
  });

  test("of one window are not taken for those of another", () => {
    pages.found(0, 8);
    expect(pages.addressOf(WINDOW_SECTORS, 8)).toBe(0);
    expect(pages.addressOf(2 * WINDOW_SECTORS, 8)).toBe(0);
    expectSectors(0, 8);
  });

  test("are forgotten when it is closed", () => {
    pages.found(0, 8);
    pages.close();
    expect(pages.addressOf(0, 8)).toBe(0);
  });
});

test("where the kernel tells, pages in memory are known without a read, and those that are not are not", () => {
  const telling = cachedPages(fd, true);
  dropCached(path);
  try {
    // A look goes over 2 MiB at a time, once: one page is found, the others are as the kernel says.
    telling.found(0, 8);
    expect(telling.addressOf(32, 8)).toBe(0);
    const far = WINDOW_SECTORS - 16;
    writeSync(fd, makeSectors(far, 16, 1), 0, 16 * SECTOR_BYTES, far * SECTOR_BYTES);
    const address = telling.addressOf(far, 16);
    expect(address).not.toBe(0);
    expect(copyLent(address, 16 * SECTOR_BYTES)).toEqual(makeSectors(far, 16, 1));
  } finally {
    telling.close();
  }
});

test("more windows than may be mapped are read by other means", () => {
  ftruncateSync(fd, 70 * 2 ** 30);
  for (let index = 0; index < 70; index++) pages.found(index * WINDOW_SECTORS, 8);
  const known = Array.from({ length: 70 }, (_, index) => pages.addressOf(index * WINDOW_SECTORS, 8) !== 0);
  expect(known.filter(Boolean).length).toBe(64);
  expectSectors(0, 8);
});
