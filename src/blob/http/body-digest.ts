import { eventLoop } from "../../base/event-loop.ts";

/** At most 0.3 ms for SHA-256 and 0.8 ms for MD5. */
const SLICE_BYTES = 512 * 1024;

/**
 * The digest of a body, which a store checks what it received against. In slices, with turns of the event loop between
 * them: 16 MiB take SHA-256 10 ms. (`crypto.subtle` hashes in a thread, and copies before that: 5 ms in one go.) An
 * aborted signal ends it, with its reason.
 */
export async function bodyDigest(
  algorithm: "sha256" | "md5",
  bytes: Uint8Array,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const hasher = new Bun.CryptoHasher(algorithm);
  for (let at = 0; at < bytes.length; at += SLICE_BYTES) {
    if (at > 0) await eventLoop.turn();
    signal?.throwIfAborted();
    hasher.update(bytes.subarray(at, at + SLICE_BYTES));
  }
  return hasher.digest();
}
