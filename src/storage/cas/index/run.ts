/**
 * An immutable sorted run of entries on disk. Its filter and its fences are in memory: the filter spares absent hashes a
 * read, the fences say which page to read. (Interpolation alone misses the page in large runs: among 100 million
 * uniform hashes the place of one is off by thousands of entries.)
 */
import { join } from "node:path";
import { allocateMemory } from "../../../../ffi/memory.ts";
import type { DiskFile } from "../disk.ts";
import { filterOf, mayContain, FILTER_LINE_BYTES, type BloomFilter } from "./bloom-filter.ts";
import { ENTRY_WORDS } from "./entry.ts";
import { addPlace, type Places } from "./places.ts";
import { closeFile, readBytes, readFully, returnSlice, takeSlice, wordsOf, type IndexPlace } from "./run-file.ts";
import {
  bytesOf,
  checkedBytes,
  entriesInPage,
  entryAt,
  fencesOffset,
  filterOffset,
  FOOTER_BYTES,
  footerOffset,
  IndexDamaged,
  PAGE_BYTES,
  pageIsIntact,
  parseFooter,
  runName,
  type FlushRange,
  type RunFooter,
} from "./run-format.ts";

export interface Run extends RunFooter {
  readonly name: string;
  readonly file: DiskFile;
  readonly fileBytes: number;
  readonly filter: BloomFilter;
  /** The first word of the first entry of every page. */
  readonly fences: Uint32Array;
  /** Lookups that wait for a page of it. */
  readerCount: number;
  /** Replaced by a merged run: its file is closed when nobody reads it any more. */
  retired: boolean;
}

const scratch = allocateMemory(PAGE_BYTES);
const scratchWords = wordsOf(scratch);
// Made once: two views made for every page would take longer than the checksum (70 ns).
const scratchChecked = checkedBytes(scratchWords, 0);

/** Opens a run, with its filter and fences read and checked. Throws IndexDamaged where they are not what was written. */
export async function openRun({ disk, directory }: IndexPlace, range: FlushRange): Promise<Run> {
  const name = runName(range);
  const file = disk.open(join(directory, name), true);
  try {
    const fileBytes = file.sizeBytes();
    if (fileBytes < FOOTER_BYTES) throw new IndexDamaged(`${name} ends after ${fileBytes} bytes`);
    const footerBytes = new Uint8Array(FOOTER_BYTES);
    await readBytes(file, footerBytes, fileBytes - FOOTER_BYTES);
    const footer = parseFooter(footerBytes, name, fileBytes);
    const { pageCount, filterLineCount } = footer;
    const filter = new Uint32Array((filterLineCount * FILTER_LINE_BYTES) / 4);
    if ((await readBytes(file, bytesOf(filter), filterOffset(pageCount))) !== footer.filterChecksum) {
      throw new IndexDamaged(`the filter of ${name} is not what was written`);
    }
    const fences = new Uint32Array(pageCount);
    const fencesAt = fencesOffset(pageCount, filterLineCount);
    if ((await readBytes(file, bytesOf(fences), fencesAt)) !== footer.fencesChecksum) {
      throw new IndexDamaged(`the fences of ${name} are not what was written`);
    }
    return runOf(footer, file, filterOf(filter), fences);
  } catch (error) {
    closeFile(file);
    throw error;
  }
}

export const runOf = (footer: RunFooter, file: DiskFile, filter: BloomFilter, fences: Uint32Array): Run => ({
  ...footer,
  name: runName(footer),
  file,
  fileBytes: footerOffset(footer.pageCount, footer.filterLineCount) + FOOTER_BYTES,
  filter,
  fences,
  readerCount: 0,
  retired: false,
});

/**
 * The first page that can hold entries of a hash: the last whose first entry is below it. Hashes are uniform, so the
 * search begins where the hash would lie and widens from there.
 */
function firstPageOf(fences: Uint32Array, high: number): number {
  const guess = Math.floor((high * fences.length) / 2 ** 32);
  // Below `from` all fences are less than `high`; from `to` on all are at least `high`.
  let from = 0;
  let to = fences.length;
  let step = 8;
  if (fences[guess]! < high) {
    for (from = guess + 1; from + step < to; from += step, step *= 2) {
      if (fences[from + step]! >= high) {
        to = from + step;
        break;
      }
    }
  } else {
    for (to = guess; to - step > 0; to -= step, step *= 2) {
      if (fences[to - step]! < high) {
        from = to - step + 1;
        break;
      }
    }
  }
  while (from < to) {
    const middle = (from + to) >>> 1;
    if (fences[middle]! < high) from = middle + 1;
    else to = middle;
  }
  return Math.max(0, from - 1);
}

/** Adds what the page in `words` has for a hash. */
function collect(words: Uint32Array, entryCount: number, high: number, low: number, places: Places): void {
  let from = 0;
  let to = entryCount;
  while (from < to) {
    const middle = (from + to) >>> 1;
    if (words[entryAt(0, middle)]! < high) from = middle + 1;
    else to = middle;
  }
  const end = entryAt(0, entryCount);
  for (let at = entryAt(0, from); at < end && words[at] === high; at += ENTRY_WORDS) {
    if (words[at + 1] === low) addPlace(places, words[at + 2]!, words[at + 3]!);
  }
}

export const mayHold = (run: Run, high: number, low: number): boolean =>
  run.pageCount > 0 && mayContain(run.filter, high, low);

/**
 * Adds the places that the run has for a hash, from the page cache. False: something must be waited for, or a page is
 * damaged; `findInRun` does the one and says the other.
 */
export function tryFindInRun(run: Run, high: number, low: number, places: Places): boolean {
  const { fences, pageCount } = run;
  let page = firstPageOf(fences, high);
  do {
    if (run.file.tryRead(scratch, 0, PAGE_BYTES, page * PAGE_BYTES) !== PAGE_BYTES) return false;
    if (!pageIsIntact(scratchWords, 0, page, run, scratchChecked)) return false;
    collect(scratchWords, entriesInPage(run.entryCount, page), high, low, places);
    page += 1;
  } while (page < pageCount && fences[page]! <= high);
  return true;
}

/** Adds the places that the run has for a hash. Throws IndexDamaged. */
export async function findInRun(run: Run, high: number, low: number, places: Places): Promise<void> {
  const { fences, pageCount } = run;
  const memory = takeSlice();
  try {
    const words = wordsOf(memory);
    let page = firstPageOf(fences, high);
    do {
      await readFully(run.file, memory, PAGE_BYTES, page * PAGE_BYTES);
      if (!pageIsIntact(words, 0, page, run)) throw pageDamaged(run, page);
      collect(words, entriesInPage(run.entryCount, page), high, low, places);
      page += 1;
    } while (page < pageCount && fences[page]! <= high);
  } finally {
    returnSlice(memory);
  }
}

export const pageDamaged = (run: Run, page: number): IndexDamaged =>
  new IndexDamaged(`page ${page} of ${run.name} is not what was written (byte ${page * PAGE_BYTES})`);

/** Closes a run that is not used for further lookups, once those under way are done. */
export function retireRun(run: Run): void {
  run.retired = true;
  if (run.readerCount === 0) closeFile(run.file);
}

export function releaseRun(run: Run): void {
  run.readerCount -= 1;
  if (run.retired && run.readerCount === 0) closeFile(run.file);
}
