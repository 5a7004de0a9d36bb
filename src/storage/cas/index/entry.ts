/**
 * What the index knows of a block: the first 64 bits of its hash, and where it lies. Four 32-bit words, in memory and,
 * little-endian, on disk: bytes 0-3 of the hash and bytes 4-7 of it as big-endian numbers (`high`, `low`), the number
 * of the pack, the place in the pack's directory. Entries are ordered by these words, so by hash first.
 */
export const ENTRY_WORDS = 4;
export const ENTRY_BYTES = 16;

/** Numbers of packs end one before the largest word, since a memtable keeps the number plus one. */
export const MOST_PACKS = 0xffff_fffe;

/** Bytes 0-3 of a hash: what sorts it. */
export const highOf = (hash: Uint8Array, at: number): number =>
  ((hash[at]! << 24) | (hash[at + 1]! << 16) | (hash[at + 2]! << 8) | hash[at + 3]!) >>> 0;

/** Bytes 4-7 of a hash. */
export const lowOf = (hash: Uint8Array, at: number): number => highOf(hash, at + 4);
