/** Writes a run from entries that come in order: under a temporary name first, so that a half-written one is no run. */
import { join } from "node:path";
import type { Memory } from "../../../base/memory.ts";
import { addToFilter, createFilter, type BloomFilter } from "./bloom-filter.ts";
import { ENTRY_WORDS } from "./entry.ts";
import {
  closeFile,
  removeIfThere,
  returnSlice,
  syncWritten,
  takeSlice,
  wordsOf,
  writeBytes,
  writeSlice,
  writtenFile,
  type IndexPlace,
  type WrittenFile,
} from "./run-file.ts";
import {
  bytesOf,
  encodeFooter,
  entryAt,
  fencesOffset,
  filterOffset,
  FOOTER_BYTES,
  footerOffset,
  PAGE_BYTES,
  PAGE_ENTRIES,
  PAGE_WORDS,
  pageCountOf,
  parseFooter,
  runName,
  sealPage,
  TEMPORARY_SUFFIX,
  type FlushRange,
  type RunFooter,
} from "./run-format.ts";
import { runOf, type Run } from "./run.ts";

export interface RunWriter {
  readonly place: IndexPlace;
  readonly range: FlushRange;
  readonly written: WrittenFile;
  readonly filter: BloomFilter;
  readonly fences: Uint32Array;
  /** Pages that are being filled; the next entry goes to word `at`. */
  readonly chunk: Memory;
  readonly words: Uint32Array;
  at: number;
  entryCount: number;
}

/** Which packs a run tells of: see `RunFooter`. */
export type Coverage = Pick<RunFooter, "packCount" | "packChain" | "coveredPackCount">;

/** Begins a run of at most `mostEntries`. */
export function createRunWriter(place: IndexPlace, range: FlushRange, mostEntries: number): RunWriter {
  const path = join(place.directory, runName(range) + TEMPORARY_SUFFIX);
  removeIfThere(place.disk, path);
  const file = place.disk.create(path);
  const chunk = takeSlice();
  return {
    place,
    range,
    written: writtenFile(place, file),
    filter: createFilter(mostEntries),
    fences: new Uint32Array(pageCountOf(mostEntries)),
    chunk,
    words: wordsOf(chunk),
    at: entryAt(0, 0),
    entryCount: 0,
  };
}

/** Whether `writeChunk` has to be called before the next entry. */
export const chunkIsFull = (writer: RunWriter): boolean => writer.at >= writer.words.length;

/** Adds the entry at word `from` of `entries`, which is the next in order. */
export function appendEntry(writer: RunWriter, entries: Uint32Array, from: number): void {
  const { words, at } = writer;
  const high = entries[from]!;
  const low = entries[from + 1]!;
  words[at] = high;
  words[at + 1] = low;
  words[at + 2] = entries[from + 2]!;
  words[at + 3] = entries[from + 3]!;
  addToFilter(writer.filter, high, low);
  if (at % PAGE_WORDS === entryAt(0, 0)) writer.fences[writer.entryCount / PAGE_ENTRIES] = high;
  writer.entryCount += 1;
  // Pages are full to the last word, so behind one lies the header of the next.
  const end = at + ENTRY_WORDS;
  writer.at = end % PAGE_WORDS === 0 ? entryAt(end, 0) : end;
}

/** Writes the pages that have entries. All but the last chunk must be full. */
export async function writeChunk(writer: RunWriter): Promise<void> {
  const { words, range, entryCount } = writer;
  const chunkPages = words.length / PAGE_WORDS;
  const firstPage = Math.floor((entryCount - 1) / (PAGE_ENTRIES * chunkPages)) * chunkPages;
  const pages = pageCountOf(entryCount) - firstPage;
  for (let i = 0; i < pages; i++) sealPage(words, i * PAGE_WORDS, firstPage + i, range);
  await writeSlice(writer.written, writer.chunk, pages * PAGE_BYTES, firstPage * PAGE_BYTES);
  writer.at = entryAt(0, 0);
}

/** Completes the run, durably and under its own name. */
export async function finishRun(writer: RunWriter, coverage: Coverage): Promise<Run> {
  const { place, written, entryCount, filter, range, words } = writer;
  if (writer.at > entryAt(0, 0)) {
    words.fill(0, writer.at);
    await writeChunk(writer);
  }
  const pageCount = pageCountOf(entryCount);
  // Entries of forgotten packs were left out, so there may be fewer pages than was thought.
  const fences = writer.fences.length === pageCount ? writer.fences : writer.fences.slice(0, pageCount);
  const filterLineCount = filter.lineCount;
  const footer: RunFooter = {
    ...range,
    entryCount,
    pageCount,
    filterLineCount,
    filterChecksum: await writeBytes(written, bytesOf(filter.words), filterOffset(pageCount)),
    fencesChecksum: await writeBytes(written, bytesOf(fences), fencesOffset(pageCount, filterLineCount)),
    packCount: coverage.packCount,
    packChain: coverage.packChain,
    coveredPackCount: coverage.coveredPackCount,
  };
  const name = runName(range);
  const footerAt = footerOffset(pageCount, filterLineCount);
  const bytes = encodeFooter(footer);
  parseFooter(bytes, name, footerAt + FOOTER_BYTES);
  await writeBytes(written, bytes, footerAt);
  await syncWritten(written);
  const path = join(place.directory, name);
  place.disk.rename(path + TEMPORARY_SUFFIX, path);
  await place.disk.syncDirectory(place.directory);
  returnSlice(writer.chunk);
  return runOf(footer, written.file, filter, fences);
}

/** Gives up a run that could not be completed, or whose name could not be made durable. */
export async function abandonRun({ chunk, place, range, written }: RunWriter): Promise<void> {
  returnSlice(chunk);
  await written.syncing.catch(() => {});
  closeFile(written.file);
  const path = join(place.directory, runName(range));
  try {
    removeIfThere(place.disk, path + TEMPORARY_SUFFIX);
    removeIfThere(place.disk, path);
  } catch {
    // What led here is told. A half-written run is no run, and a whole one that stays says what is true.
  }
}
