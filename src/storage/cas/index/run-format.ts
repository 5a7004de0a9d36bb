/**
 * The bytes of a run: pages of entries, the Bloom filter, the fences (first word of every page's first entry), a footer
 * of 128 bytes at the very end. `docs/format.md` has the tables. All numbers are little-endian, as are the hosts that
 * Bun runs on, so 32-bit words are read and written in place.
 */
import { crc32 } from "node:zlib";
import { FILTER_LINE_BYTES } from "./bloom-filter.ts";
import { ENTRY_BYTES, ENTRY_WORDS } from "./entry.ts";

export const PAGE_BYTES = 4096;
export const PAGE_WORDS = PAGE_BYTES / 4;
/** Checksum, number of the page, first and last flush of the run: a page is bound to its place. */
export const PAGE_HEADER_WORDS = 4;
export const PAGE_ENTRIES = (PAGE_BYTES - PAGE_HEADER_WORDS * 4) / ENTRY_BYTES;
export const FOOTER_BYTES = 128;

const FOOTER_WORDS = FOOTER_BYTES / 4;
/** "voeindex" */
const MAGIC = [0x6965_6f76, 0x7865_646e] as const;
const VERSION = 1;

/** Which flushes of the memtable a run holds, numbered from 1. */
export interface FlushRange {
  readonly first: number;
  readonly last: number;
}

export interface RunFooter extends FlushRange {
  readonly entryCount: number;
  readonly pageCount: number;
  readonly filterLineCount: number;
  readonly filterChecksum: number;
  readonly fencesChecksum: number;
  /** Records of the pack table that the run knows of: its pack numbers are below. The chain is that of the last one. */
  readonly packCount: number;
  readonly packChain: number;
  /** All entries of the packs below this number are in this run or in older ones. */
  readonly coveredPackCount: number;
}

/** The index contradicts itself or fails its checksums. It is disposable: it has to be built again from the packs. */
export class IndexDamaged extends Error {
  constructor(what: string, options?: ErrorOptions) {
    super(`the archive's index is damaged: ${what}`, options);
    this.name = "IndexDamaged";
  }
}

/** What is not complete is called otherwise until it is. */
export const TEMPORARY_SUFFIX = ".new";

const eightDigits = (number: number): string => number.toString(16).padStart(8, "0");

export const runName = ({ first, last }: FlushRange): string => `run-${eightDigits(first)}-${eightDigits(last)}`;

/** What a file's name says of a run, or undefined where it is not the name of one. */
export function parseRunName(name: string): FlushRange | undefined {
  const match = /^run-([0-9a-f]{8})-([0-9a-f]{8})$/.exec(name);
  if (!match) return undefined;
  const range = { first: Number.parseInt(match[1]!, 16), last: Number.parseInt(match[2]!, 16) };
  return range.first >= 1 && range.first <= range.last ? range : undefined;
}

export const bytesOf = (words: Uint32Array): Uint8Array =>
  new Uint8Array(words.buffer, words.byteOffset, words.byteLength);

export const pageCountOf = (entryCount: number): number => Math.ceil(entryCount / PAGE_ENTRIES);
export const filterOffset = (pageCount: number): number => pageCount * PAGE_BYTES;
export const fencesOffset = (pageCount: number, filterLineCount: number): number =>
  filterOffset(pageCount) + filterLineCount * FILTER_LINE_BYTES;
export const footerOffset = (pageCount: number, filterLineCount: number): number =>
  fencesOffset(pageCount, filterLineCount) + pageCount * 4;

/** Entries in a page: all are full but the last. */
export const entriesInPage = (entryCount: number, page: number): number =>
  Math.min(PAGE_ENTRIES, entryCount - page * PAGE_ENTRIES);

/** What a page's checksum covers: the bytes behind it. `words` are pages, one of which begins at word `at`. */
export const checkedBytes = (words: Uint32Array, at: number): Uint8Array =>
  new Uint8Array(words.buffer, words.byteOffset + at * 4 + 4, PAGE_BYTES - 4);

/** Writes the header of the page of `words` at word `at`, whose entries are in place and followed by zeros. */
export function sealPage(words: Uint32Array, at: number, page: number, { first, last }: FlushRange): void {
  words[at + 1] = page;
  words[at + 2] = first;
  words[at + 3] = last;
  words[at] = crc32(checkedBytes(words, at));
}

export const pageIsIntact = (
  words: Uint32Array,
  at: number,
  page: number,
  { first, last }: FlushRange,
  checked = checkedBytes(words, at),
): boolean =>
  words[at + 1] === page && words[at + 2] === first && words[at + 3] === last && words[at] === crc32(checked);

/** First word of entry `entry` of the page at word `at`. */
export const entryAt = (at: number, entry: number): number => at + PAGE_HEADER_WORDS + entry * ENTRY_WORDS;

export function encodeFooter(footer: RunFooter): Uint8Array {
  const words = new Uint32Array(FOOTER_WORDS);
  words.set([
    ...MAGIC,
    VERSION,
    footer.first,
    footer.last,
    footer.entryCount % 2 ** 32,
    Math.floor(footer.entryCount / 2 ** 32),
    footer.pageCount,
    footer.filterLineCount,
    footer.filterChecksum,
    footer.fencesChecksum,
    footer.packCount,
    footer.packChain,
    footer.coveredPackCount,
  ]);
  words[FOOTER_WORDS - 1] = crc32(bytesOf(words.subarray(0, -1)));
  return bytesOf(words);
}

/** Reads a footer of the file `name` with `fileBytes` bytes. Throws IndexDamaged with what is wrong with it. */
export function parseFooter(bytes: Uint8Array, name: string, fileBytes: number): RunFooter {
  // A copy, whose words are aligned.
  const words = new Uint32Array(bytes.slice(0, FOOTER_BYTES).buffer);
  const damaged = (what: string): IndexDamaged => new IndexDamaged(`${name} ${what}`);
  if (words[0] !== MAGIC[0] || words[1] !== MAGIC[1]) throw damaged("does not end in a footer");
  if (words[FOOTER_WORDS - 1] !== crc32(bytesOf(words.subarray(0, -1)))) throw damaged("has a footer that was changed");
  if (words[2] !== VERSION) throw damaged(`has version ${words[2]}, and this voe reads version ${VERSION}`);
  const footer: RunFooter = {
    first: words[3]!,
    last: words[4]!,
    entryCount: words[5]! + words[6]! * 2 ** 32,
    pageCount: words[7]!,
    filterLineCount: words[8]!,
    filterChecksum: words[9]!,
    fencesChecksum: words[10]!,
    packCount: words[11]!,
    packChain: words[12]!,
    coveredPackCount: words[13]!,
  };
  if (runName(footer) !== name) throw damaged(`is ${runName(footer)} by its footer`);
  if (footer.pageCount !== pageCountOf(footer.entryCount)) {
    throw damaged(`has ${footer.pageCount} pages for ${footer.entryCount} entries`);
  }
  if (footer.filterLineCount < 1) throw damaged("has no filter");
  if (footer.coveredPackCount > footer.packCount) throw damaged("covers more packs than it knows of");
  const expectedBytes = footerOffset(footer.pageCount, footer.filterLineCount) + FOOTER_BYTES;
  if (fileBytes !== expectedBytes) throw damaged(`has ${fileBytes} bytes instead of ${expectedBytes}`);
  return footer;
}
