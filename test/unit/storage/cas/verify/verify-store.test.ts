import { beforeEach, expect, test } from "bun:test";
import { BlobStoreError, type BlobStore } from "../../../../../src/blob/blob-store.ts";
import { createMemoryStore, emptyContents, type MemoryStoreContents } from "../../../../../src/blob/memory-store.ts";
import { FOOTER_BYTES } from "../../../../../src/storage/cas/pack-format.ts";
import { asWords, isHole } from "../../../../../src/storage/cas/tree/shape.ts";
import { verifyStore } from "../../../../../src/storage/cas/verify/verify-store.ts";
import {
  blockOf,
  entriesOf,
  findEntry,
  flip,
  hashOf,
  nodesOf,
  openTestArchive,
  openTestVolume,
  plainBytesOf,
  stateDisk,
  writeBlock,
} from "../../../../support/archive-store.ts";
import { reasonOf } from "../../../../support/reason-of.ts";
import {
  affected,
  BLOCKS,
  expectedFor,
  FAR,
  fillStore,
  gather,
  memoryHistory,
  storeOver,
  verifyWith,
  type Run,
} from "../../../../support/verified-store.ts";

let contents: MemoryStoreContents;
let mondayId: string;

beforeEach(async () => {
  ({ contents, mondayId } = await fillStore());
});

const verify = (): Promise<Run> => verifyWith(createMemoryStore(contents));

test("a store in which nothing is wrong is good, whole, and every byte of its packs was read", async () => {
  const { end, damage, notices } = await verify();
  expect({ damage, notices, affected: end.affected }).toEqual({ damage: [], notices: [], affected: [] });
  expect(end.outcome).toBe("good");
  expect(end.complete).toBe(true);
  expect(end.packsDone).toBe(contents.blobs.size);
  expect(end.bytesDone).toBe([...contents.blobs.values()].reduce((sum, bytes) => sum + bytes.length, 0));
  expect(end.treePartsDone).toBe(2);
  expect(end.packsNeverVerified).toBe(0);
});

test("a block with a flipped byte is named with pack and offset, and with every volume and snapshot that has it", async () => {
  const { pack, entry, directory } = findEntry(contents, hashOf(blockOf(3)));
  flip(contents, pack, directory.offsetBytes(entry) + 100);
  const run = await verify();
  expect(run.end.outcome).toBe("damaged");
  expect(run.damage[0]).toEqual({
    kind: "pack",
    pack,
    reason: `1 of its ${directory.entryCount} blocks is damaged`,
    onlyBlocks: true,
    blocks: [
      {
        hash: hashOf(blockOf(3)).toHex(),
        offsetBytes: directory.offsetBytes(entry),
        storedBytes: directory.storedBytes(entry),
        reason: "it does not match its hash",
      },
    ],
    blockCount: 1,
  });
  expect(affected(run)).toEqual([
    ["e1.0 monday", [3, 4]],
    ["e1.0", [3, 4]],
    ["e2.0", [3, 4]],
  ]);
  expect(run.end.affected[0]!.snapshot!.id).toBe(mondayId);
});

test("a block that only the present has affects no snapshot and no clone", async () => {
  const { pack, entry, directory } = findEntry(contents, hashOf(blockOf(1005)));
  flip(contents, pack, directory.offsetBytes(entry));
  expect(affected(await verify())).toEqual([["e1.0", [5, 6]]]);
});

test("a block of the second part of the trees, found after the first was walked, is found where it is used", async () => {
  const { pack, entry, directory } = findEntry(contents, hashOf(blockOf(FAR)));
  flip(contents, pack, directory.offsetBytes(entry));
  expect(affected(await verify())).toEqual(expectedFor(new Set([hashOf(blockOf(FAR)).toHex()])));
});

const places = {
  "in the directory": (_: number, directoryAt: number) => directoryAt + 3,
  "in the last entry of the directory": (lengthBytes: number) => lengthBytes - FOOTER_BYTES - 2,
  "in the footer's magic": (lengthBytes: number) => lengthBytes - FOOTER_BYTES,
  "in the footer's count": (lengthBytes: number) => lengthBytes - FOOTER_BYTES + 12,
  "in the footer's hash, the last byte": (lengthBytes: number) => lengthBytes - 1,
};

