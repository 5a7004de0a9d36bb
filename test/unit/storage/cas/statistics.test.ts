import { afterEach, beforeEach, expect, test } from "bun:test";
import { createMemoryStore } from "../../../../src/blob/memory-store.ts";
import type { BlobStore } from "../../../../src/blob/blob-store.ts";
import type { Archive } from "../../../../src/storage/cas/archive.ts";
import { blockOf, openTestArchive, openTestVolume, stateDisk, writeBlock } from "../../../support/archive-store.ts";
import { reasonOf } from "../../../support/reason-of.ts";

const BLOCK_BYTES = 4096;
let isFull: boolean;
let archive: Archive;

beforeEach(async () => {
  isFull = false;
  const memory = createMemoryStore();
  const blobs: BlobStore = {
    ...memory,
    put: (name, bytes) => (isFull ? Promise.reject(new Error("the store is full")) : memory.put(name, bytes)),
  };
  archive = await openTestArchive(blobs, await stateDisk());
});
afterEach(() => archive.close());

test("a checkpoint that the store does not take is told with its reason until the next one succeeds", async () => {
  const disk = await openTestVolume(archive, "e1.0", 100);
  await writeBlock(disk, 1, blockOf(1));
  isFull = true;
  expect(await reasonOf(archive.checkpoint())).toContain("the store is full");
  const { checkpoint, volumes } = archive.statistics();
  expect(checkpoint).toMatchObject({ completed: 0, failed: 1, failure: { message: "the store is full" } });
  expect(volumes[0]).toMatchObject({ dirtyBlocks: 1, writtenBytes: BLOCK_BYTES });
  isFull = false;
  await archive.checkpoint();
  expect(archive.statistics().checkpoint).toMatchObject({ completed: 1, failed: 1, failure: undefined });
  expect(archive.statistics().volumes[0]).toMatchObject({ dirtyBlocks: 0, logicalBytes: BLOCK_BYTES });
});

test("a checkpoint that has nothing to do is not counted", async () => {
  await openTestVolume(archive, "e1.0", 100);
  await archive.checkpoint();
  const { completed } = archive.statistics().checkpoint;
  await archive.checkpoint();
  expect(archive.statistics().checkpoint.completed).toBe(completed);
});

test("what came into the store with a volume is counted across snapshots, and once for what it shares", async () => {
  const disk = await openTestVolume(archive, "e1.0", 100);
  await writeBlock(disk, 1, blockOf(1));
  await archive.createSnapshot("e1.0", "one");
  await writeBlock(disk, 2, blockOf(2));
  await archive.createSnapshot("e1.0", "two");
  await writeBlock(disk, 3, blockOf(1));
  await archive.checkpoint();
  const { volumes, newBytes } = archive.statistics();
  expect(volumes[0]!.uniqueBytes).toBe(newBytes);
  expect(volumes[0]).toMatchObject({
    writtenBytes: 3 * BLOCK_BYTES,
    logicalBytes: 3 * BLOCK_BYTES,
    snapshots: 2,
    snapshotLogicalBytes: 3 * BLOCK_BYTES,
  });
});

test("the newest snapshots are listed, oldest first, and all are counted", async () => {
  await openTestVolume(archive, "e1.0", 100);
  for (let number = 0; number < 15; number++) await archive.createSnapshot("e1.0", String(number));
  const [volume] = archive.statistics().volumes;
  expect(volume?.snapshots).toBe(15);
  expect(volume?.recentSnapshots.map(({ description }) => description)).toEqual(
    Array.from({ length: 12 }, (_, at) => String(at + 3)),
  );
});
