/** A state directory made from the store alone: what is taken over, what is refused, and what the other host learns. */
import { beforeEach, expect, test } from "bun:test";
import { createCompression } from "../../../../src/base/compression.ts";
import { BlobStoreError, type BlobStore } from "../../../../src/blob/blob-store.ts";
import { createMemoryStore, emptyContents, type MemoryStoreContents } from "../../../../src/blob/memory-store.ts";
import type { BlockStorage } from "../../../../src/storage/block-storage.ts";
import type { Archive } from "../../../../src/storage/cas/archive.ts";
import {
  beginRecovery,
  type RecoverArchiveOptions,
  type RecoveredArchive,
} from "../../../../src/storage/cas/recover-archive.ts";
import { encodeRootRecord, parseRootRecord } from "../../../../src/storage/cas/root-record.ts";
import { newestWriter } from "../../../../src/storage/cas/writer-ref.ts";
import type { SimulatedDisk } from "../../../simulation/simulated-disk.ts";
import {
  blockOf,
  BLOCK_SECTORS,
  openTestArchive,
  openTestVolume,
  stateDisk,
  writeBlock,
} from "../../../support/archive-store.ts";
import { fillRandom } from "../../../support/block-content.ts";
import { reasonOf } from "../../../support/reason-of.ts";
import { seededRandom } from "../../../support/seeded-random.ts";
import { readSectors } from "../../../support/storage-requests.ts";

const STATE = "/state";
const BLOCKS = 180;

let contents: MemoryStoreContents;
let first: SimulatedDisk;
let second: SimulatedDisk;
let reports: string[];

beforeEach(async () => {
  contents = emptyContents();
  first = await stateDisk();
  second = await stateDisk();
  reports = [];
});

const open = (disk: SimulatedDisk, blobs = createMemoryStore(contents)): Promise<Archive> =>
  openTestArchive(blobs, disk, { host: disk === first ? "first" : "second" });

const begin = (more: Partial<RecoverArchiveOptions> = {}) => {
  const random = seededRandom(7);
  return beginRecovery({
    disk: second,
    stateDirectory: STATE,
    blobs: createMemoryStore(contents),
    compression: createCompression(),
    host: "second",
    wanted: ["v"],
    takeOver: false,
    acceptDamage: false,
    nowMs: () => 1_700_000_500_000,
    random: (bytes) => fillRandom(random, bytes),
    report: (key) => void reports.push(key),
    progress: () => {},
    ...more,
  });
};

const recover = async (more: Partial<RecoverArchiveOptions> = {}): Promise<RecoveredArchive> =>
  (await begin(more)).finish();

/** An archive of which blocks 0 to `BLOCKS` are seeds 1 and up, in a few packs. */
async function written(blobs?: BlobStore): Promise<[Archive, BlockStorage]> {
  const archive = await open(first, blobs);
  const volume = await openTestVolume(archive, "v", 2 * BLOCKS);
  for (let block = 0; block < BLOCKS; block++) await writeBlock(volume, block, blockOf(block + 1));
  return [archive, volume];
}

async function expectBlock(disk: BlockStorage, block: number, seed: number): Promise<void> {
  const bytes = await readSectors(disk, block * BLOCK_SECTORS, BLOCK_SECTORS);
  expect(Buffer.compare(bytes, seed === 0 ? new Uint8Array(4096) : blockOf(seed))).toBe(0);
}

/** Everything that the store has. */
const everything = (): unknown => [
  [...contents.blobs.keys()],
  [...contents.refs].map(([name, bytes]) => [name, bytes.toHex()]),
];

async function expectRefused(work: Promise<unknown>, said: string): Promise<void> {
  const before = everything();
  expect(await reasonOf(work)).toContain(said);
  expect(everything()).toEqual(before);
}

