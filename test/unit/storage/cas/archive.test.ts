import { afterEach, beforeEach, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EAGAIN, EIO } from "../../../../ffi/libc.ts";
import { allocateMemory, freeMemory } from "../../../../ffi/memory.ts";
import type { Memory } from "../../../../src/base/memory.ts";
import type { Disk, DiskFile } from "../../../../src/storage/cas/disk.ts";
import { createCompression } from "../../../../src/base/compression.ts";
import { createHasher } from "../../../../src/base/hash.ts";
import { createMemoryStore, emptyContents } from "../../../../src/blob/memory-store.ts";
import {
  LATER,
  MEDIUM_ERROR,
  OK,
  SECTOR_BYTES,
  type BlockStorage,
  type StorageStatus,
} from "../../../../src/storage/block-storage.ts";
import { parsePack } from "../../../../src/storage/cas/pack.ts";
import { openArchive, type Archive, type ArchiveVolumeOptions } from "../../../../src/storage/cas/archive.ts";
import { realDisk } from "../../../../src/storage/cas/real-disk.ts";
import { reasonOf } from "../../../support/reason-of.ts";

const MIB = 2 ** 20;
let directory: string;
let contents: ReturnType<typeof emptyContents>;
let reports: string[];
let nowMs: number;
let open: Archive[];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "voe-archive-"));
  contents = emptyContents();
  reports = [];
  nowMs = 1_700_000_000_000;
  open = [];
});

afterEach(async () => {
  for (const archive of open) await archive.close();
  await rm(directory, { recursive: true });
});

async function openStore(blobs = createMemoryStore(contents), disk: Disk = realDisk): Promise<Archive> {
  const archive = await openArchive({
    disk,
    stateDirectory: directory,
    blobs,
    hasher: createHasher("sha256"),
    compression: createCompression(),
    compresses: true,
    nodeCacheBytes: MIB,
    cacheBytes: MIB,
    journalCheckpointBytes: Number.POSITIVE_INFINITY,
    journalLimitBytes: 16 * MIB,
    journalSegmentBytes: MIB,
    packBytes: MIB,
    firmware: "1",
    nowMs: () => nowMs++,
    random: (bytes) => void crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>),
    report: (_key, message) => void reports.push(message),
  });
  open.push(archive);
  return archive;
}

async function reopen(archive: Archive): Promise<Archive> {
  open.splice(open.indexOf(archive), 1);
  await archive.close();
  return openStore();
}

const volumeOptions = (name: string, more: Partial<ArchiveVolumeOptions> = {}): ArchiveVolumeOptions => ({
  name,
  blockBytes: 4096,
  sizeBytes: MIB,
  readOnly: false,
  sync: { kind: "none" },
  ...more,
});

const call = (work: (completion: { complete(status: StorageStatus): void }) => void): Promise<StorageStatus> =>
  new Promise((resolve) => work({ complete: resolve }));

/** Fills sectors with a number. */
async function write(disk: BlockStorage, sector: number, count: number, value: number): Promise<void> {
  const memory = allocateMemory(count * SECTOR_BYTES);
  memory.bytes.fill(value);
  const status = await call((completion) => disk.write(sector, count, memory, 0, false, completion));
  freeMemory(memory);
  expect(status).toBe(OK);
}

/** The number that each sector is full of. */
async function read(disk: BlockStorage, sector: number, count: number): Promise<number[]> {
  const memory = allocateMemory(count * SECTOR_BYTES);
  let status = disk.tryRead(sector, count, memory, 0);
  if (status === LATER) status = await call((completion) => disk.read(sector, count, memory, 0, completion));
  const values: number[] = [];
  for (let at = 0; at < count; at++) {
    const bytes = memory.bytes.subarray(at * SECTOR_BYTES, (at + 1) * SECTOR_BYTES);
    expect(bytes.every((byte) => byte === bytes[0])).toBe(true);
    values.push(bytes[0]!);
  }
  freeMemory(memory);
  expect(status).toBe(OK);
  return values;
}

const times = (count: number, value: number): number[] => Array.from({ length: count }, () => value);

