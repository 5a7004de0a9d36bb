/** Two hosts and one store, by hand: what the first of them finds out, and when. */
import { beforeEach, expect, test } from "bun:test";
import { BlobStoreError, type BlobStore } from "../../../../src/blob/blob-store.ts";
import { createMemoryStore, emptyContents, type MemoryStoreContents } from "../../../../src/blob/memory-store.ts";
import { MEDIUM_ERROR, type BlockStorage } from "../../../../src/storage/block-storage.ts";
import type { Archive, ArchiveOptions } from "../../../../src/storage/cas/archive.ts";
import { writeOwnClaim } from "../../../../src/storage/cas/writer-file.ts";
import {
  encodeWriter,
  newestWriter,
  parseWriter,
  writerRefName,
  type Writer,
} from "../../../../src/storage/cas/writer-ref.ts";
import type { SimulatedDisk } from "../../../simulation/simulated-disk.ts";
import { blockOf, openTestArchive, openTestVolume, stateDisk, writeBlock } from "../../../support/archive-store.ts";
import { reasonOf } from "../../../support/reason-of.ts";
import { until } from "../../../support/until.ts";

const STATE = "/state";
const OTHER: Writer = { epoch: 2, writerId: "ab".repeat(16), host: "other", claimedMs: 1_700_000_000_000 };

let contents: MemoryStoreContents;
let disk: SimulatedDisk;
let reports: string[];

beforeEach(async () => {
  contents = emptyContents();
  disk = await stateDisk();
  reports = [];
});

const open = (more: Partial<ArchiveOptions> = {}, blobs: BlobStore = createMemoryStore(contents)): Promise<Archive> =>
  openTestArchive(blobs, disk, { host: "first", report: (key) => void reports.push(key), ...more });

const takeOver = (writer: Writer = OTHER): void =>
  void contents.refs.set(writerRefName(writer.epoch), encodeWriter(writer));

const roots = (): string[] => [...contents.refs.keys()].filter((name) => name.startsWith("roots/"));

async function opened(more: Partial<ArchiveOptions> = {}, blobs?: BlobStore): Promise<[Archive, BlockStorage]> {
  const archive = await open(more, blobs);
  const volume = await openTestVolume(archive, "v", 64);
  await writeBlock(volume, 0, blockOf(1));
  return [archive, volume];
}

/** The first host has stopped: it says so, takes no write and publishes nothing. */
async function expectStopped(archive: Archive, volume: BlockStorage): Promise<void> {
  const before = roots();
  expect(await reasonOf(writeBlock(volume, 1, blockOf(2)))).toContain(`status ${MEDIUM_ERROR}`);
  expect(volume).toHaveProperty(
    "failure",
    expect.stringContaining("was taken over by other (epoch 2, since 2023-11-14"),
  );
  expect(reports.filter((key) => key === "writer").length).toBe(1);
  expect(await reasonOf(archive.checkpoint())).toContain("was taken over by other");
  expect(await reasonOf(archive.close())).toContain("was taken over by other");
  expect(roots()).toEqual(before);
}

test("a store that nobody has claimed is claimed by who opens it, once", async () => {
  await (await open()).close();
  await (await open()).close();
  const newest = await newestWriter(createMemoryStore(contents));
  expect(newest).toMatchObject({ epoch: 1, host: "first" });
  expect([...contents.refs.keys()].filter((name) => name.startsWith("writer/"))).toEqual([writerRefName(1)]);
});

test("a claim reads as it was written, and only under its own number", () => {
  const bytes = encodeWriter(OTHER);
  expect(parseWriter(bytes, 2)).toEqual(OTHER);
  expect(parseWriter(bytes, 3)).toBeUndefined();
  for (let at = 0; at < bytes.length; at++) {
    const damaged = bytes.slice();
    damaged[at]! ^= 4;
    expect(parseWriter(damaged, 2)).toBeUndefined();
  }
});

test("a writer that was overtaken finds out at its next checkpoint, and stops", async () => {
  const [archive, volume] = await opened();
  takeOver();
  expect(await reasonOf(archive.checkpoint())).toContain("was taken over by other");
  await expectStopped(archive, volume);
});

test("a writer that was overtaken and is idle finds out by looking", async () => {
  const [archive, volume] = await opened({ claimCheckMs: 1 });
  takeOver();
  await until(() => reports.includes("writer"));
  await expectStopped(archive, volume);
});

test("a writer that cannot look goes on, and says so", async () => {
  const store = createMemoryStore(contents);
  let isAway = false;
  const away: BlobStore = {
    ...store,
    readRef: (name) =>
      isAway ? Promise.reject(new BlobStoreError("unavailable", "the network is away")) : store.readRef(name),
  };
  const [archive, volume] = await opened({ claimCheckMs: 1 }, away);
  isAway = true;
  await until(() => reports.includes("writer:check"));
  await writeBlock(volume, 1, blockOf(2));
  isAway = false;
  await archive.close();
});

