import { beforeEach, expect, test } from "bun:test";
import { BlobStoreError, type BlobStore } from "../../../../../src/blob/blob-store.ts";
import { createMemoryStore, emptyContents, type MemoryStoreContents } from "../../../../../src/blob/memory-store.ts";
import type { Archive } from "../../../../../src/storage/cas/archive.ts";
import { encodeRootRecord, type RootRecord } from "../../../../../src/storage/cas/root-record.ts";
import { rootRefName } from "../../../../../src/storage/cas/root-refs.ts";
import { encodeWriter, writerRefName } from "../../../../../src/storage/cas/writer-ref.ts";
import { rootsIn } from "../../../../../src/storage/cas/recover-volumes.ts";
import {
  blockOf,
  entriesOf,
  findEntry,
  flip,
  hashOf,
  openTestArchive,
  openTestVolume,
  stateDisk,
  writeBlock,
} from "../../../../support/archive-store.ts";
import { reasonOf } from "../../../../support/reason-of.ts";
import { copyStores } from "../../../../support/store-copy.ts";
import { verifyWith } from "../../../../support/verified-store.ts";
import type { BlockStorage } from "../../../../../src/storage/block-storage.ts";

const BLOCKS = 20_000;
/** More than fit into a pack. */
const FIRST = 40;
const ALL = [{ volume: "e1.0" }];

let source: MemoryStoreContents;
let archive: Archive;
let volume: BlockStorage;
let destination: MemoryStoreContents;
let disk: Awaited<ReturnType<typeof stateDisk>>;

beforeEach(async () => {
  source = emptyContents();
  destination = emptyContents();
  disk = await stateDisk();
  archive = await openTestArchive(createMemoryStore(source), await stateDisk());
  volume = await openTestVolume(archive, "e1.0", BLOCKS);
  for (let block = 0; block < FIRST; block++) await writeBlock(volume, block, blockOf(block));
  await archive.createSnapshot("e1.0", "monday");
  await writeBlock(volume, 17_000, blockOf(17_000));
  await archive.checkpoint();
});

const copy = (options: Parameters<typeof copyStores>[4] = {}, wanted: { volume: string; snapshot?: string }[] = ALL) =>
  copyStores(createMemoryStore(source), createMemoryStore(destination), wanted, disk, options);
const rootRefs = ({ refs }: MemoryStoreContents): [string, string][] =>
  [...refs]
    .filter(([name]) => name.startsWith("roots/"))
    .map(([name, bytes]): [string, string] => [name, new TextDecoder().decode(bytes)])
    .toSorted(([a], [b]) => (a < b ? -1 : 1));
const isWhole = async (): Promise<boolean> => (await verifyWith(createMemoryStore(destination))).end.outcome === "good";

test("a copy has the records of the source byte for byte, an id of its own, and everything that they refer to", async () => {
  const result = await copy();
  const present = new Set(
    (await rootsIn(createMemoryStore(source))).volumes.values().next().value!.checkpoints.slice(0, -1),
  );
  const wanted = rootRefs(source).filter(([name]) => !present.has(Number(name.slice(-20))));
  expect(rootRefs(destination)).toEqual(wanted);
  expect(result.volumes).toMatchObject([{ name: "e1.0", presentCount: 0 }]);
  expect(result.broughtBytes).toBe((FIRST + 1) * 4096);
  expect(await isWhole()).toBe(true);
  expect(destination.refs.get("store/id")).not.toEqual(source.refs.get("store/id"));
  expect(new TextDecoder().decode(destination.refs.get("store/id"))).toMatch(/^[0-9a-f]{32}\n$/);
});

test("a second copy brings nothing, and reads no block of either store", async () => {
  await copy();
  const packs = destination.blobs.size;
  const refusing = (contents: MemoryStoreContents): BlobStore => ({
    ...createMemoryStore(contents),
    get: () => Promise.reject(new Error("was read")),
    put: () => Promise.reject(new Error("was written")),
  });
  const result = await copyStores(refusing(source), refusing(destination), ALL, disk);
  expect(result).toMatchObject({ broughtBytes: 0, packBytes: 0, volumes: [{ copied: [], presentCount: 2 }] });
  expect(destination.blobs.size).toBe(packs);
});

test("what changed since the last copy is brought, and nothing else, while the source is written", async () => {
  await copy();
  await writeBlock(volume, 3, blockOf(1003));
  await writeBlock(volume, 9000, blockOf(30));
  await archive.createSnapshot("e1.0", "tuesday");
  await writeBlock(volume, 4, blockOf(1004));
  const result = await copy();
  // Block 9000 has the content of block 30, which is there.
  expect(result.broughtBytes).toBe(4096);
  expect(await isWhole()).toBe(true);
  const { snapshots, newest } = (await rootsIn(createMemoryStore(destination))).volumes.values().next().value!;
  expect(snapshots.map(({ record }) => record.description)).toEqual(["monday", "tuesday"]);
  expect(newest?.record.description).toBe("tuesday");
});

