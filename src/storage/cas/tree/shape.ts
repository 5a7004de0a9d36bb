/**
 * The shape of a volume's tree (docs/format.md, "Archive tree"). Level 0 are the blocks of the volume, a node of level
 * 1 holds the hashes of 128 blocks, a node of level n those of 128 nodes of level n - 1. The root is the one node of
 * level `depthOf(blockCount)`.
 */
export const HASH_BYTES = 32;
/** Hashes in a node. */
export const FANOUT = 128;
export const NODE_BYTES = FANOUT * HASH_BYTES;

/**
 * Hashes are compared and copied as 32-bit words, eight at a time rather than 32 bytes: these views are in the byte
 * order of the host, which does not matter, since nothing ever looks at a word as a number.
 */
export const HASH_WORDS = HASH_BYTES / 4;
export const NODE_WORDS = NODE_BYTES / 4;

/** The most blocks of a volume: sectors are counted up to 2^44 (bytes up to 2^53), and a block is at least a sector. */
export const BLOCK_COUNT_MOST = 2 ** 44;

/** Blocks under a node of this level. */
export const blocksUnder = (level: number): number => FANOUT ** level;

/** The level of the root of a volume with this many blocks: at least 1, and 7 at the most. Throws RangeError. */
export function depthOf(blockCount: number): number {
  if (!Number.isInteger(blockCount) || blockCount < 1 || blockCount > BLOCK_COUNT_MOST) {
    throw new RangeError(
      `a volume of ${blockCount} blocks: the number must be an integer from 1 to ${BLOCK_COUNT_MOST}`,
    );
  }
  let depth = 1;
  while (blocksUnder(depth) < blockCount) depth++;
  return depth;
}

/** Which of the 128 slots of a node of this level (1 and up) leads to the block. */
export const slotOf = (block: number, level: number): number =>
  // Shifts take the lower 32 bits, which hold four whole digits of base 128.
  level <= 4
    ? (block >>> (7 * (level - 1))) & (FANOUT - 1)
    : (Math.floor(block / 2 ** 28) >>> (7 * (level - 5))) & (FANOUT - 1);

/** Whether the eight words from `at` on are zero: nothing was ever written there, or it was discarded. */
export const isHole = (words: Int32Array, at: number): boolean =>
  (words[at]! |
    words[at + 1]! |
    words[at + 2]! |
    words[at + 3]! |
    words[at + 4]! |
    words[at + 5]! |
    words[at + 6]! |
    words[at + 7]!) ===
  0;

export const isSameHash = (a: Int32Array, atA: number, b: Int32Array, atB: number): boolean => {
  for (let i = 0; i < HASH_WORDS; i++) if (a[atA + i] !== b[atB + i]) return false;
  return true;
};

export const copyHash = (from: Int32Array, at: number, to: Int32Array, toAt: number): void => {
  for (let i = 0; i < HASH_WORDS; i++) to[toAt + i] = from[at + i]!;
};

/** Whether a node holds nothing but holes, in which case it is a hole itself and never stored. */
export function isEmptyNode(words: Int32Array): boolean {
  for (let at = 0; at < NODE_WORDS; at++) if (words[at] !== 0) return false;
  return true;
}

/** The bytes of a hash among words, copied. */
export const hashBytes = (words: Int32Array, at: number): Uint8Array =>
  new Uint8Array(words.slice(at, at + HASH_WORDS).buffer);

/** Bytes as words: a view where they are aligned, else a copy. The length must be a multiple of 4. */
export const asWords = (bytes: Uint8Array): Int32Array =>
  bytes.byteOffset % 4 === 0
    ? new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)
    : new Int32Array(bytes.slice().buffer);

/** A root hash as words, copied. Throws RangeError where it is none. */
export function rootWords(root: Uint8Array): Int32Array {
  if (root.length !== HASH_BYTES)
    throw new RangeError(`a root hash of ${root.length} bytes; it must have ${HASH_BYTES}`);
  return asWords(root.slice());
}