test("a volume keeps its content and its snapshots when the store is opened again", async () => {
  let archive = await openStore();
  let disk = await archive.openVolume(volumeOptions("e1.0"));
  await write(disk, 3, 10, 7);
  const snapshot = await archive.createSnapshot("e1.0", "seven");
  await write(disk, 3, 10, 8);
  archive = await reopen(archive);
  disk = await archive.openVolume(volumeOptions("e1.0"));
  expect(await read(disk, 2, 12)).toEqual([0, ...times(10, 8), 0]);
  expect(archive.snapshots("e1.0")).toEqual([snapshot]);
  expect(snapshot).toMatchObject({ volume: "e1.0", description: "seven", sizeBytes: MIB, logicalBytes: 8192 });
  expect(reports).toEqual([]);
});

test("a snapshot holds what was answered before it and nothing after, and can be read beside the volume", async () => {
  const archive = await openStore();
  const disk = await archive.openVolume(volumeOptions("e1.0"));
  await write(disk, 0, 8, 1);
  const making = archive.createSnapshot("e1.0", "");
  const { id } = await making;
  await write(disk, 0, 8, 2);
  const root = await archive.openRoot("e1.0", id.slice(0, 6));
  expect(await read(root, 0, 8)).toEqual(times(8, 1));
  expect(await read(disk, 0, 8)).toEqual(times(8, 2));
  expect(root.info.readOnly).toBe(true);
  expect(await root.extents(0, root.info.sectorCount, 9)).toEqual([
    { sectorCount: 8, isHole: false },
    { sectorCount: root.info.sectorCount - 8, isHole: true },
  ]);
  await root.close();
});

test("a snapshot of an unchanged volume has the same root and adds nothing", async () => {
  const archive = await openStore();
  const disk = await archive.openVolume(volumeOptions("e1.0"));
  await write(disk, 0, 8, 1);
  const first = await archive.createSnapshot("e1.0", "a");
  const second = await archive.createSnapshot("e1.0", "b");
  expect(second.root).toBe(first.root);
  expect(second.id).not.toBe(first.id);
  expect(first.uniqueBytes).toBeGreaterThan(0);
  expect(second.uniqueBytes).toBe(0);
  expect(second.logicalBytes).toBe(4096);
});

test("a restored volume reads as the snapshot, and what it was is a snapshot too", async () => {
  let archive = await openStore();
  let disk = await archive.openVolume(volumeOptions("e1.0"));
  await write(disk, 0, 16, 1);
  const old = await archive.createSnapshot("e1.0", "old");
  await write(disk, 8, 16, 2);
  const { restored, before } = await archive.restore("e1.0", old.id);
  expect(restored).toEqual(old);
  expect(await read(disk, 0, 32)).toEqual([...times(16, 1), ...times(16, 0)]);
  await write(disk, 0, 1, 3);
  archive = await reopen(archive);
  disk = await archive.openVolume(volumeOptions("e1.0"));
  expect(await read(disk, 0, 18)).toEqual([3, ...times(15, 1), 0, 0]);
  await archive.restore("e1.0", before.id);
  expect(await read(disk, 0, 25)).toEqual([...times(8, 1), ...times(16, 2), 0]);
  expect(archive.snapshots("e1.0").map(({ description }) => description)).toEqual([
    "old",
    `before restoring ${old.id}`,
    `before restoring ${before.id}`,
  ]);
});

test("writes that come during a restore take effect after it", async () => {
  const archive = await openStore();
  const disk = await archive.openVolume(volumeOptions("e1.0"));
  await write(disk, 0, 8, 1);
  const { id } = await archive.createSnapshot("e1.0", "");
  await write(disk, 0, 8, 2);
  const restoring = archive.restore("e1.0", id);
  await write(disk, 2, 2, 3);
  await restoring;
  expect(await read(disk, 0, 8)).toEqual([1, 1, 3, 3, 1, 1, 1, 1]);
});

