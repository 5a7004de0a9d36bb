/** Reading packs: whole ones, and single blocks out of them. What is read is not trusted until its hash was found right. */
import type { Compression } from "../../base/compression.ts";
import { DIGEST_BYTES, digestsEqual, type Hasher } from "../../base/hash.ts";
import type { Memory } from "../../base/memory.ts";
import { parseDirectory, parseFooter, type PackDamage, type PackDirectory, type PackFooter } from "./pack-directory.ts";
import { ENCODING_PLAIN, FOOTER_BYTES } from "./pack-format.ts";

export interface ParsedPack {
  readonly footer: PackFooter;
  readonly directory: PackDirectory;
}

/**
 * Validates the footer and directory of a whole pack, of which the result is a view. Never throws on what the bytes
 * hold. The blocks are verified one by one, by `readEntry`.
 */
export function parsePack(bytes: Uint8Array, hasher: Hasher): ParsedPack | PackDamage {
  const footer = parseFooter(bytes, bytes.length);
  if ("reason" in footer) return footer;
  const directoryEnd = bytes.length - FOOTER_BYTES;
  const directory = parseDirectory(bytes.subarray(footer.directoryOffsetBytes, directoryEnd), footer, hasher);
  return "reason" in directory ? directory : { footer, directory };
}

/** Whether these are the bytes of the pack with this name (a digest of 32 bytes): nothing in it has changed. */
export function matchesName(bytes: Uint8Array, name: Uint8Array, hasher: Hasher): boolean {
  const digest = new Uint8Array(DIGEST_BYTES);
  hasher.hash(bytes, 0, bytes.length, digest, 0);
  return digestsEqual(digest, 0, name, 0);
}

/** How reading a block ended. */
export type EntryStatus = "verified" | "undecodable" | "mismatch";

const digest = new Uint8Array(DIGEST_BYTES);

/**
 * Decodes an entry, whose stored bytes are at byte `at` of `source`, into `target`, and verifies it against its hash.
 * `undecodable`: its bytes are no LZ4 of the right length. `mismatch`: they are not the block that was written. Then
 * the target's range is wiped, so that what is wrong cannot be taken for a block.
 */
export function readEntry(
  directory: PackDirectory,
  entry: number,
  source: Memory,
  at: number,
  target: Memory,
  targetAt: number,
  hasher: Hasher,
  compression: Compression,
): EntryStatus {
  const storedBytes = directory.storedBytes(entry);
  const plainBytes = directory.plainBytes(entry);
  let status: EntryStatus = "verified";
  if (directory.encoding(entry) === ENCODING_PLAIN) {
    if (at + storedBytes > source.lengthBytes || targetAt + plainBytes > target.lengthBytes) {
      throw new RangeError(`entry ${entry} of ${storedBytes} bytes is not inside the memory it was read into`);
    }
    // It may have been read to its place.
    if (source !== target || at !== targetAt) target.bytes.set(source.bytes.subarray(at, at + storedBytes), targetAt);
  } else if (!compression.decompress(source, at, storedBytes, target, targetAt, plainBytes)) {
    status = "undecodable";
  }
  if (status === "verified") {
    hasher.hash(target.bytes, targetAt, plainBytes, digest, 0);
    if (!directory.holds(entry, digest, 0)) status = "mismatch";
  }
  if (status !== "verified") target.bytes.fill(0, targetAt, targetAt + plainBytes);
  return status;
}
