/** Archives over stores in memory, filled with blocks that are known, whose packs can be damaged at will. */
import { allocateMemory, freeMemory } from "../../ffi/memory.ts";
import { createCompression } from "../../src/base/compression.ts";
import { createHasher, DIGEST_BYTES } from "../../src/base/hash.ts";
import type { BlobStore } from "../../src/blob/blob-store.ts";
import type { MemoryStoreContents } from "../../src/blob/memory-store.ts";
import { LATER, OK, type BlockStorage, type StorageStatus } from "../../src/storage/block-storage.ts";
import { openArchive, type Archive, type ArchiveOptions } from "../../src/storage/cas/archive.ts";
import type { PackDirectory, PackFooter } from "../../src/storage/cas/pack-directory.ts";
import { KIND_NODE } from "../../src/storage/cas/pack-format.ts";
import { parsePack, readEntry } from "../../src/storage/cas/pack.ts";
import type { Disk } from "../../src/storage/cas/disk.ts";
import { SimulatedDisk } from "../simulation/simulated-disk.ts";
import { fillRandom } from "./block-content.ts";
import { inMemory } from "./packed-blocks.ts";
import { seededRandom } from "./seeded-random.ts";

export const BLOCK_BYTES = 4096;
export const BLOCK_SECTORS = 8;
const STATE = "/state";

export const hasher = createHasher("blake3");
const compression = createCompression();

/** A disk with the state directory of an archive. */
export async function stateDisk(): Promise<SimulatedDisk> {
  const disk = new SimulatedDisk(seededRandom(5));
  disk.makeDirectory(STATE);
  await disk.syncDirectory("/");
  return disk;
}

/** An archive of BLAKE3 and packs of 128 KiB, which are about 30 random blocks. */
export function openTestArchive(blobs: BlobStore, disk: Disk, more: Partial<ArchiveOptions> = {}): Promise<Archive> {
  const random = seededRandom(6);
  let nowMs = 1_700_000_000_000;
  return openArchive({
    disk,
    stateDirectory: STATE,
    blobs,
    hasher,
    compression,
    compresses: true,
    nodeCacheBytes: 1 << 20,
    cacheBytes: 1 << 20,
    journalCheckpointBytes: Number.POSITIVE_INFINITY,
    journalLimitBytes: 64 << 20,
    packBytes: 128 << 10,
    firmware: "1",
    // No two times are the same: every moment is a second.
    nowMs: () => (nowMs += 1000),
    random: (bytes) => fillRandom(random, bytes),
    report: () => {},
    ...more,
  });
}

export const openTestVolume = (archive: Archive, name: string, blockCount: number): Promise<BlockStorage> =>
  archive.openVolume({
    name,
    blockBytes: BLOCK_BYTES,
    sizeBytes: blockCount * BLOCK_BYTES,
    readOnly: false,
    sync: { kind: "none" },
  });

/** The bytes of a block that a seed determines. */
export function blockOf(seed: number): Uint8Array {
  const bytes = new Uint8Array(BLOCK_BYTES);
  fillRandom(seededRandom(seed), bytes);
  return bytes;
}

export function hashOf(bytes: Uint8Array): Uint8Array {
  const digest = new Uint8Array(DIGEST_BYTES);
  hasher.hash(bytes, 0, bytes.length, digest, 0);
  return digest;
}

/** Writes a block; throws where the volume does not take it. */
export async function writeBlock(volume: BlockStorage, block: number, bytes: Uint8Array): Promise<void> {
  const memory = allocateMemory(BLOCK_BYTES);
  try {
    memory.bytes.set(bytes);
    const sector = block * BLOCK_SECTORS;
    let status = volume.tryWrite(sector, BLOCK_SECTORS, memory, 0);
    if (status === LATER) {
      status = await new Promise<StorageStatus>((resolve) => {
        volume.write(sector, BLOCK_SECTORS, memory, 0, false, { complete: resolve });
      });
    }
    if (status !== OK) throw new Error(`writing block ${block} ended with status ${status}`);
  } finally {
    freeMemory(memory);
  }
}

export interface FoundEntry {
  readonly pack: string;
  readonly entry: number;
  readonly directory: PackDirectory;
  readonly footer: PackFooter;
}

/** All entries of all packs of a store that are intact. */
export function entriesOf({ blobs }: MemoryStoreContents): FoundEntry[] {
  return [...blobs].flatMap(([pack, bytes]) => {
    const parsed = parsePack(bytes, hasher);
    if ("reason" in parsed) throw new Error(parsed.reason);
    const { directory, footer } = parsed;
    return Array.from({ length: directory.entryCount }, (_, entry) => ({ pack, entry, directory, footer }));
  });
}

/** Where a block is; throws where it is nowhere. */
export function findEntry(contents: MemoryStoreContents, hash: Uint8Array): FoundEntry {
  const found = entriesOf(contents).find(({ directory, entry }) => directory.holds(entry, hash, 0));
  if (found === undefined) throw new Error(`no pack has ${hash.toHex()}`);
  return found;
}

/** Entries that were written as tree nodes. */
export const nodesOf = (contents: MemoryStoreContents): FoundEntry[] =>
  entriesOf(contents).filter(({ directory, entry }) => directory.kind(entry) === KIND_NODE);

/** Changes one byte of a pack, in a copy that takes its place. */
export function flip({ blobs }: MemoryStoreContents, pack: string, at: number): void {
  const bytes = blobs.get(pack)!.slice();
  bytes[at]! ^= 0x40;
  blobs.set(pack, bytes);
}

/** The plain bytes of an entry, whether it was compressed or not. */
export function plainBytesOf({ blobs }: MemoryStoreContents, pack: string, entry: number): Uint8Array {
  const bytes = blobs.get(pack)!;
  const parsed = parsePack(bytes, hasher);
  if ("reason" in parsed) throw new Error(parsed.reason);
  const { directory } = parsed;
  const source = inMemory(bytes);
  const target = allocateMemory(directory.plainBytes(entry));
  try {
    const at = directory.offsetBytes(entry);
    const status = readEntry(directory, entry, source, at, target, 0, hasher, compression);
    if (status !== "verified") throw new Error(`entry ${entry} of pack ${pack} is damaged: ${status}`);
    return target.bytes.slice(0, directory.plainBytes(entry));
  } finally {
    freeMemory(source);
    freeMemory(target);
  }
}