test("a volume that has grown since keeps its size when it is restored", async () => {
  const archive = await openStore();
  const disk = await archive.openVolume(volumeOptions("e1.0", { sizeBytes: 256 * 1024 }));
  await write(disk, 0, 8, 1);
  const { id } = await archive.createSnapshot("e1.0", "");
  let told = 0;
  disk.onResize(() => void (told = disk.info.sectorCount));
  await archive.grow("e1.0", 64 * MIB);
  expect(told).toBe(131072);
  await write(disk, 131071, 1, 5);
  await archive.restore("e1.0", id);
  expect(disk.info.sectorCount).toBe(131072);
  expect(await read(disk, 0, 8)).toEqual(times(8, 1));
  expect(await read(disk, 131071, 1)).toEqual([0]);
});

test("a grown volume keeps its size and content when the store is opened again, though less is asked for", async () => {
  let archive = await openStore();
  let disk = await archive.openVolume(volumeOptions("e1.0", { sizeBytes: 512 * 129 }));
  await write(disk, 127, 2, 1);
  await archive.grow("e1.0", 600 * MIB);
  await write(disk, 1_228_799, 1, 2);
  archive = await reopen(archive);
  disk = await archive.openVolume(volumeOptions("e1.0", { sizeBytes: 512 }));
  expect(disk.info.sectorCount).toBe(1_228_800);
  expect(await read(disk, 126, 4)).toEqual([0, 1, 1, 0]);
  expect(await read(disk, 1_228_798, 2)).toEqual([0, 2]);
});

test("a clone begins as the snapshot and goes its own way", async () => {
  let archive = await openStore();
  let disk = await archive.openVolume(volumeOptions("e1.0"));
  await write(disk, 0, 16, 1);
  const { id } = await archive.createSnapshot("e1.0", "");
  await archive.clone("e1.0", id, "copy");
  let copy = await archive.openVolume(volumeOptions("copy"));
  await write(copy, 0, 8, 2);
  await write(disk, 8, 8, 3);
  archive = await reopen(archive);
  disk = await archive.openVolume(volumeOptions("e1.0"));
  copy = await archive.openVolume(volumeOptions("copy"));
  expect(await read(disk, 0, 16)).toEqual([...times(8, 1), ...times(8, 3)]);
  expect(await read(copy, 0, 16)).toEqual([...times(8, 2), ...times(8, 1)]);
  await expect(archive.clone("e1.0", id, "copy")).rejects.toThrow("has a volume copy already");
});

test("diff names what changed between two snapshots", async () => {
  const archive = await openStore();
  const disk = await archive.openVolume(volumeOptions("e1.0"));
  await write(disk, 0, 64, 1);
  const a = await archive.createSnapshot("e1.0", "");
  await write(disk, 9, 1, 2);
  await write(disk, 32, 16, 2);
  await call((completion) => disk.writeZeroes(56, 8, false, false, completion));
  const b = await archive.createSnapshot("e1.0", "");
  const ranges = await Array.fromAsync(archive.diff("e1.0", a.id, b.id));
  expect(ranges).toEqual([
    { sector: 8, sectorCount: 8 },
    { sector: 32, sectorCount: 16 },
    { sector: 56, sectorCount: 8 },
  ]);
  expect(await Array.fromAsync(archive.diff("e1.0", a.id, a.id))).toEqual([]);
  expect(b.logicalBytes).toBe(a.logicalBytes - 4096);
});

test("volumes of one store share blocks, whatever their block size", async () => {
  const archive = await openStore();
  const small = await archive.openVolume(volumeOptions("small", { blockBytes: 512 }));
  const large = await archive.openVolume(volumeOptions("large", { blockBytes: 65536 }));
  const again = await archive.openVolume(volumeOptions("again", { blockBytes: 512 }));
  for (const disk of [small, large, again]) await write(disk, 5, 250, 9);
  await archive.checkpoint();
  for (const disk of [small, large, again]) expect(await read(disk, 4, 252)).toEqual([0, ...times(250, 9), 0]);
  const { volumes, knownBlocks } = archive.statistics();
  expect(volumes.map(({ logicalBytes }) => logicalBytes)).toEqual([250 * 512, 2 * 65536, 250 * 512]);
  expect(knownBlocks).toBeGreaterThan(400);
});

test("a volume is served once, and again when its disk was closed", async () => {
  const archive = await openStore();
  const disk = await archive.openVolume(volumeOptions("e1.0"));
  await expect(archive.openVolume(volumeOptions("e1.0"))).rejects.toThrow("is served already");
  await write(disk, 0, 1, 1);
  await disk.close();
  const next = await archive.openVolume(volumeOptions("e1.0", { readOnly: true }));
  expect(await read(next, 0, 1)).toEqual([1]);
});

