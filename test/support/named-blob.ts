import { createHasher, DIGEST_BYTES } from "../../src/base/hash.ts";
import { fillRandom } from "./block-content.ts";
import { seededRandom } from "./seeded-random.ts";

const hasher = createHasher("sha256");

/** The name that bytes have in a blob store. */
export function nameOf(bytes: Uint8Array): string {
  const digest = new Uint8Array(DIGEST_BYTES);
  hasher.hash(bytes, 0, bytes.length, digest, 0);
  return digest.toHex();
}

/** Bytes that a seed determines, and their name. */
export function makeNamedBlob(lengthBytes: number, seed: number): { name: string; bytes: Uint8Array } {
  const bytes = new Uint8Array(lengthBytes);
  fillRandom(seededRandom(seed), bytes);
  return { name: nameOf(bytes), bytes };
}
