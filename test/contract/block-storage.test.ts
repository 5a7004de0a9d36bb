/** Every storage runs the one contract. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OK, SECTOR_BYTES } from "../../src/storage/block-storage.ts";
import { directStorage } from "../../src/storage/file/direct-storage.ts";
import { fileStorage, type FileStorage } from "../../src/storage/file/file-storage.ts";
import { openDevice, openFile } from "../../src/storage/file/medium.ts";
import { memoryStorage } from "../../src/storage/memory-storage.ts";
import type { SyncMode } from "../../src/storage/sync-policy.ts";
import { ARCHIVE_VOLUME, archiveDisk } from "../support/archive-disk.ts";
import { attachLoop, missingForLoops } from "../support/loop-device.ts";
import { dropCached } from "../support/page-cache.ts";
import { writeStatus } from "../support/storage-requests.ts";
import { describeReadOnlyStorage, describeWritableStorage } from "./block-storage.ts";
import { SECTOR_COUNT, type Implementation, type StorageUnderTest } from "./storage-under-test.ts";

const report = (_key: string, message: string): void => console.log(message);

describeWritableStorage({
  name: "a disk in memory",
  missing: undefined,
  open: async (content) => {
    const storage = memoryStorage(SECTOR_COUNT);
    if ((await writeStatus(storage, 0, content)) !== OK) throw new Error("the content cannot be written");
    return { storage, [Symbol.asyncDispose]: () => storage.close() };
  },
});

const SYNC_MODES: readonly SyncMode[] = [{ kind: "always" }, { kind: "interval", intervalMs: 20 }, { kind: "none" }];

/** A disk in a file or on a device, which is opened by `open` as often as the test likes. */
async function onMedium(
  path: string,
  open: () => FileStorage,
  grow: (storage: FileStorage, sectorCount: number) => Promise<void>,
  dispose: () => Promise<void>,
  frees = false,
): Promise<StorageUnderTest> {
  let storage = open();
  return {
    storage,
    evict: () => dropCached(path),
    frees,
    grow: (sectorCount) => grow(storage, sectorCount),
    reopen: async () => {
      storage = open();
      return storage;
    },
    [Symbol.asyncDispose]: async () => {
      await storage.close();
      await dispose();
    },
  };
}

const inFile = (sync: SyncMode, readOnly: boolean): Implementation => ({
  name: readOnly ? "a disk in a file, read-only" : `a disk in a file, sync ${sync.kind}`,
  missing: undefined,
  open: (content) => {
    const directory = mkdtempSync(join(tmpdir(), "voe-contract-"));
    const path = join(directory, "disk.img");
    writeFileSync(path, content);
    return onMedium(
      path,
      () => fileStorage(openFile(path, undefined, readOnly), { sync, report }),
      (storage, sectorCount) => storage.grow(sectorCount * SECTOR_BYTES),
      () => Promise.resolve(rmSync(directory, { recursive: true })),
      true,
    );
  },
});

for (const sync of SYNC_MODES) describeWritableStorage(inFile(sync, false));
describeReadOnlyStorage(inFile({ kind: "always" }, true));

const onDevice = (sync: SyncMode, direct: boolean, readOnly: boolean): Implementation => ({
  name: `a device${direct ? ", direct" : ""}, ${readOnly ? "read-only" : `sync ${sync.kind}`}`,
  missing: missingForLoops(),
  open: (content) => {
    const loop = attachLoop(content);
    return onMedium(
      loop.device,
      () => (direct ? directStorage : fileStorage)(openDevice(loop.device, readOnly, direct), { sync, report }),
      async (storage, sectorCount) => {
        loop.resize(sectorCount * SECTOR_BYTES);
        await storage.grow(undefined);
      },
      async () => {
        await loop[Symbol.asyncDispose]();
      },
    );
  },
});

for (const direct of [false, true]) {
  for (const sync of SYNC_MODES) describeWritableStorage(onDevice(sync, direct, false));
  describeReadOnlyStorage(onDevice({ kind: "always" }, direct, true));
}

interface ArchiveCase {
  readonly sync: SyncMode;
  readonly blockBytes: number;
  readonly cacheBytes: number;
  /** Where the content is when the test begins. */
  readonly content: "journal" | "packs";
  readonly packs: "files" | "memory";
}

const EXTENT_BYTES = 65536;
const ARCHIVES: readonly ArchiveCase[] = [
  { sync: { kind: "always" }, blockBytes: 4096, cacheBytes: EXTENT_BYTES, content: "journal", packs: "memory" },
  {
    sync: { kind: "interval", intervalMs: 20 },
    blockBytes: 2048,
    cacheBytes: 64 * EXTENT_BYTES,
    content: "packs",
    packs: "files",
  },
  { sync: { kind: "none" }, blockBytes: 65536, cacheBytes: 3 * EXTENT_BYTES, content: "packs", packs: "memory" },
];

const inArchive = ({ sync, blockBytes, cacheBytes, content: place, packs }: ArchiveCase): Implementation => ({
  name: `a volume of an archive, blocks of ${blockBytes} bytes in the ${place}, sync ${sync.kind}`,
  missing: undefined,
  open: async (content) => {
    const opened = await archiveDisk(packs, cacheBytes, { blockBytes, sizeBytes: content.length, sync });
    if ((await writeStatus(opened.disk, 0, content)) !== OK) throw new Error("the content cannot be written");
    if (place === "packs") await opened.reopen();
    return {
      storage: opened.disk,
      evict: () => opened.evict(),
      frees: true,
      checkpoint: () => opened.archive.checkpoint(),
      grow: (sectorCount) => opened.archive.grow(ARCHIVE_VOLUME, sectorCount * SECTOR_BYTES),
      reopen: async () => {
        await opened.reopen();
        return opened.disk;
      },
      [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
    };
  },
});

for (const archive of ARCHIVES) describeWritableStorage(inArchive(archive));

describeReadOnlyStorage({
  name: "a snapshot of an archive",
  missing: undefined,
  open: async (content) => {
    const sync: SyncMode = { kind: "none" };
    const opened = await archiveDisk("memory", 4 * EXTENT_BYTES, { blockBytes: 4096, sizeBytes: content.length, sync });
    if ((await writeStatus(opened.disk, 0, content)) !== OK) throw new Error("the content cannot be written");
    const { id } = await opened.archive.createSnapshot(ARCHIVE_VOLUME, "");
    if ((await writeStatus(opened.disk, 0, new Uint8Array(content.length))) !== OK)
      throw new Error("the volume cannot be written");
    await opened.reopen();
    const storage = await opened.archive.openRoot(ARCHIVE_VOLUME, id);
    return {
      storage,
      evict: () => opened.evict(),
      [Symbol.asyncDispose]: async () => {
        await storage.close();
        await opened[Symbol.asyncDispose]();
      },
    };
  },
});
