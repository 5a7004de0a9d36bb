import { expect, test } from "bun:test";
import { createMemoryStore, emptyContents } from "../../../../../src/blob/memory-store.ts";
import { rootsIn } from "../../../../../src/storage/cas/recover-volumes.ts";
import { NodeCache } from "../../../../../src/storage/cas/tree/node-cache.ts";
import { NodeReader } from "../../../../../src/storage/cas/tree/node-reader.ts";
import type { NodeStore } from "../../../../../src/storage/cas/tree/node-store.ts";
import { affectedOf, partBlocksFor, treeChecker, treesOf } from "../../../../../src/storage/cas/verify/check-trees.ts";
import { withoutClients } from "../../../../../src/storage/cas/pace.ts";
import {
  blockOf,
  entriesOf,
  hashOf,
  openTestArchive,
  openTestVolume,
  plainBytesOf,
  stateDisk,
  writeBlock,
} from "../../../../support/archive-store.ts";

const BLOCKS = 20_000;

/** The nodes of a store, counting what is read of them. */
function countedNodes(contents: ReturnType<typeof emptyContents>): { nodes: NodeStore; reads: Map<string, number> } {
  const where = new Map(
    entriesOf(contents).map(({ pack, entry, directory }) => [directory.hashOf(entry).toHex(), { pack, entry }]),
  );
  const reads = new Map<string, number>();
  const nodes: NodeStore = {
    tryGet: () => -1,
    async get(hash) {
      const key = hash.toHex();
      reads.set(key, (reads.get(key) ?? 0) + 1);
      const { pack, entry } = where.get(key)!;
      return plainBytesOf(contents, pack, entry);
    },
    put: () => {
      throw new Error("nothing is written here");
    },
  };
  return { nodes, reads };
}

test("what many snapshots share is walked once, and each block of it asked for once", async () => {
  const contents = emptyContents();
  const archive = await openTestArchive(createMemoryStore(contents), await stateDisk());
  const volume = await openTestVolume(archive, "e1.0", BLOCKS);
  for (let block = 0; block < 100; block++) await writeBlock(volume, block, blockOf(block));
  const snapshots = 8;
  for (let number = 0; number < snapshots; number++) {
    await writeBlock(volume, 17_000, blockOf(5000 + number));
    await archive.createSnapshot("e1.0", `${number}`);
  }
  await archive.close();

  const trees = treesOf(await rootsIn(createMemoryStore(contents)));
  expect(trees.length).toBe(snapshots);
  // The last one is the volume as it is, too.
  expect(trees.filter(({ owners }) => owners.length === 1).length).toBe(snapshots - 1);
  expect(trees.filter(({ owners }) => owners.length === 2).length).toBe(1);
  const partBlocks = partBlocksFor(trees);
  expect(partBlocks).toBe(128 * 128);

  const { nodes, reads } = countedNodes(contents);
  const asked: string[] = [];
  const checker = treeChecker({
    reader: new NodeReader(nodes, new NodeCache(1)),
    blocks: {
      bad: new Map(),
      nodes,
      whyNot: (hash) => void asked.push(hash.toHex()),
      close: () => {},
    },
    pace: withoutClients(),
    missing: () => {
      throw new Error("nothing is missing");
    },
  });
  for await (const _ of checker.checkPart(trees, 0, partBlocks));
  expect(asked.toSorted()).toEqual(
    Array.from({ length: 100 }, (_, block) => hashOf(blockOf(block)).toHex()).toSorted(),
  );
  // A root for each tree, and for all of them the node below and the leaf.
  expect([...reads.values()]).toEqual(Array.from({ length: snapshots + 2 }, () => 1));
  expect(affectedOf(trees)).toEqual([]);

  asked.length = 0;
  for await (const _ of checker.checkPart(trees, partBlocks, 2 * partBlocks));
  expect(asked.length).toBe(snapshots);
});

test("parts are what is under a node below the root, and 2 Mi blocks at most", () => {
  const of = (blockCount: number): number =>
    partBlocksFor([{ root: new Uint8Array(32), blockCount, blockBytes: 4096, owners: [], bad: [] }]);
  expect(partBlocksFor([])).toBe(128);
  expect([1, 128, 129, 16_384, 16_385, 2 ** 21, 2 ** 21 + 1, 2 ** 40].map(of)).toEqual([
    128,
    128,
    128,
    128,
    16_384,
    16_384,
    2 ** 21,
    2 ** 21,
  ]);
});

test("ranges that touch or overlap, in any order, are one, and end with the volume", async () => {
  const contents = emptyContents();
  const archive = await openTestArchive(createMemoryStore(contents), await stateDisk());
  const volume = await openTestVolume(archive, "e1.0", 30);
  await writeBlock(volume, 3, blockOf(3));
  await archive.close();
  const [tree] = treesOf(await rootsIn(createMemoryStore(contents)));
  tree!.bad.push(
    { from: 20, end: 128 },
    { from: 0, end: 2 },
    { from: 2, end: 5 },
    { from: 4, end: 6 },
    { from: 0, end: 1 },
  );
  expect(affectedOf([tree!])).toEqual([
    {
      volume: "e1.0",
      volumeId: expect.any(String),
      sectorCount: 48 + 80,
      ranges: [
        { sector: 0, sectorCount: 48 },
        { sector: 160, sectorCount: 80 },
      ],
      rangeCount: 2,
    },
  ]);
});
