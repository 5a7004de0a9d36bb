/**
 * The bytes of a pack: entries back to back, a directory of them, a footer. Everything is little-endian. The name of a
 * pack is the digest of the whole file, footer included, so `b3sum` or `sha256sum` tells whether one is intact.
 * docs/format.md, section "Archive packs", says the same in words.
 */
import { strict as assert } from "node:assert";
import { DIGEST_BYTES, type HashAlgorithm } from "../../base/hash.ts";

/** One for each entry, in the order in which the entries lie. */
export const ENTRY = {
  hash: 0,
  offset: 32,
  storedLength: 36,
  plainLength: 40,
  encoding: 44,
  kind: 45,
  reserved: 46,
} as const;
export const ENTRY_BYTES = 48;
assert.equal(ENTRY.offset, ENTRY.hash + DIGEST_BYTES);
assert.equal(ENTRY_BYTES, ENTRY.reserved + 2);

/** The last bytes of the file, at a place that needs no other to be found. */
export const FOOTER = {
  magic: 0,
  version: 8,
  hashAlgorithm: 10,
  reserved: 11,
  entryCount: 12,
  directoryOffset: 16,
  directoryLength: 20,
  reserved2: 24,
  directoryHash: 32,
} as const;
export const FOOTER_BYTES = 64;
assert.equal(FOOTER.directoryHash, FOOTER.reserved2 + 8);
assert.equal(FOOTER_BYTES, FOOTER.directoryHash + DIGEST_BYTES);

/** "voepack" and a byte above 127, so that what treats the file as text is noticed. */
export const PACK_MAGIC = new Uint8Array([0x76, 0x6f, 0x65, 0x70, 0x61, 0x63, 0x6b, 0xff]);
assert.equal(PACK_MAGIC.length, FOOTER.version - FOOTER.magic);
export const PACK_VERSION = 1;

/** How an entry's bytes are stored. */
export const ENCODING_PLAIN = 0;
export const ENCODING_LZ4 = 1;

/** What an entry was written as. The same bytes are one block whatever they were written as, so it is only a hint. */
export const KIND_DATA = 1;
export const KIND_NODE = 2;
export type BlockKind = typeof KIND_DATA | typeof KIND_NODE;

/** The largest block, before compression. */
export const BLOCK_MOST_BYTES = 65536;
/** The largest pack that is written or read, and the size at which a pack is finished unless configured. */
export const PACK_MOST_BYTES = 256 * 2 ** 20;
export const PACK_TARGET_BYTES = 16 * 2 ** 20;
/** The smallest target: one block of the largest size, its directory and the footer fit. */
export const PACK_TARGET_LEAST_BYTES = 2 * BLOCK_MOST_BYTES;
assert.ok(PACK_MOST_BYTES < 2 ** 31);

const ALGORITHM_CODES: Record<HashAlgorithm, number> = { blake3: 1, sha256: 2 };

/** Code of a hash algorithm in the footer. */
export const codeOfAlgorithm = (algorithm: HashAlgorithm): number => ALGORITHM_CODES[algorithm];

/** The algorithm that a code of a footer means, or undefined. */
export const algorithmOfCode = (code: number): HashAlgorithm | undefined =>
  (Object.keys(ALGORITHM_CODES) as HashAlgorithm[]).find((algorithm) => ALGORITHM_CODES[algorithm] === code);

/** What packs take besides the blocks in them, in bytes. */
export const directoryBytesFor = (packCount: number, entryCount: number): number =>
  packCount * FOOTER_BYTES + entryCount * ENTRY_BYTES;

/** The name under which a blob store keeps a pack, from its digest. */
export const packBlobName = (name: Uint8Array): string => name.toHex();
