/** A volume of an archive in a temporary directory. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createCompression } from "../../src/base/compression.ts";
import { createHasher } from "../../src/base/hash.ts";
import type { BlobStore } from "../../src/blob/blob-store.ts";
import { openFileStore } from "../../src/blob/file-store.ts";
import { createMemoryStore, emptyContents } from "../../src/blob/memory-store.ts";
import { openArchive, type Archive, type ArchiveVolumeOptions } from "../../src/storage/cas/archive.ts";
import { realDisk } from "../../src/storage/cas/real-disk.ts";
import type { VolumeDisk } from "../../src/storage/cas/volume-disk.ts";
import { dropCached } from "./page-cache.ts";

const MIB = 2 ** 20;
export const ARCHIVE_VOLUME = "e1.0";

export interface ArchiveDisk extends AsyncDisposable {
  readonly archive: Archive;
  readonly disk: VolumeDisk;
  /** Closes everything, and opens what was left behind. */
  reopen(): Promise<void>;
  /** Drops what the page cache holds of journal and packs. */
  evict(): void;
}

/** Without what a store is writing, which a thread may rename at any moment. */
const filesBelow = (directory: string): string[] =>
  readdirSync(directory, { recursive: true })
    .filter((name) => !String(name).startsWith("blobs/tmp/"))
    .map((name) => join(directory, String(name)))
    .filter((path) => statSync(path).isFile());

/** `packs`: in files, which takes a sync for each, or in memory. */
export async function archiveDisk(
  packs: "files" | "memory",
  cacheBytes: number,
  volume: Pick<ArchiveVolumeOptions, "blockBytes" | "sizeBytes" | "sync">,
): Promise<ArchiveDisk> {
  const directory = mkdtempSync(join(tmpdir(), "voe-archive-"));
  const stateDirectory = join(directory, "state");
  mkdirSync(stateDirectory);
  const contents = emptyContents();
  let blobs: BlobStore;
  let archive: Archive;
  let disk: VolumeDisk;
  const open = async (): Promise<void> => {
    blobs =
      packs === "files" ? await openFileStore(join(directory, "blobs"), { create: true }) : createMemoryStore(contents);
    archive = await openArchive({
      disk: realDisk,
      stateDirectory,
      blobs,
      hasher: createHasher("blake3"),
      compression: createCompression(),
      compresses: true,
      nodeCacheBytes: MIB,
      cacheBytes,
      journalCheckpointBytes: Number.POSITIVE_INFINITY,
      journalLimitBytes: 64 * MIB,
      journalSegmentBytes: MIB,
      packBytes: MIB,
      firmware: "1",
      nowMs: Date.now,
      random: (bytes) => void crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>),
      report: (_key, message) => console.log(message),
    });
    disk = await archive.openVolume({ name: ARCHIVE_VOLUME, readOnly: false, ...volume });
  };
  const close = async (): Promise<void> => {
    await archive.close();
    await blobs.close();
  };
  await open();
  return {
    get archive() {
      return archive;
    },
    get disk() {
      return disk;
    },
    async reopen() {
      await close();
      await open();
    },
    evict() {
      for (const path of filesBelow(directory)) dropCached(path);
    },
    async [Symbol.asyncDispose]() {
      await close();
      rmSync(directory, { recursive: true });
    },
  };
}
