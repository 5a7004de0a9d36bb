import { DIGEST_BYTES, digestsEqual, type HashAlgorithm, type Hasher } from "../../base/hash.ts";
import {
  algorithmOfCode,
  BLOCK_MOST_BYTES,
  codeOfAlgorithm,
  ENCODING_LZ4,
  ENCODING_PLAIN,
  ENTRY,
  ENTRY_BYTES,
  FOOTER,
  FOOTER_BYTES,
  KIND_DATA,
  KIND_NODE,
  PACK_MAGIC,
  PACK_MOST_BYTES,
  PACK_VERSION,
  type BlockKind,
} from "./pack-format.ts";

/** What the footer of a pack says, validated. */
export interface PackFooter {
  readonly algorithm: HashAlgorithm;
  readonly entryCount: number;
  readonly directoryOffsetBytes: number;
  readonly directoryBytes: number;
  /** Digest of the directory, 32 bytes. */
  readonly directoryHash: Uint8Array;
  /** Size of the whole pack. */
  readonly packBytes: number;
}

/** Why bytes are no intact pack, for the log. */
export interface PackDamage {
  readonly reason: string;
}

const damage = (reason: string): PackDamage => ({ reason });

/**
 * The entries of a pack, validated: they lie back to back from the pack's first byte to its directory. Entries are
 * numbered from 0 in the order in which they lie. Numbers that are out of range are a mistake of the caller.
 */
export class PackDirectory {
  readonly entryCount: number;
  readonly #view: DataView;