test("one snapshot is copied alone, the others later", async () => {
  const [monday] = archive.snapshots("e1.0");
  const result = await copy({}, [{ volume: "e1.0", snapshot: monday!.id.slice(0, 6) }]);
  expect(result.volumes[0]!.copied.map(({ record }) => record.description)).toEqual(["monday"]);
  expect(result.broughtBytes).toBe(FIRST * 4096);
  expect(await isWhole()).toBe(true);
  expect((await copy()).broughtBytes).toBe(4096);
  expect(await reasonOf(copy({}, [{ volume: "e1.0", snapshot: "ffff0000" }]))).toContain("no snapshot has an id");
});

test("a copy that was interrupted at any pack goes on, and no record is there before what it refers to", async () => {
  for (let most = 0; ; most++) {
    let puts = 0;
    const failing: BlobStore = {
      ...createMemoryStore(destination),
      async put(name, bytes, signal) {
        if (puts++ >= 1) throw new BlobStoreError("unavailable", "the network is away");
        await createMemoryStore(destination).put(name, bytes, signal);
      },
    };
    const before = destination.blobs.size;
    const reason = await reasonOf(copyStores(createMemoryStore(source), failing, ALL, disk)).catch(() => "");
    expect(await isWhole()).toBe(true);
    if (reason === "") break;
    expect(reason).toContain("the network is away");
    expect(destination.blobs.size).toBe(before + 1);
    if (most > 50) throw new Error("it does not get on");
  }
  expect(rootRefs(destination)).toHaveLength(2);
});

test("an aborted copy ends with the reason of that", async () => {
  const stop = new AbortController();
  const events = {
    indexing() {},
    planned: () => stop.abort(new Error("interrupted by SIGINT")),
    progress() {},
    copied() {},
  };
  expect(await reasonOf(copy({ signal: stop.signal, events }))).toBe("interrupted by SIGINT");
  expect(rootRefs(destination)).toEqual([]);
});

test("a block that is damaged at the source ends the copy, and its record is not there", async () => {
  const { pack, directory, entry } = findEntry(source, hashOf(blockOf(7)));
  flip(source, pack, directory.offsetBytes(entry) + 100);
  expect(await reasonOf(copy())).toContain("cannot be read");
  expect(rootRefs(destination)).toEqual([]);
  expect(entriesOf(destination).some((found) => found.directory.holds(found.entry, hashOf(blockOf(7)), 0))).toBe(false);
});

test("a volume of the same name and another id is refused", async () => {
  const { record } = (await rootsIn(createMemoryStore(source))).volumes.values().next().value!.newest!;
  const other = { ...record, volumeId: "f".repeat(32) };
  destination.refs.set(rootRefName(other), encodeRootRecord(other));
  expect(await reasonOf(copy())).toContain("another volume named e1.0");
});

test("a volume that is hashed otherwise than the destination's is refused", async () => {
  const { record } = (await rootsIn(createMemoryStore(source))).volumes.values().next().value!.newest!;
  const other: RootRecord = { ...record, volumeId: "f".repeat(32), volumeName: "e9.9", hash: "sha256" };
  destination.refs.set(rootRefName(other), encodeRootRecord(other));
  expect(await reasonOf(copy())).toContain("copy into another store");
});

test("a volume that was written at the destination has gone another way, and is refused", async () => {
  await copy();
  await archive.checkpoint();
  const before = new Map(source.refs);
  await writeBlock(volume, 1, blockOf(2000));
  await archive.createSnapshot("e1.0", "later");
  await copy();
  source.refs.clear();
  for (const [name, bytes] of before) source.refs.set(name, bytes);
  expect(await reasonOf(copy())).toContain("has gone another way");
});

test("a store that a voe has claimed is no replica, and nothing is copied into it", async () => {
  const writer = { epoch: 1, writerId: "a".repeat(32), host: "attic", claimedMs: 1_700_000_000_000 };
  await createMemoryStore(destination).createRef(writerRefName(1), encodeWriter(writer));
  expect(await reasonOf(copy())).toContain("is written by attic");
  expect(destination.blobs.size).toBe(0);
});

test("a volume that the source does not have is refused with those that it has", async () => {
  expect(await reasonOf(copy({}, [{ volume: "e7.0" }]))).toContain("it has e1.0");
});

test("progress never goes back, and ends at what was planned", async () => {
  const told: number[] = [];
  let planned = 0;
  await copy({
    events: {
      indexing() {},
      planned: (_, bytes) => void (planned = bytes),
      progress: (done) => void told.push(done),
      copied() {},
    },
  });
  expect(told).toEqual(told.toSorted((a, b) => a - b));
  expect(told.at(-1)).toBe(planned);
  expect(planned).toBe(2 * BLOCKS * 4096);
});
