/** Packs of blocks that are not there: names and hashes made from numbers, as evenly spread as real hashes. */
import type { PackEntries } from "../../src/storage/cas/index/block-index.ts";

/** A pack of 16 MiB has this many blocks of 4 KiB. */
export const PACK_BLOCKS = 4096;
const HASH_BYTES = 32;

/** The last step of MurmurHash3: every bit of the result depends on every bit of `value`. */
function mixed(value: number): number {
  let bits = Math.imul(value ^ (value >>> 16), 0x85eb_ca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2_ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}

/** Writes the hash of block `number` at byte `at`: the 64 bits that the index looks at, the rest zero. */
export function writeHash(view: DataView, at: number, number: number): void {
  const low = mixed(number + 0x9e37_79b9);
  // Not one to one as `mixed` alone is, so that first halves coincide as often as those of hashes do.
  view.setUint32(at, mixed(low + Math.imul(number, 0x01b8_73c5)));
  view.setUint32(at + 4, low);
}

/** Returns what makes the pack with a number. Its hashes are valid until the next one is made. */
export function createPackMaker(): (number: number) => PackEntries {
  const hashes = new Uint8Array(PACK_BLOCKS * HASH_BYTES);
  const view = new DataView(hashes.buffer);
  return (number) => {
    for (let i = 0; i < PACK_BLOCKS; i++) writeHash(view, i * HASH_BYTES, number * PACK_BLOCKS + i);
    const name = new Uint8Array(HASH_BYTES);
    new DataView(name.buffer).setUint32(0, number);
    return { name, hashes, plainBytes: (hashes.length / 32) * 4096 };
  };
}