test("a volume comes back with its snapshots, and goes on", async () => {
  const [archive, volume] = await written();
  const snapshot = await archive.createSnapshot("v", "kept");
  await writeBlock(volume, 0, blockOf(1001));
  await archive.checkpoint();
  await writeBlock(volume, 1, blockOf(1002));
  // The host is lost here.
  const recovered = await recover();
  expect(recovered).toMatchObject({ store: "memory", epoch: 2, before: { host: "first", epoch: 1 } });
  expect(recovered.volumes).toMatchObject([{ name: "v", sizeBytes: 2 * BLOCKS * 4096, snapshots: [snapshot] }]);
  expect(recovered.packCount).toBe(contents.blobs.size);
  for (const round of [0, 1, 2]) {
    const again = await open(second);
    const disk = await openTestVolume(again, "v", 2 * BLOCKS);
    await expectBlock(disk, 0, 1001);
    await expectBlock(disk, 1, round === 0 ? 2 : 2000 + round - 1);
    await expectBlock(disk, BLOCKS - 1, BLOCKS);
    await expectBlock(disk, BLOCKS, 0);
    expect(again.snapshots("v")).toEqual([snapshot]);
    await expectBlock(await again.openRoot("v", snapshot.id), 0, 1);
    await writeBlock(disk, 1, blockOf(2000 + round));
    if (round === 1) await again.checkpoint();
    await again.close();
  }
  await archive.close().catch(() => {});
});

test("writes after a recovery are replayed though the store's roots count by another journal", async () => {
  const [archive] = await written();
  for (let round = 0; round < 3; round++) await archive.checkpoint();
  await archive.close();
  await recover();
  const again = await open(second);
  await writeBlock(await openTestVolume(again, "v", 2 * BLOCKS), 5, blockOf(3000));
  // Killed: what was written is in the journal alone.
  second.restart();
  const last = await open(second);
  await expectBlock(await openTestVolume(last, "v", 2 * BLOCKS), 5, 3000);
  await last.close();
});

test("the host that wrote it before stops", async () => {
  const [archive, volume] = await written();
  await archive.checkpoint();
  await recover();
  await writeBlock(volume, 0, blockOf(1001));
  expect(await reasonOf(archive.createSnapshot("v", ""))).toContain("was taken over by second (epoch 2");
  expect(await reasonOf(writeBlock(volume, 0, blockOf(1002)))).not.toBe("");
  await archive.close().catch(() => {});
  expect(await reasonOf(open(first))).toContain("was taken over by second (epoch 2");
});

test("what the other host publishes until the last moment is taken over, and what it publishes later is refused", async () => {
  const store = createMemoryStore(contents);
  const [archive, volume] = await written();
  await archive.checkpoint();
  let rounds = 0;
  const racing: BlobStore = {
    ...store,
    async createRef(name, bytes) {
      // Between the claim and the barrier, twice: the other one has looked before the claim was there.
      if (name.startsWith("roots/") && rounds++ < 2) late(name);
      return store.createRef(name, bytes);
    },
  };
  const late = (name: string): void => {
    const at = Number(name.slice(-20));
    const before = contents.refs.get(`${name.slice(0, -20)}${String(at - 1).padStart(20, "0")}`)!;
    const parsed = parseRootRecord(before);
    if ("reason" in parsed) throw new Error(parsed.reason);
    contents.refs.set(
      name,
      encodeRootRecord({ ...parsed.record, sequence: at, kind: "snapshot", description: `late ${at}`, parent: null }),
    );
  };
  await recover({ blobs: racing });
  expect(rounds).toBe(3);
  const again = await open(second);
  expect(again.snapshots("v").length).toBe(2);
  await again.close();
  await writeBlock(volume, 0, blockOf(9));
  expect(await reasonOf(archive.checkpoint())).toContain("was taken over");
  await archive.close().catch(() => {});
});

test("what was published while the store was looked at is in it", async () => {
  const [archive, volume] = await written();
  await archive.checkpoint();
  const recovery = await begin();
  await writeBlock(volume, 3, blockOf(4000));
  await archive.checkpoint();
  await recovery.finish();
  const again = await open(second);
  await expectBlock(await openTestVolume(again, "v", 2 * BLOCKS), 3, 4000);
  await again.close();
  await archive.close().catch(() => {});
});

test("a volume that the other host makes after it was overtaken is no hindrance", async () => {
  const [archive] = await written();
  await archive.close();
  const before = new Set(contents.refs.keys());
  const other = await open(first);
  await openTestVolume(other, "w", 64);
  await other.close();
  const strays = [...contents.refs].filter(([name]) => name.startsWith("roots/") && !before.has(name));
  const strayIds = new Set(strays.map(([name]) => name.split("/")[1]));
  for (const [name] of strays) contents.refs.delete(name);
  await recover();
  const again = await open(second);
  // Its requests arrive now, and later it is asked for.
  for (const [name, bytes] of strays) if (strayIds.has(name.split("/")[1])) contents.refs.set(name, bytes);
  const made = await openTestVolume(again, "w", 64);
  await writeBlock(made, 0, blockOf(5000));
  await again.close();
  const last = await open(second);
  expect(last.volumes.toSorted()).toEqual(["v", "w"]);
  await expectBlock(await openTestVolume(last, "w", 64), 0, 5000);
  await last.close();
});

