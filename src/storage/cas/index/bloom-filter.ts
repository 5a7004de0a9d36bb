/**
 * A Bloom filter that answers "this hash is not in the run" from one cache line: 64-byte lines of 512 bits, one line a
 * hash, six bits in it. With 16 bits of filter an entry about one absent hash in 800 is thought to be present (12 bits:
 * one in 230; 10 bits: one in 105), and there are up to a dozen runs to ask, each error being a page read.
 *
 * The line is chosen by the leading bits of the hash, which are what runs are sorted by: the filter of a run is filled
 * from front to back while the run is written.
 */
const LINE_WORDS = 16;
const LINE_BITS = 512;
const BITS_PER_ENTRY = 16;

export interface BloomFilter {
  /** The lines, one behind the other, and how many there are. */
  readonly words: Uint32Array;
  readonly lineCount: number;
}

export const FILTER_LINE_BYTES = LINE_WORDS * 4;

export const createFilter = (entryCount: number): BloomFilter =>
  filterOf(new Uint32Array(Math.max(1, Math.ceil((entryCount * BITS_PER_ENTRY) / LINE_BITS)) * LINE_WORDS));

/** A filter over words that were read. */
export const filterOf = (words: Uint32Array): BloomFilter => ({ words, lineCount: words.length / LINE_WORDS });

/** First word of the line of a hash. */
const lineOf = ({ lineCount }: BloomFilter, high: number): number =>
  Math.floor((high * lineCount) / 2 ** 32) * LINE_WORDS;

/** The second half of the bits of a hash, whose first half is `low` itself: its bits mixed (Murmur3's multiplier). */
const mixed = (low: number): number => {
  const product = Math.imul(low ^ (low >>> 15), 0x85eb_ca6b);
  return product ^ (product >>> 13);
};

// Six times nine bits: the upper four of nine choose the word, and a shift takes the lower five of its count.
export function addToFilter(filter: BloomFilter, high: number, low: number): void {
  const { words } = filter;
  const line = lineOf(filter, high);
  const more = mixed(low);
  words[line + ((low >>> 5) & 15)]! |= 1 << (low & 31);
  words[line + ((low >>> 14) & 15)]! |= 1 << ((low >>> 9) & 31);
  words[line + ((low >>> 23) & 15)]! |= 1 << ((low >>> 18) & 31);
  words[line + ((more >>> 5) & 15)]! |= 1 << (more & 31);
  words[line + ((more >>> 14) & 15)]! |= 1 << ((more >>> 9) & 31);
  words[line + ((more >>> 23) & 15)]! |= 1 << ((more >>> 18) & 31);
}

/** False: the hash was never added. */
export function mayContain(filter: BloomFilter, high: number, low: number): boolean {
  const { words } = filter;
  const line = lineOf(filter, high);
  if (((words[line + ((low >>> 5) & 15)]! >>> (low & 31)) & 1) === 0) return false;
  if (((words[line + ((low >>> 14) & 15)]! >>> ((low >>> 9) & 31)) & 1) === 0) return false;
  if (((words[line + ((low >>> 23) & 15)]! >>> ((low >>> 18) & 31)) & 1) === 0) return false;
  const more = mixed(low);
  return (
    ((words[line + ((more >>> 5) & 15)]! >>> (more & 31)) & 1) !== 0 &&
    ((words[line + ((more >>> 14) & 15)]! >>> ((more >>> 9) & 31)) & 1) !== 0 &&
    ((words[line + ((more >>> 23) & 15)]! >>> ((more >>> 18) & 31)) & 1) !== 0
  );
}
