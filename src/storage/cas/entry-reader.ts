/**
 * Single blocks of packs whose directory is not in memory. Of the directory only the block's own entry is read, which
 * nothing vouches for: what it says is believed once the block's bytes were read and have the hash.
 */
import { allocateMemory, freeMemory } from "../../../ffi/memory.ts";
import type { Compression } from "../../base/compression.ts";
import type { Hasher } from "../../base/hash.ts";
import type { Memory } from "../../base/memory.ts";
import type { BlobStore } from "../../blob/blob-store.ts";
import { invalidLengths, PackDirectory, parseFooter } from "./pack-directory.ts";
import { BLOCK_MOST_BYTES, ENTRY_BYTES, FOOTER_BYTES, packBlobName } from "./pack-format.ts";
import { readEntry } from "./pack.ts";

export interface EntryReaderOptions {
  readonly blobs: BlobStore;
  readonly hasher: Hasher;
  readonly compression: Compression;
  readonly packName: (number: number) => Uint8Array;
}

export interface EntryReader {
  /**
   * Reads the block with this hash into `target`, if the entry `ordinal` of a pack is that block, of this length and
   * intact: else false, and the target's content means nothing. Rejects with the store's BlobStoreError.
   */
  read(
    number: number,
    ordinal: number,
    hash: Uint8Array,
    hashAt: number,
    lengthBytes: number,
    target: Memory,
    at: number,
  ): Promise<boolean>;
}

export function createEntryReader({ blobs, hasher, compression, packName }: EntryReaderOptions): EntryReader {
  /** Where the directories of packs begin: tens of bytes for each pack that was asked for. */
  const directoryOffsets = new Map<number, number>();

  const directoryOffset = async (number: number, blobName: string, scratch: Memory): Promise<number> => {
    const known = directoryOffsets.get(number);
    if (known !== undefined) return known;
    const packBytes = await blobs.size(blobName);
    if (packBytes < FOOTER_BYTES) return -1;
    await blobs.get(blobName, packBytes - FOOTER_BYTES, FOOTER_BYTES, scratch, 0);
    const footer = parseFooter(scratch.bytes.subarray(0, FOOTER_BYTES), packBytes);
    if ("reason" in footer) return -1;
    directoryOffsets.set(number, footer.directoryOffsetBytes);
    return footer.directoryOffsetBytes;
  };

  return {
    async read(number, ordinal, hash, hashAt, lengthBytes, target, at) {
      const blobName = packBlobName(packName(number));
      const scratch = allocateMemory(BLOCK_MOST_BYTES);
      try {
        const offset = await directoryOffset(number, blobName, scratch);
        if (offset < 0) return false;
        await blobs.get(blobName, offset + ordinal * ENTRY_BYTES, ENTRY_BYTES, scratch, 0);
        const entry = new PackDirectory(scratch.bytes.slice(0, ENTRY_BYTES));
        if (!entry.holds(0, hash, hashAt) || entry.plainBytes(0) !== lengthBytes) return false;
        const entryOffset = entry.offsetBytes(0);
        if (invalidLengths(entry, 0) !== undefined || entryOffset + entry.storedBytes(0) > offset) return false;
        await blobs.get(blobName, entryOffset, entry.storedBytes(0), scratch, 0);
        return readEntry(entry, 0, scratch, 0, target, at, hasher, compression) === "verified";
      } finally {
        freeMemory(scratch);
      }
    },
  };
}