test("a state that is there is not touched", async () => {
  await (await written())[0].close();
  const files = (disk: SimulatedDisk): unknown => disk.filesUnder(STATE).map((path) => [path, disk.contentOf(path)]);
  const before = files(first);
  await expectRefused(recover({ disk: first }), "has the state of memory already");
  expect(files(first)).toEqual(before);
  // Of a time when there were no claims.
  first.remove(`${STATE}/writer.json`);
  await expectRefused(recover({ disk: first }), "has the state of memory already");
});

test("a store without a volume, or without those that are wanted, is refused", async () => {
  await expectRefused(recover(), "memory has no volume: there is nothing to recover");
  await (await written())[0].close();
  const roots = [...contents.refs].filter(([name]) => name.startsWith("roots/"));
  for (const [name] of roots) contents.refs.delete(name);
  await expectRefused(recover(), "has no volume, though it has packs");
  for (const [name, bytes] of roots) contents.refs.set(name, bytes);
  await expectRefused(recover({ wanted: ["e1.0", "e1.1"] }), "has the volumes v and none of those");
  expect((await recover({ wanted: ["e1.0", "v"] })).volumes.length).toBe(1);
});

test("a store whose host was lost before it had made a volume is taken over", async () => {
  await (await open(first)).close();
  expect((await recover()).volumes).toEqual([]);
  const archive = await open(second);
  await writeBlock(await openTestVolume(archive, "v", 64), 0, blockOf(1));
  await archive.close();
  const again = await open(second);
  await expectBlock(await openTestVolume(again, "v", 64), 0, 1);
  await again.close();
});

test("a store that lost packs is refused, and recovered where that is wanted", async () => {
  const [archive] = await written();
  await archive.close();
  const packs = [...contents.blobs];
  expect(packs.length).toBeGreaterThan(3);
  for (const [name, bytes] of packs) {
    contents.blobs.delete(name);
    await expectRefused(recover(), "memory is not whole");
    contents.blobs.set(name, bytes);
  }
  for (const [name] of packs.slice(1)) contents.blobs.delete(name);
  await expectRefused(recover(), "memory is not whole");
  await recover({ acceptDamage: true });
  expect(reports).toContain("recover:damage");
  await (await open(second)).close();
});

test("a store whose newest record is damaged is refused", async () => {
  await (await written())[0].close();
  const newest = [...contents.refs.keys()]
    .filter((name) => name.startsWith("roots/"))
    .toSorted()
    .at(-1)!;
  contents.refs.set(newest, contents.refs.get(newest)!.slice(3));
  await expectRefused(recover(), "without it the volume would fall back");
});

test("a store that cannot keep writers apart is taken over only when that is said", async () => {
  await (await written())[0].close();
  const blobs = { ...createMemoryStore(contents), atomicRefs: false };
  await expectRefused(recover({ blobs }), "say --take-over");
  expect((await recover({ blobs, takeOver: true })).epoch).toBe(2);
});

test("of two that recover at the same time one is refused, and may try again", async () => {
  await (await written())[0].close();
  const third = await stateDisk();
  const one = await begin();
  const other = await begin({ disk: third, host: "third", random: (bytes) => void bytes.fill(9) });
  await other.finish();
  expect(await reasonOf(one.finish())).toContain("is being taken over by third (epoch 2");
  expect((await recover()).epoch).toBe(3);
  expect(await reasonOf(open(third))).toContain("was taken over by second (epoch 3");
});

test("a recovery that was interrupted keeps the server from starting, and is done by the next one", async () => {
  await (await written())[0].close();
  for (let failAt = 1; ; failAt++) {
    const store = createMemoryStore(contents);
    let calls = 0;
    const failing: BlobStore = {
      ...store,
      createRef(name, bytes) {
        if (++calls === failAt) return Promise.reject(new BlobStoreError("unavailable", "away"));
        return store.createRef(name, bytes);
      },
    };
    if ((await reasonOf(recover({ blobs: failing }))) === "") {
      expect(failAt).toBeGreaterThan(1);
      break;
    }
    expect(await reasonOf(open(second))).toContain("run voe recover again");
  }
  // Its own claim is used again.
  expect((await newestWriter(createMemoryStore(contents)))?.epoch).toBe(2);
  await (await open(second)).close();
});
