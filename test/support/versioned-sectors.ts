/**
 * Disk content that tells what it is: every sector holds its number and the version of it that was written, and the
 * rest of its bytes follow from the two. A sector that is torn, misplaced or stale is known for what it is.
 */
import { SECTOR_BYTES } from "../../src/storage/block-storage.ts";

/** `count` sectors from `sector` on, all of `version` (1 and up; a sector never written is all zeros, version 0). */
export function makeSectors(sector: number, count: number, version: number): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array((count * SECTOR_BYTES) / 4);
  for (let at = 0; at < words.length; at++) {
    const index = at % 128;
    const number = sector + (at - index) / 128;
    words[at] = index === 0 ? number : index === 1 ? version : Math.imul(number + index, 0x9e3779b1) ^ (version << 8);
  }
  return new Uint8Array(words.buffer);
}

/** The version that one sector's bytes hold. Throws where they are no sector of this number. */
export function versionOf(bytes: Uint8Array, sector: number): number {
  const version = new DataView(bytes.buffer, bytes.byteOffset, SECTOR_BYTES).getUint32(4, true);
  const expected = version === 0 ? new Uint8Array(SECTOR_BYTES) : makeSectors(sector, 1, version);
  if (Buffer.compare(bytes, expected) !== 0) {
    throw new Error(
      `sector ${sector} is torn or foreign: it begins ${Buffer.from(bytes.subarray(0, 32)).toString("hex")}`,
    );
  }
  return version;
}