/** A pack of data blocks alone. */
function packOfData(): { pack: string; hashes: Set<string>; directoryAt: number } {
  const nodes = new Set(nodesOf(contents).map(({ pack }) => pack));
  const entries = entriesOf(contents).filter(({ pack }) => !nodes.has(pack));
  const { pack, footer } = entries[0]!;
  const hashes = entries.filter((entry) => entry.pack === pack).map(({ directory, entry }) => directory.hashOf(entry));
  return { pack, hashes: new Set(hashes.map((hash) => hash.toHex())), directoryAt: footer.directoryOffsetBytes };
}

for (const [where, place] of Object.entries(places)) {
  test(`a byte flipped ${where} spoils the pack, and affects what has its blocks and nothing else`, async () => {
    const { pack, hashes, directoryAt } = packOfData();
    flip(contents, pack, place(contents.blobs.get(pack)!.length, directoryAt));
    const run = await verify();
    const [first] = run.damage;
    expect(first).toMatchObject({ kind: "pack", pack, onlyBlocks: false });
    expect(affected(run)).toEqual(expectedFor(hashes));
  });
}

test("a truncated pack is damaged, and so is one that has grown", async () => {
  const { pack, hashes } = packOfData();
  const bytes = contents.blobs.get(pack)!;
  for (const changed of [bytes.slice(0, 1000), bytes.slice(0, 0), new Uint8Array([...bytes, 0])]) {
    contents.blobs.set(pack, changed);
    const run = await verify();
    expect(run.damage[0]).toMatchObject({ kind: "pack", pack, onlyBlocks: false });
    expect(affected(run)).toEqual(expectedFor(hashes));
  }
});

test("a pack that is gone leaves blocks that no pack has, each told once, and what they affect", async () => {
  const { pack, hashes } = packOfData();
  contents.blobs.delete(pack);
  const run = await verify();
  const blocks = run.damage.map((damage) => (damage.kind === "block" ? damage.hash : damage.kind));
  expect(blocks.toSorted()).toEqual([...hashes].toSorted());
  expect(run.damage[0]).toMatchObject({ isNode: false, reason: "no pack has it" });
  expect(affected(run)).toEqual(expectedFor(hashes));
});

test("a pack that the index knows and the store has lost is named", async () => {
  const blobs = createMemoryStore(contents);
  const store = await storeOver(blobs, memoryHistory());
  const { pack, hashes } = packOfData();
  contents.blobs.delete(pack);
  const run = await gather(verifyStore(store));
  expect(run.damage[0]).toMatchObject({ kind: "pack", pack, reason: "it is not there", onlyBlocks: false });
  expect(affected(run)).toEqual(expectedFor(hashes));
});

test("a pack whose index knows what a damaged directory no longer says is found with what it affects", async () => {
  const blobs = createMemoryStore(contents);
  const store = await storeOver(blobs, memoryHistory());
  const { pack, hashes, directoryAt } = packOfData();
  flip(contents, pack, directoryAt);
  const run = await gather(verifyStore(store));
  expect(run.damage[0]).toMatchObject({ kind: "pack", pack });
  expect(affected(run)).toEqual(expectedFor(hashes));
});

test("a damaged tree node affects the blocks under it that the volume has, in every tree that has the node", async () => {
  // The leaf above block FAR of monday: its only hash is that of the block.
  const leaf = nodesOf(contents).find(({ pack, entry, directory }) => {
    const bytes = plainBytesOf(contents, pack, entry);
    const words = asWords(bytes);
    const slots = Array.from({ length: 128 }, (_, slot) => slot).filter((slot) => !isHole(words, slot * 8));
    const slot = FAR % 128;
    const isFar = Buffer.compare(bytes.subarray(slot * 32, slot * 32 + 32), hashOf(blockOf(FAR))) === 0;
    return slots.length === 1 && isFar && directory.entryCount > 0;
  })!;
  flip(contents, leaf.pack, leaf.directory.offsetBytes(leaf.entry) + 2);
  const run = await verify();
  const from = FAR - (FAR % 128);
  // The clone has another leaf there, since it changed the block beside it.
  expect(affected(run)).toEqual([
    ["e1.0 monday", [from, from + 128]],
    ["e1.0", [from, from + 128]],
  ]);
  expect(run.damage.some((damage) => damage.kind === "block" && damage.isNode)).toBe(true);
});