test.each([["another block size", volumeOptions("e1.0", { blockBytes: 512 }), "set block_size = 4096"]])(
  "%s is refused",
  async (_what, options, message) => {
    const archive = await openStore();
    await (await archive.openVolume(volumeOptions("e1.0"))).close();
    await expect(archive.openVolume(options)).rejects.toThrow(message);
  },
);

test("sectors of a changed block that did not change can be read while a checkpoint stores the block", async () => {
  const store = createMemoryStore(contents);
  const begun = Promise.withResolvers<void>();
  const stored = Promise.withResolvers<void>();
  let isHeld = false;
  const archive = await openStore({
    ...store,
    async put(name, bytes) {
      if (isHeld) {
        begun.resolve();
        await stored.promise;
      }
      await store.put(name, bytes);
    },
  });
  const disk = await archive.openVolume(volumeOptions("e1.0"));
  await write(disk, 0, 8, 1);
  await archive.checkpoint();
  await write(disk, 0, 1, 2);
  isHeld = true;
  const checkpoint = archive.checkpoint();
  await begun.promise;
  expect(await read(disk, 0, 8)).toEqual([2, ...times(7, 1)]);
  stored.resolve();
  await checkpoint;
  expect(await read(disk, 0, 8)).toEqual([2, ...times(7, 1)]);
});

test("a snapshot of one volume does not go back behind what a checkpoint of all has released", async () => {
  let archive = await openStore();
  const names = ["e1.0", "e1.1"];
  for (const name of names) await write(await archive.openVolume(volumeOptions(name)), 0, 8, 1);
  await archive.checkpoint();
  archive = await reopen(archive);
  // The other volume has no record of this checkpoint, and needs none.
  await write(await archive.openVolume(volumeOptions("e1.0")), 0, 8, 2);
  archive = await reopen(archive);
  const disk = await archive.openVolume(volumeOptions("e1.0"));
  await write(disk, 0, 8, 3);
  await archive.createSnapshot("e1.0", "");
  archive = await reopen(archive);
  expect(await read(await archive.openVolume(volumeOptions("e1.0")), 0, 8)).toEqual(times(8, 3));
  expect(await read(await archive.openVolume(volumeOptions("e1.1")), 0, 8)).toEqual(times(8, 1));
});

test("a volume without its journal is refused, though no checkpoint was made yet", async () => {
  await write(await (await openStore()).openVolume(volumeOptions("e1.0")), 0, 8, 1);
  const own = directory;
  directory = await mkdtemp(join(tmpdir(), "voe-archive-"));
  try {
    expect(await reasonOf(openStore())).toContain("has no claim to it");
    // A store of before there were claims.
    for (const name of contents.refs.keys()) if (name.startsWith("writer/")) contents.refs.delete(name);
    expect(await reasonOf(openStore())).toContain("holds no journal");
  } finally {
    await rm(directory, { recursive: true });
    directory = own;
  }
});

test("a read that fails once during a checkpoint costs nothing, and mixes nothing up", async () => {
  let failures = 0;
  /** Has to be asked twice, and fails as often as is wanted. */
  const failing = (file: DiskFile): DiskFile =>
    Object.assign(Object.create(file) as DiskFile, {
      tryRead: () => -EAGAIN,
      read: (target: Memory, at: number, lengthBytes: number, offsetBytes: number) =>
        failures-- > 0 ? Promise.resolve(-EIO) : file.read(target, at, lengthBytes, offsetBytes),
      sizeBytes: () => file.sizeBytes(),
      write: (...args: Parameters<DiskFile["write"]>) => file.write(...args),
      writeRanges: (...args: Parameters<DiskFile["writeRanges"]>) => file.writeRanges(...args),
      prepare: (...args: Parameters<DiskFile["prepare"]>) => file.prepare(...args),
      sync: () => file.sync(),
      truncate: (sizeBytes: number) => file.truncate(sizeBytes),
      forgetCached: () => file.forgetCached(),
      close: () => file.close(),
    });
  const archive = await openStore(createMemoryStore(contents), {
    ...realDisk,
    create: (path) => (path.endsWith(".journal") ? failing(realDisk.create(path)) : realDisk.create(path)),
  });
  const disk = await archive.openVolume(volumeOptions("e1.0"));
  for (let block = 0; block < 6; block++) await write(disk, block * 8, 8, block + 1);
  failures = 1;
  await archive.checkpoint();
  expect(failures).toBeLessThan(1);
  const root = await archive.openRoot("e1.0");
  for (let block = 0; block < 6; block++) expect(await read(root, block * 8, 8)).toEqual(times(8, block + 1));
  await root.close();
});

