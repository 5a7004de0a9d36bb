/** Records that could not be published, or of which that is not known: what comes after them is right all the same. */
import { beforeEach, expect, test } from "bun:test";
import { allocatedMemoryBytes } from "../../../../ffi/memory.ts";
import { BlobStoreError, type BlobStore } from "../../../../src/blob/blob-store.ts";
import { createMemoryStore, emptyContents, type MemoryStoreContents } from "../../../../src/blob/memory-store.ts";
import { OK, type BlockStorage } from "../../../../src/storage/block-storage.ts";
import { parseRootRecord, type RootRecord } from "../../../../src/storage/cas/root-record.ts";
import {
  blockOf,
  BLOCK_SECTORS,
  openTestArchive,
  openTestVolume,
  stateDisk,
  writeBlock,
} from "../../../support/archive-store.ts";
import { reasonOf } from "../../../support/reason-of.ts";
import { discardStatus, readSectors } from "../../../support/storage-requests.ts";

let contents: MemoryStoreContents;
let failing: "before" | "after" | undefined;

beforeEach(() => {
  contents = emptyContents();
  failing = undefined;
});

/** Fails to create roots: before they are there, or after. */
function failingStore(): BlobStore {
  const store = createMemoryStore(contents);
  return {
    ...store,
    async createRef(name, bytes) {
      const fails = name.startsWith("roots/") ? failing : undefined;
      if (fails === "before") throw new BlobStoreError("unavailable", "the store is away");
      const outcome = await store.createRef(name, bytes);
      if (fails === "after") throw new BlobStoreError("unavailable", "the answer was lost");
      return outcome;
    },
  };
}

function newest(): RootRecord {
  const name = [...contents.refs.keys()]
    .filter((ref) => ref.startsWith("roots/"))
    .toSorted()
    .at(-1)!;
  const parsed = parseRootRecord(contents.refs.get(name)!);
  if ("reason" in parsed) throw new Error(parsed.reason);
  return parsed.record;
}

const isBlock = async (disk: BlockStorage, block: number, seed: number): Promise<boolean> =>
  Buffer.compare(await readSectors(disk, block * BLOCK_SECTORS, BLOCK_SECTORS), blockOf(seed)) === 0;

for (const when of ["before", "after"] as const) {
  test(`a checkpoint after one that failed ${when} its record was there brings everything into the store`, async () => {
    const archive = await openTestArchive(failingStore(), await stateDisk());
    const volume = await openTestVolume(archive, "v", 64);
    await writeBlock(volume, 0, blockOf(1));
    failing = when;
    expect(await reasonOf(archive.checkpoint())).not.toBe("");
    failing = undefined;
    await writeBlock(volume, 1, blockOf(2));
    await archive.checkpoint();
    expect(newest().logicalBytes).toBe(2 * 4096);
    expect(archive.statistics().volumes[0]!.dirtyBlocks).toBe(0);
    await archive.close();
  });

  test(`growth that failed ${when} its record was there leaves the volume readable, and can be asked for again`, async () => {
    const disk = await stateDisk();
    const archive = await openTestArchive(failingStore(), disk);
    const volume = await openTestVolume(archive, "v", 64);
    await writeBlock(volume, 0, blockOf(1));
    await archive.checkpoint();
    failing = when;
    // The tree has one level more then.
    expect(await reasonOf(archive.grow("v", 1000 * 4096))).not.toBe("");
    failing = undefined;
    expect(volume.info.sectorCount).toBe(64 * BLOCK_SECTORS);
    const { id } = await archive.createSnapshot("v", "");
    await writeBlock(volume, 1, blockOf(2));
    await archive.checkpoint();
    expect(await isBlock(await archive.openRoot("v", id), 0, 1)).toBe(true);
    expect(await isBlock(await archive.openRoot("v"), 1, 2)).toBe(true);
    await archive.grow("v", 1000 * 4096);
    expect(volume.info.sectorCount).toBe(1000 * BLOCK_SECTORS);
    await archive.close();
    const again = await openTestArchive(failingStore(), disk);
    const reopened = await openTestVolume(again, "v", 1000);
    expect(await isBlock(reopened, 0, 1)).toBe(true);
    expect(await isBlock(reopened, 1, 2)).toBe(true);
    await again.close();
  });
}

test("growth after a checkpoint that failed counts what is in its tree, so that it can be discarded again", async () => {
  const archive = await openTestArchive(failingStore(), await stateDisk());
  const volume = await openTestVolume(archive, "v", 640);
  for (let block = 0; block < 10; block++) await writeBlock(volume, block * 64, blockOf(block));
  failing = "before";
  expect(await reasonOf(archive.checkpoint())).not.toBe("");
  failing = undefined;
  await archive.grow("v", 1000 * 4096);
  expect(newest().logicalBytes).toBe(10 * 4096);
  await archive.checkpoint();
  expect(newest().logicalBytes).toBe(10 * 4096);
  expect(await discardStatus(volume, 0, volume.info.sectorCount)).toBe(OK);
  await archive.checkpoint();
  expect(newest().logicalBytes).toBe(0);
  await archive.close();
});

test("a restore whose answer was lost is undone at once: a crash does not bring it about later", async () => {
  const disk = await stateDisk();
  const archive = await openTestArchive(failingStore(), disk);
  const volume = await openTestVolume(archive, "v", 64);
  await writeBlock(volume, 0, blockOf(1));
  const { id } = await archive.createSnapshot("v", "");
  await writeBlock(volume, 0, blockOf(2));
  await archive.checkpoint();
  const { root } = newest();
  let losing = true;
  const original = contents.refs.set.bind(contents.refs);
  contents.refs.set = (name, bytes) => {
    original(name, bytes);
    // That of the restore itself, and not of the snapshot before it.
    if (losing && name.startsWith("roots/") && newest().kind === "checkpoint") {
      losing = false;
      throw new BlobStoreError("unavailable", "the answer was lost");
    }
    return contents.refs;
  };
  expect(await reasonOf(archive.restore("v", id))).toContain("the answer was lost");
  expect(newest().root).toBe(root);
  expect(await isBlock(volume, 0, 2)).toBe(true);
  await archive.close();
});

test("a store whose requests may arrive late has each volume published anew at the start", async () => {
  const disk = await stateDisk();
  const first = await openTestArchive(failingStore(), disk);
  await writeBlock(await openTestVolume(first, "v", 64), 0, blockOf(1));
  await first.close();
  const before = newest();
  const again = await openTestArchive(failingStore(), disk, { lateRequests: true });
  expect(newest()).toEqual({ ...before, sequence: before.sequence + 1, parent: newest().parent });
  await again.close();
});

test("an archive whose volumes cannot be published at the start does not open, and lets go of everything", async () => {
  const disk = await stateDisk();
  const first = await openTestArchive(failingStore(), disk);
  await writeBlock(await openTestVolume(first, "v", 64), 0, blockOf(1));
  await first.close();
  failing = "before";
  const attempt = (): Promise<string> => reasonOf(openTestArchive(failingStore(), disk, { lateRequests: true }));
  expect(await attempt()).toContain("the store is away");
  const before = allocatedMemoryBytes();
  expect(await attempt()).toContain("the store is away");
  expect(allocatedMemoryBytes()).toBe(before);
  failing = undefined;
  const again = await openTestArchive(failingStore(), disk, { lateRequests: true });
  expect(await isBlock(await openTestVolume(again, "v", 64), 0, 1)).toBe(true);
  await again.close();
});
