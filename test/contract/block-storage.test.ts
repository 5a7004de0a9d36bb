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
import { attachLoop, missingForLoops } from "../support/loop-device.ts";
import { dropCached } from "../support/page-cache.ts";
import { writeStatus } from "../support/storage-requests.ts";
import {
  describeReadOnlyStorage,
  describeWritableStorage,
  SECTOR_COUNT,
  type Implementation,
  type StorageUnderTest,
} from "./block-storage.ts";

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
): Promise<StorageUnderTest> {
  let storage = open();
  return {
    storage,
    evict: () => dropCached(path),
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