test("old checkpoints are removed, and snapshots stay", async () => {
  let archive = await openStore();
  let disk = await archive.openVolume(volumeOptions("e1.0"));
  await archive.createSnapshot("e1.0", "first");
  for (let round = 1; round <= 20; round++) {
    await write(disk, 0, 1, round);
    await archive.checkpoint();
  }
  const refs = await createMemoryStore(contents).listRefs("roots/");
  expect(refs.length).toBeLessThan(12);
  archive = await reopen(archive);
  disk = await archive.openVolume(volumeOptions("e1.0"));
  expect(await read(disk, 0, 1)).toEqual([20]);
  expect(archive.snapshots("e1.0").length).toBe(1);
});

test("what is asked of a volume or snapshot that is not there says so", async () => {
  const archive = await openStore();
  await archive.openVolume(volumeOptions("e1.0"));
  await expect(archive.createSnapshot("e2.0", "")).rejects.toThrow("has no volume e2.0");
  await expect(archive.restore("e1.0", "abc")).rejects.toThrow("voe snapshot list");
  await expect(archive.openRoot("e1.0", "abc")).rejects.toThrow("voe snapshot list");
});

test("a checkpoint goes on where a block that was written in part is damaged, and keeps what was written", async () => {
  let archive = await openStore();
  let disk = await archive.openVolume(volumeOptions("e1.0"));
  await write(disk, 0, 24, 1);
  await write(disk, 9, 1, 2);
  await archive.checkpoint();
  archive = await reopen(archive);
  // Blocks 0 and 2 are one block of the store, and intact; block 1 is another.
  const content = new Uint8Array(4096).fill(1).fill(2, SECTOR_BYTES, 2 * SECTOR_BYTES);
  const hash = createHash("sha256").update(content).digest();
  for (const bytes of contents.blobs.values()) {
    const pack = parsePack(bytes, createHasher("sha256"));
    if ("reason" in pack) throw new Error(pack.reason);
    const { directory } = pack;
    for (let entry = 0; entry < directory.entryCount; entry++) {
      if (directory.holds(entry, hash, 0)) bytes[directory.offsetBytes(entry)]! ^= 0xff;
    }
  }
  disk = await archive.openVolume(volumeOptions("e1.0"));
  await write(disk, 10, 2, 3);
  await write(disk, 16, 1, 4);
  await call((completion) => disk.writeZeroes(12, 1, false, false, completion));
  await archive.checkpoint();
  await write(disk, 11, 1, 5);
  expect(await reasonOf(archive.createSnapshot("e1.0", ""))).toContain("a block that cannot be read");
  expect(await reasonOf(archive.openRoot("e1.0"))).toContain("a block that cannot be read");
  for (let round = 0; round < 2; round++) {
    expect(await read(disk, 10, 3)).toEqual([3, 5, 0]);
    expect(await read(disk, 16, 2)).toEqual([4, 1]);
    const memory = allocateMemory(SECTOR_BYTES);
    expect(await call((completion) => disk.read(8, 1, memory, 0, completion))).toBe(MEDIUM_ERROR);
    freeMemory(memory);
    archive = await reopen(archive);
    disk = await archive.openVolume(volumeOptions("e1.0"));
  }
  await write(disk, 8, 8, 6);
  await archive.checkpoint();
  archive = await reopen(archive);
  disk = await archive.openVolume(volumeOptions("e1.0"));
  expect(await read(disk, 8, 9)).toEqual([...times(8, 6), 4]);
  expect(reports.join()).toContain("block 1 (sectors 8 to 15) is damaged in the store");
});
