/** Brings entries from sorted sources into one new run, in slices that leave the event loop free in between. */
import { ENTRY_WORDS } from "./entry.ts";
import { copyEntries, type Memtable } from "./memtable.ts";
import { readFully, returnSlice, takeSlice, wordsOf, type IndexPlace } from "./run-file.ts";
import { entriesInPage, entryAt, PAGE_BYTES, PAGE_WORDS, pageIsIntact, type FlushRange } from "./run-format.ts";
import {
  abandonRun,
  appendEntry,
  chunkIsFull,
  createRunWriter,
  finishRun,
  writeChunk,
  type Coverage,
  type RunWriter,
} from "./run-writer.ts";
import { pageDamaged, type Run } from "./run.ts";

/** Entries in order, a batch at a time. */
export interface EntrySource {
  readonly entries: Uint32Array;
  /** The next entry of the batch and its end, as words of `entries`. */
  at: number;
  end: number;
  /** Loads the next batch; false at the end. */
  refill(): Promise<boolean>;
  close(): void;
}

const BATCH_ENTRIES = 16_384;

export function memtableSource(table: Memtable): EntrySource {
  const next = { slot: 0 };
  return {
    entries: new Uint32Array(BATCH_ENTRIES * ENTRY_WORDS),
    at: 0,
    end: 0,
    async refill() {
      this.at = 0;
      this.end = copyEntries(table, next.slot, this.entries, next);
      return this.end > 0;
    },
    close() {},
  };
}

/** Its `refill` throws IndexDamaged. */
export function runSource(run: Run): EntrySource {
  const memory = takeSlice();
  const words = wordsOf(memory);
  const mostPages = words.length / PAGE_WORDS;
  let page = 0;
  return {
    entries: words,
    at: 0,
    end: 0,
    async refill() {
      const pages = Math.min(mostPages, run.pageCount - page);
      if (pages === 0) return false;
      await readFully(run.file, memory, pages * PAGE_BYTES, page * PAGE_BYTES);
      this.at = 0;
      this.end = 0;
      for (let i = 0; i < pages; i++, page++) {
        const from = i * PAGE_WORDS;
        if (!pageIsIntact(words, from, page, run)) throw pageDamaged(run, page);
        const count = entriesInPage(run.entryCount, page);
        // The headers are taken out, so that the entries lie one behind the other.
        words.copyWithin(this.end, entryAt(from, 0), entryAt(from, count));
        this.end += count * ENTRY_WORDS;
      }
      return true;
    },
    close: () => returnSlice(memory),
  };
}

/** Whether the entry at `a` of `left` comes before that at `b` of `right`, the first words being equal. */
function isBefore(left: Uint32Array, a: number, right: Uint32Array, b: number): boolean {
  for (let word = 1; word < ENTRY_WORDS; word++) {
    if (left[a + word] !== right[b + word]) return left[a + word]! < right[b + word]!;
  }
  return false;
}

const isSame = (left: Uint32Array, a: number, right: Uint32Array, b: number): boolean =>
  left[a] === right[b] && left[a + 1] === right[b + 1] && left[a + 2] === right[b + 2] && left[a + 3] === right[b + 3];

const CHUNK_FULL = -1;

/** Moves entries until the chunk is full (-1) or a source has no more in memory (its number). */
function mergeSlice(
  writer: RunWriter,
  sources: readonly EntrySource[],
  last: Uint32Array,
  isForgotten: (pack: number) => boolean,
): number {
  while (!chunkIsFull(writer)) {
    let least = 0;
    let { entries, at } = sources[0]!;
    // A dozen sources at most, and usually two: looking at all of them beats keeping a heap.
    for (let i = 1; i < sources.length; i++) {
      const other = sources[i]!;
      const difference = other.entries[other.at]! - entries[at]!;
      if (difference < 0 || (difference === 0 && isBefore(other.entries, other.at, entries, at))) {
        least = i;
        ({ entries, at } = other);
      }
    }
    // A pack that was added twice has left the same entry in two sources.
    if (!isForgotten(entries[at + 2]!) && !isSame(entries, at, last, 0)) {
      appendEntry(writer, entries, at);
      for (let word = 0; word < ENTRY_WORDS; word++) last[word] = entries[at + word]!;
    }
    const source = sources[least]!;
    source.at += ENTRY_WORDS;
    if (source.at === source.end) return least;
  }
  return CHUNK_FULL;
}

/**
 * Writes a run of at most `mostEntries` from the entries of all sources, which it closes. Those of forgotten packs are
 * left out. Rejects with the reason of `signal` soon after that is given, with IndexDamaged, or where writing failed;
 * then nothing has changed.
 */
export async function writeRun(
  place: IndexPlace,
  range: FlushRange,
  sources: readonly EntrySource[],
  mostEntries: number,
  coverage: Coverage,
  isForgotten: (pack: number) => boolean,
  signal: AbortSignal,
): Promise<Run> {
  const writer = createRunWriter(place, range, mostEntries);
  try {
    await mergeInto(writer, sources, isForgotten, signal);
    return await finishRun(writer, coverage);
  } catch (error) {
    await abandonRun(writer);
    throw error;
  } finally {
    for (const source of sources) source.close();
  }
}

async function mergeInto(
  writer: RunWriter,
  from: readonly EntrySource[],
  isForgotten: (pack: number) => boolean,
  signal: AbortSignal,
): Promise<void> {
  const sources: EntrySource[] = [];
  for (const source of from) if (await source.refill()) sources.push(source);
  // No entry has this pack number.
  const last = new Uint32Array(ENTRY_WORDS).fill(0xffff_ffff);
  while (sources.length > 0) {
    signal.throwIfAborted();
    const stopped = mergeSlice(writer, sources, last, isForgotten);
    if (stopped === CHUNK_FULL) await writeChunk(writer);
    else if (!(await sources[stopped]!.refill())) sources.splice(stopped, 1);
  }
}