test("a block that a second pack has intact affects nothing, and the bad pack is told all the same", async () => {
  const { pack, entry, directory } = findEntry(contents, hashOf(blockOf(3)));
  // The same blocks once more, as from a store that was written to while it lacked the pack.
  const other = emptyContents();
  const archive = await openTestArchive(createMemoryStore(other), await stateDisk());
  const volume = await openTestVolume(archive, "other", 64);
  for (let block = 0; block < 16; block++) await writeBlock(volume, block, blockOf(block));
  await archive.checkpoint();
  await archive.close();
  for (const [name, bytes] of other.blobs) contents.blobs.set(name, bytes);
  flip(contents, pack, directory.offsetBytes(entry));
  const run = await verify();
  expect(run.damage.map(({ kind }) => kind)).toEqual(["pack"]);
  expect(run.end).toMatchObject({ outcome: "damaged", affected: [] });
});

test("a node is not taken for seen because a block has its bytes: what is under it is found all the same", async () => {
  const child = hashOf(blockOf(FAR));
  const leaf = nodesOf(contents)
    .map(({ pack, entry }) => plainBytesOf(contents, pack, entry))
    .find((bytes) => bytes.indexOf(child[0]!) >= 0 && Buffer.from(bytes).includes(child))!;
  const other = emptyContents();
  const archive = await openTestArchive(createMemoryStore(other), await stateDisk());
  // Its tree comes first, and is nothing but that block.
  const first = await openTestVolume(archive, "a", 1);
  await writeBlock(first, 0, leaf);
  const second = await openTestVolume(archive, "b", BLOCKS);
  await writeBlock(second, FAR, blockOf(FAR));
  await archive.close();
  expect(nodesOf(other).some(({ directory, entry }) => directory.holds(entry, hashOf(leaf), 0))).toBe(false);
  const { pack, entry, directory } = findEntry(other, child);
  flip(other, pack, directory.offsetBytes(entry));
  contents = other;
  expect(affected(await verify())).toEqual([["b", [FAR, FAR + 1]]]);
});

test("a damaged root record is told", async () => {
  const name = [...contents.refs.keys()].find((ref) => ref.startsWith("roots/"))!;
  const bytes = contents.refs.get(name)!.slice();
  bytes[20]! ^= 1;
  contents.refs.set(name, bytes);
  const run = await verify();
  expect(run.damage).toEqual([{ kind: "record", name, reason: "does not match its checksum" }]);
  expect(run.end.outcome).toBe("damaged");
});

test("what is read wrongly once and rightly when read again is good, and said, after the cache was passed by", async () => {
  const blobs = createMemoryStore(contents);
  const { pack } = packOfData();
  let reads = 0;
  let forgotten = 0;
  const flaky: BlobStore = {
    ...blobs,
    forgetCached: async (name) => void (forgotten += Number(name === pack)),
    async get(name, offset, length, target, at) {
      await blobs.get(name, offset, length, target, at);
      if (name === pack && offset === 0 && reads++ === 0) target.bytes[at + 50]! ^= 1;
    },
  };
  const store = await storeOver(blobs, memoryHistory());
  const run = await gather(verifyStore({ ...store, blobs: flaky }));
  expect({ forgotten, outcome: run.end.outcome }).toEqual({ forgotten: 2, outcome: "good" });
  expect(run.notices[0]).toContain(`pack ${pack} was read wrongly once`);
});

test("a bad sector of the medium loses the blocks that lie on it and no others", async () => {
  const blobs = createMemoryStore(contents);
  const { pack, entry, directory } = findEntry(contents, hashOf(blockOf(7)));
  const badAt = directory.offsetBytes(entry) + 1000;
  const failing: BlobStore = {
    ...blobs,
    async get(name, offset, length, target, at) {
      if (name === pack && offset <= badAt && badAt < offset + length) {
        throw new BlobStoreError("unavailable", "it cannot be read", Object.assign(new Error("EIO"), { code: "EIO" }));
      }
      await blobs.get(name, offset, length, target, at);
    },
  };
  const run = await verifyWith(failing);
  expect(run.damage[0]).toMatchObject({ kind: "pack", pack, onlyBlocks: true, blockCount: 1 });
  expect(affected(run)).toEqual(expectedFor(new Set([hashOf(blockOf(7)).toHex()])));
});

test("a store that is out of reach is no damaged one: the run ends with the reason", async () => {
  const blobs = createMemoryStore(contents);
  const store = await storeOver(blobs, memoryHistory());
  const away = { ...blobs, get: () => Promise.reject(new BlobStoreError("unavailable", "the network is down")) };
  expect(await reasonOf(gather(verifyStore({ ...store, blobs: away })))).toContain("the network is down");
});

test("a store without packs and roots is good", async () => {
  contents = emptyContents();
  expect((await verify()).end).toMatchObject({ outcome: "good", packsTotal: 0, treePartsTotal: 0 });
});
