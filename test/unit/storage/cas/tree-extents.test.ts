import { expect, test } from "bun:test";
import { SECTOR_BYTES, type Extent } from "../../../../src/storage/block-storage.ts";
import { dirtyBlocks, CLEAN, ZERO, type DirtyBlocks } from "../../../../src/storage/cas/dirty-blocks.ts";
import { treeExtents } from "../../../../src/storage/cas/tree-extents.ts";
import type { TreeRoot } from "../../../../src/storage/cas/tree/walk.ts";
import { extentList } from "../../../../src/storage/extent-list.ts";
import { reasonOf } from "../../../support/reason-of.ts";
import { seededRandom, testSeed, type SeededRandom } from "../../../support/seeded-random.ts";
import { batchOf, makeReader, makeTree } from "../../../support/test-tree.ts";

const BLOCK_SECTORS = 4;
const BLOCK_BYTES = BLOCK_SECTORS * SECTOR_BYTES;

/** A committed tree of these blocks, and a reader that has nothing of it in memory. */
async function committed(blockCount: number, blocks: readonly number[]) {
  const { store, tree } = makeTree(blockCount);
  await tree.setMany(...batchOf(new Map(blocks.map((block) => [block, block + 1]))));
  const root: TreeRoot = { root: await tree.commit(), blockCount };
  return { store, root, reader: makeReader(store) };
}

/** Writes and discards of a few sectors, of whole blocks, and of many. */
function randomLayer(random: SeededRandom, sectorCount: number): DirtyBlocks {
  const layer = dirtyBlocks(BLOCK_SECTORS);
  for (let changes = random.below(12); changes > 0; changes--) {
    const sector = random.below(sectorCount);
    const count = Math.min(sectorCount - sector, 1 + random.below(random.pick([3, 16, 400])));
    if (random.chance(0.5)) layer.write(sector, count, 1000, 1);
    else layer.discard(sector, count);
  }
  return layer;
}

test(`extents are what the newest layer says of each sector, then the tree (VOE_TEST_SEED=${testSeed})`, async () => {
  const random = seededRandom(testSeed);
  for (let round = 0; round < 150; round++) {
    const blockCount = 1 + random.below(600);
    const first = random.below(blockCount);
    const inTree = new Set<number>();
    for (let block = first; block < blockCount; block += 1 + random.below(random.pick([1, 3, 200]))) inTree.add(block);
    const { root, reader } = await committed(blockCount, [...inTree]);
    // A volume may have grown since the commit, and not be a multiple of its blocks.
    const sectorCount = blockCount * BLOCK_SECTORS + random.pick([0, -1, -3, 700]);
    const layers = Array.from({ length: random.below(3) }, () => randomLayer(random, sectorCount));
    const isHole = (sector: number): boolean => {
      const place = layers.map((layer) => layer.placeOf(sector)).find((found) => found !== CLEAN);
      return place === undefined ? !inTree.has(Math.floor(sector / BLOCK_SECTORS)) : place === ZERO;
    };
    const from = random.below(sectorCount);
    const count = 1 + random.below(sectorCount - from);
    const most = random.pick([1, 2, 7, 1000]);
    const expected = extentList(most);
    for (let sector = from; sector < from + count; sector++) expected.add(1, isHole(sector));
    const found = await treeExtents({ reader, tree: root, blockBytes: BLOCK_BYTES, layers }, from, count, most);
    expect({ round, found }).toEqual({ round, found: expected.extents });
  }
});

test("what is written while nodes are being read does not show", async () => {
  const { root, reader } = await committed(300_000, [299_999]);
  const layer = dirtyBlocks(BLOCK_SECTORS);
  layer.write(40, 4, 1000, 1);
  const source = { reader, tree: root, blockBytes: BLOCK_BYTES, layers: [layer] };
  const finding = treeExtents(source, 0, 300_000 * BLOCK_SECTORS, 9);
  layer.discard(0, 1_200_000);
  layer.write(80, 400, 2000, 1);
  expect(await finding).toEqual([
    { sectorCount: 40, isHole: true },
    { sectorCount: 4, isHole: false },
    { sectorCount: 299_999 * BLOCK_SECTORS - 44, isHole: true },
    { sectorCount: BLOCK_SECTORS, isHole: false },
  ]);
});

test("a disk of petabytes that is empty but for its ends takes a few nodes, which stay at hand", async () => {
  const blockCount = 2 ** 40;
  const { store, root, reader } = await committed(blockCount, [0, blockCount - 1]);
  store.gets = 0;
  const source = { reader, tree: root, blockBytes: BLOCK_BYTES, layers: [] };
  const ask = (): Promise<Extent[]> => treeExtents(source, 0, blockCount * BLOCK_SECTORS, 9);
  const extents = await ask();
  expect(extents.map(({ sectorCount }) => sectorCount / BLOCK_SECTORS)).toEqual([1, blockCount - 2, 1]);
  const gets = store.gets;
  expect(gets).toBeLessThan(16);
  expect(await ask()).toEqual(extents);
  expect(store.gets).toBe(gets);
});

test("more changes than one call looks at end its extents early, and the next call goes on", async () => {
  const { root, reader } = await committed(100_000, []);
  const layer = dirtyBlocks(BLOCK_SECTORS);
  layer.write(0, 100_000 * BLOCK_SECTORS, 1000, 1);
  const source = { reader, tree: root, blockBytes: BLOCK_BYTES, layers: [layer] };
  const list = extentList(1000);
  let calls = 0;
  for (let at = 0; at < 100_000 * BLOCK_SECTORS; calls++) {
    for (const { sectorCount, isHole } of await treeExtents(source, at, 100_000 * BLOCK_SECTORS - at, 2)) {
      list.add(sectorCount, isHole);
      at += sectorCount;
    }
  }
  expect(list.extents).toEqual([{ sectorCount: 100_000 * BLOCK_SECTORS, isHole: false }]);
  expect(calls).toBe(4);
});

test("more of a tree than one call reads ends its extents early, and the next call goes on", async () => {
  const blockCount = 3000 * 128;
  const { root, reader } = await committed(
    blockCount,
    Array.from({ length: 3000 }, (_, leaf) => leaf * 128 + 5),
  );
  const source = { reader, tree: root, blockBytes: BLOCK_BYTES, layers: [] };
  const first = await treeExtents(source, 0, blockCount * BLOCK_SECTORS, 100_000);
  expect(first.reduce((sum, { sectorCount }) => sum + sectorCount, 0)).toBe(2048 * 128 * BLOCK_SECTORS);
  expect(first.length).toBe(2 * 2048 + 1);
  const from = 2048 * 128 * BLOCK_SECTORS;
  const second = await treeExtents(source, from, blockCount * BLOCK_SECTORS - from, 100_000);
  expect(second.reduce((sum, { sectorCount }) => sum + sectorCount, 0)).toBe(952 * 128 * BLOCK_SECTORS);
});

test("a node that is missing is an error, and no hole", async () => {
  const { root } = await committed(1000, [5, 900]);
  const { store: empty } = makeTree(1000);
  const source = { reader: makeReader(empty), tree: root, blockBytes: BLOCK_BYTES, layers: [] };
  expect(await reasonOf(treeExtents(source, 0, 8, 1))).toContain("is not in the store");
});