  /** @param bytes the directory alone, which must not change afterwards. */
  constructor(readonly bytes: Uint8Array) {
    this.entryCount = bytes.length / ENTRY_BYTES;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Whether this entry is the block with the digest at byte `at` of `digest`. */
  holds(entry: number, digest: Uint8Array, at: number): boolean {
    return digestsEqual(this.bytes, entry * ENTRY_BYTES + ENTRY.hash, digest, at);
  }

  /** A view of the entry's digest. */
  hashOf(entry: number): Uint8Array {
    return this.bytes.subarray(entry * ENTRY_BYTES, entry * ENTRY_BYTES + DIGEST_BYTES);
  }

  /** All digests, 32 bytes each, in order: what the index takes in. */
  hashes(): Uint8Array {
    const hashes = new Uint8Array(this.entryCount * DIGEST_BYTES);
    for (let entry = 0; entry < this.entryCount; entry++) hashes.set(this.hashOf(entry), entry * DIGEST_BYTES);
    return hashes;
  }

  /** Bytes of all entries as stored: where in the pack the directory begins. */
  get dataBytes(): number {
    return this.offsetBytes(this.entryCount - 1) + this.storedBytes(this.entryCount - 1);
  }

  /** Bytes of all blocks before compression. */
  plainTotalBytes(): number {
    let total = 0;
    for (let entry = 0; entry < this.entryCount; entry++) total += this.plainBytes(entry);
    return total;
  }

  /** Where in the pack the entry's stored bytes begin. */
  offsetBytes(entry: number): number {
    return this.#view.getUint32(entry * ENTRY_BYTES + ENTRY.offset, true);
  }

  storedBytes(entry: number): number {
    return this.#view.getUint32(entry * ENTRY_BYTES + ENTRY.storedLength, true);
  }

  plainBytes(entry: number): number {
    return this.#view.getUint32(entry * ENTRY_BYTES + ENTRY.plainLength, true);
  }

  encoding(entry: number): number {
    return this.bytes[entry * ENTRY_BYTES + ENTRY.encoding]!;
  }

  kind(entry: number): BlockKind {
    return this.bytes[entry * ENTRY_BYTES + ENTRY.kind] as BlockKind;
  }
}

/** Writes a footer of FOOTER_BYTES at byte `at`. */
export function encodeFooter(footer: PackFooter, target: Uint8Array, at: number): void {
  const view = new DataView(target.buffer, target.byteOffset + at, FOOTER_BYTES);
  target.fill(0, at, at + FOOTER_BYTES);
  target.set(PACK_MAGIC, at + FOOTER.magic);
  view.setUint16(FOOTER.version, PACK_VERSION, true);
  view.setUint8(FOOTER.hashAlgorithm, codeOfAlgorithm(footer.algorithm));
  view.setUint32(FOOTER.entryCount, footer.entryCount, true);
  view.setUint32(FOOTER.directoryOffset, footer.directoryOffsetBytes, true);
  view.setUint32(FOOTER.directoryLength, footer.directoryBytes, true);
  target.set(footer.directoryHash, at + FOOTER.directoryHash);
}

/**
 * Validates the footer in the last FOOTER_BYTES of `tail`, which is the end of a pack of `packBytes`. Nothing is read
 * besides, so that the lengths it gives may be asked of a store. Never throws.
 */
export function parseFooter(tail: Uint8Array, packBytes: number): PackFooter | PackDamage {
  if (packBytes > PACK_MOST_BYTES) return damage(`${packBytes} bytes are more than any pack has (${PACK_MOST_BYTES})`);
  if (packBytes < FOOTER_BYTES || tail.length < FOOTER_BYTES) return damage(`${packBytes} bytes are no whole footer`);
  const footer = tail.subarray(tail.length - FOOTER_BYTES);
  const view = new DataView(footer.buffer, footer.byteOffset, FOOTER_BYTES);
  if (PACK_MAGIC.some((byte, index) => footer[FOOTER.magic + index] !== byte))
    return damage("it does not end as a pack");
  const version = view.getUint16(FOOTER.version, true);
  if (version !== PACK_VERSION) return damage(`version ${version} is not known (this voe knows ${PACK_VERSION})`);
  const code = view.getUint8(FOOTER.hashAlgorithm);
  const algorithm = algorithmOfCode(code);
  if (algorithm === undefined) return damage(`hash algorithm ${code} is not known`);
  if (footer[FOOTER.reserved] !== 0 || footer.subarray(FOOTER.reserved2, FOOTER.directoryHash).some(Boolean)) {
    return damage("reserved bytes of the footer are not zero");
  }
  const entryCount = view.getUint32(FOOTER.entryCount, true);
  const directoryOffsetBytes = view.getUint32(FOOTER.directoryOffset, true);
  const directoryBytes = view.getUint32(FOOTER.directoryLength, true);
  if (entryCount === 0) return damage("it has no entries");
  if (directoryBytes !== entryCount * ENTRY_BYTES) {
    return damage(`a directory of ${directoryBytes} bytes is not that of ${entryCount} entries`);
  }
  if (directoryOffsetBytes + directoryBytes + FOOTER_BYTES !== packBytes) {
    return damage(`a directory of ${directoryBytes} bytes at ${directoryOffsetBytes} does not end at the footer`);
  }
  const directoryHash = footer.slice(FOOTER.directoryHash, FOOTER.directoryHash + DIGEST_BYTES);
  return { algorithm, entryCount, directoryOffsetBytes, directoryBytes, directoryHash, packBytes };
}

/**
 * Validates the directory that a footer told of. The result refers to `bytes`, which must not change afterwards. Never
 * throws on what `bytes` hold; a length other than the footer's is damage too.
 */
export function parseDirectory(bytes: Uint8Array, footer: PackFooter, hasher: Hasher): PackDirectory | PackDamage {
  if (footer.algorithm !== hasher.algorithm) {
    return damage(`its blocks are named by ${footer.algorithm}, and those of this archive by ${hasher.algorithm}`);
  }
  if (bytes.length !== footer.directoryBytes) {
    return damage(`its directory has ${bytes.length} bytes instead of ${footer.directoryBytes}`);
  }
  const digest = new Uint8Array(DIGEST_BYTES);
  hasher.hash(bytes, 0, bytes.length, digest, 0);
  if (!digestsEqual(digest, 0, footer.directoryHash, 0)) return damage("its directory does not match its hash");

  const directory = new PackDirectory(bytes);
  let endBytes = 0;
  for (let entry = 0; entry < footer.entryCount; entry++) {
    const reason = invalidEntry(directory, entry, endBytes);
    if (reason !== undefined) return damage(`entry ${entry} ${reason}`);
    endBytes += directory.storedBytes(entry);
  }
  if (endBytes !== footer.directoryOffsetBytes) {
    return damage(`its entries end at byte ${endBytes}, and its directory begins at ${footer.directoryOffsetBytes}`);
  }
  return directory;
}

/** What is wrong with an entry that should begin at `offsetBytes`. */
function invalidEntry(directory: PackDirectory, entry: number, offsetBytes: number): string | undefined {
  const kind: number = directory.kind(entry);
  if (directory.offsetBytes(entry) !== offsetBytes) return `is not at byte ${offsetBytes}`;
  const reason = invalidLengths(directory, entry);
  if (reason !== undefined) return reason;
  if (kind !== KIND_DATA && kind !== KIND_NODE) return `is of kind ${kind}, which is not known`;
  const reservedAt = entry * ENTRY_BYTES + ENTRY.reserved;
  if (directory.bytes[reservedAt] !== 0 || directory.bytes[reservedAt + 1] !== 0) return "has reserved bytes set";
  return undefined;
}

/** What is wrong with the lengths and the encoding of an entry, so that it must not be read. */
export function invalidLengths(directory: PackDirectory, entry: number): string | undefined {
  const plainBytes = directory.plainBytes(entry);
  const storedBytes = directory.storedBytes(entry);
  const encoding = directory.encoding(entry);
  if (plainBytes === 0 || plainBytes > BLOCK_MOST_BYTES) return `has a block of ${plainBytes} bytes`;
  if (storedBytes === 0) return "has no stored bytes";
  if (encoding === ENCODING_PLAIN) {
    return storedBytes === plainBytes ? undefined : `stores ${plainBytes} bytes as ${storedBytes} without compression`;
  }
  if (encoding !== ENCODING_LZ4) return `has encoding ${encoding}, which is not known`;
  return storedBytes < plainBytes ? undefined : `is compressed from ${plainBytes} bytes to ${storedBytes}`;
}