for (const what of ["a checkpoint", "a snapshot", "a volume", "growth"]) {
  test(`${what} that is published while another takes over is not answered, and the journal keeps its writes`, async () => {
    const store = createMemoryStore(contents);
    let takesOver = false;
    const racing: BlobStore = {
      ...store,
      async createRef(name, bytes) {
        const outcome = await store.createRef(name, bytes);
        if (takesOver && name.startsWith("roots/")) takeOver();
        return outcome;
      },
    };
    const [archive, volume] = await opened({}, racing);
    await archive.checkpoint();
    const checkpoint = disk.contentOf(`${STATE}/checkpoint.json`);
    await writeBlock(volume, 1, blockOf(2));
    takesOver = true;
    const work = {
      "a checkpoint": () => archive.checkpoint(),
      "a snapshot": () => archive.createSnapshot("v", ""),
      "a volume": () => openTestVolume(archive, "w", 64),
      growth: () => archive.grow("v", 128 * 4096),
    }[what]!;
    expect(await reasonOf(work())).toContain("was taken over by other");
    expect(disk.contentOf(`${STATE}/checkpoint.json`)).toEqual(checkpoint);
    takesOver = false;
    await expectStopped(archive, volume);
  });
}

test("a record whose answer was lost is no conflict, and what comes after it is published behind it", async () => {
  const store = createMemoryStore(contents);
  let losing = 0;
  const losses: BlobStore = {
    ...store,
    async createRef(name, bytes) {
      const outcome = await store.createRef(name, bytes);
      if (name.startsWith("roots/") && losing-- > 0) throw new BlobStoreError("unavailable", "the answer was lost");
      return outcome;
    },
  };
  const [archive, volume] = await opened({}, losses);
  losing = 2;
  expect(await reasonOf(archive.checkpoint())).toContain("the answer was lost");
  await writeBlock(volume, 1, blockOf(2));
  expect(await reasonOf(archive.createSnapshot("v", "kept"))).toContain("the answer was lost");
  await archive.createSnapshot("v", "again");
  expect(archive.snapshots("v").map(({ description }) => description)).toEqual(["again"]);
  await archive.close();
  const reopened = await open();
  expect((await reopened.openRoot("v")).info.sectorCount).toBe(512);
  await reopened.close();
});

test("a volume of which an earlier process never heard that it was made is that volume, and no second one", async () => {
  const [archive] = await opened();
  await archive.close();
  const first = roots().find((name) => name.endsWith("1"))!;
  const record = contents.refs.get(first)!;
  for (const name of roots()) contents.refs.delete(name);
  disk = await stateDisk();
  for (const name of contents.refs.keys()) contents.refs.delete(name);
  const again = await open();
  // The request arrives only now.
  contents.refs.set(first, record);
  await writeBlock(await openTestVolume(again, "v", 64), 0, blockOf(3));
  await again.close();
  expect(roots().every((name) => name.startsWith(first.slice(0, 38)))).toBe(true);
  const last = await open();
  expect(last.volumes).toEqual(["v"]);
  await last.close();
});

test("a host that was overtaken is refused when it starts, with what its journal alone has", async () => {
  const [archive, volume] = await opened();
  await archive.checkpoint();
  await writeBlock(volume, 1, blockOf(2));
  await writeBlock(volume, 2, blockOf(3));
  takeOver();
  await archive.close().catch(() => {});
  const files = disk.filesUnder(STATE).map((path) => [path, disk.contentOf(path)]);
  const reason = await reasonOf(open());
  expect(reason).toContain("memory was taken over by other (epoch 2, since 2023-11-14 22:13:20 UTC)");
  expect(reason).toContain("up to 8 KiB of answered writes that never reached the store");
  expect(reason).toContain("voe recover");
  expect(disk.filesUnder(STATE).map((path) => [path, disk.contentOf(path)])).toEqual(files);
});

test("a host without a claim is refused a store that another one writes", async () => {
  await (await open()).close();
  disk = await stateDisk();
  const reason = await reasonOf(open({ host: "second" }));
  expect(reason).toContain("is written by first (epoch 1");
  expect(reason).toContain("run voe recover");
  expect(reason).not.toContain("journal");
});

test("a state directory that a recovery has only begun is refused", async () => {
  await writeOwnClaim(disk, STATE, { epoch: 2, writerId: OTHER.writerId, state: "recovering" });
  expect(await reasonOf(open())).toContain("run voe recover again");
});

test("a claim that cannot be read, or is older than ours, is refused", async () => {
  await (await open()).close();
  const claim = contents.refs.get(writerRefName(1))!;
  contents.refs.set(writerRefName(1), claim.slice(1));
  expect(await reasonOf(open())).toContain("which says who writes it, is damaged");
  contents.refs.set(writerRefName(1), claim);
  await writeOwnClaim(disk, STATE, { epoch: 2, writerId: OTHER.writerId, state: "writing" });
  expect(await reasonOf(open())).toContain("it is an old copy");
  contents.refs.delete(writerRefName(1));
  expect(await reasonOf(open())).toContain("it is an old copy");
});

test("a store without conditional writes notices that its claim was written over", async () => {
  const [archive, volume] = await opened({}, { ...createMemoryStore(contents), atomicRefs: false });
  contents.refs.set(writerRefName(1), encodeWriter({ ...OTHER, epoch: 1 }));
  expect(await reasonOf(archive.checkpoint())).toContain("was taken over by other (epoch 1");
  expect(await reasonOf(writeBlock(volume, 1, blockOf(2)))).toContain(`status ${MEDIUM_ERROR}`);
  await archive.close().catch(() => {});
});

test("of two that claim an empty store at the same time one is refused", async () => {
  const store = createMemoryStore(contents);
  const overtaken: BlobStore = {
    ...store,
    async createRef(name, bytes) {
      if (name === writerRefName(1)) takeOver({ ...OTHER, epoch: 1 });
      return store.createRef(name, bytes);
    },
  };
  expect(await reasonOf(open({}, overtaken))).toContain("was claimed at the same time by other");
});
