import { allocateMemory, freeMemory } from "../../../ffi/memory.ts";
import { BlobStoreError, type BlobStore } from "../../blob/blob-store.ts";
import type { Hasher } from "../../base/hash.ts";
import { PackDirectory, parseDirectory, parseFooter, type PackDamage } from "./pack-directory.ts";
import { ENTRY_BYTES, FOOTER_BYTES, packBlobName } from "./pack-format.ts";
import type { ParsedPack } from "./pack.ts";

/** Enough for the directory of a pack of 16 MiB in blocks of 4 KiB that compress to three quarters. */
const TAIL_BYTES = 5461 * ENTRY_BYTES + FOOTER_BYTES;

/**
 * Reads what a pack holds from its end, without reading the pack: one read where the directory is not unusually large,
 * else two. Rejects with the store's BlobStoreError; what is read twice, the second time past what is cached on the way,
 * and is no directory is told as damage.
 */
export async function readPackDirectory(
  store: BlobStore,
  name: Uint8Array,
  hasher: Hasher,
  signal?: AbortSignal,
): Promise<ParsedPack | PackDamage> {
  const blobName = packBlobName(name);
  const first = await readOnce(store, blobName, hasher, signal);
  if (!("reason" in first)) return first;
  await store.forgetCached(blobName, signal);
  return readOnce(store, blobName, hasher, signal);
}

async function readOnce(
  store: BlobStore,
  blobName: string,
  hasher: Hasher,
  signal: AbortSignal | undefined,
): Promise<ParsedPack | PackDamage> {
  const packBytes = await store.size(blobName, signal);
  let tailBytes = Math.min(packBytes, TAIL_BYTES);
  let tail: Uint8Array;
  try {
    tail = await readRange(store, blobName, packBytes - tailBytes, tailBytes, signal);
  } catch (error) {
    if (!(error instanceof BlobStoreError) || error.failure !== "unavailable") throw error;
    // Blocks before the directory may lie on a bad sector, which is no reason to lose the others.
    tailBytes = Math.min(packBytes, FOOTER_BYTES);
    tail = await readRange(store, blobName, packBytes - tailBytes, tailBytes, signal);
  }
  const footer = parseFooter(tail, packBytes);
  if ("reason" in footer) return footer;
  const { directoryBytes, directoryOffsetBytes } = footer;
  const inTailAt = tailBytes - FOOTER_BYTES - directoryBytes;
  const bytes =
    inTailAt >= 0
      ? tail.slice(inTailAt, inTailAt + directoryBytes)
      : await readRange(store, blobName, directoryOffsetBytes, directoryBytes, signal);
  const directory = parseDirectory(bytes, footer, hasher);
  return directory instanceof PackDirectory ? { footer, directory } : directory;
}

async function readRange(
  store: BlobStore,
  blobName: string,
  offsetBytes: number,
  lengthBytes: number,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  if (lengthBytes === 0) return new Uint8Array();
  const memory = allocateMemory(lengthBytes);
  try {
    await store.get(blobName, offsetBytes, lengthBytes, memory, 0, signal);
    return memory.bytes.slice(0, lengthBytes);
  } finally {
    freeMemory(memory);
  }
}
