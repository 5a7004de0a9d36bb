import { expect, test } from "bun:test";
import { allocatedRanges, diff } from "../../../../../src/storage/cas/tree/diff.ts";
import { VolumeTree } from "../../../../../src/storage/cas/tree/volume-tree.ts";
import { reasonOf } from "../../../../support/reason-of.ts";
import { hashOf, hex, HOLE_HASH } from "../../../../support/test-node-store.ts";
import { batchOf, collect, makeReader, makeTree } from "../../../../support/test-tree.ts";

const range = (firstBlock: number, blockCount: number) => ({ firstBlock, blockCount });

/** A tree of 300,000 blocks with content all over, and one that differs in blocks 126 to 130 and 250,000. */
async function makePair() {
  const { store, tree } = makeTree(300_000);
  await tree.setMany(...batchOf(new Map(Array.from({ length: 2000 }, (_, at) => [at * 150, at + 1]))));
  const a = { root: await tree.commit(), blockCount: 300_000 };
  await tree.setMany(...batchOf({ 126: 1, 127: 2, 128: 3, 129: 4, 130: 5, 250_000: 6 }));
  return { store, a, b: { root: await tree.commit(), blockCount: 300_000 } };
}

test("neighbouring blocks are one range, across nodes too, and only nodes above changes are read", async () => {
  const { store, a, b } = await makePair();
  expect(await collect(diff(makeReader(store), a, b))).toEqual([range(126, 5), range(250_000, 1)]);
  expect(store.gets).toBe(2 * (1 + 2 + 3));
});

test("a tree does not differ from itself, and nothing is read to tell", async () => {
  const { store, a } = await makePair();
  expect(await collect(diff(makeReader(store), a, a))).toEqual([]);
  expect(store.gets).toBe(0);
});

test("only changes in the part that was asked for are told", async () => {
  const { store, a, b } = await makePair();
  expect(await collect(diff(makeReader(store), a, b, { fromBlock: 128, toBlock: 130 }))).toEqual([range(128, 2)]);
  expect(await collect(diff(makeReader(store), a, b, { fromBlock: 131 }))).toEqual([range(250_000, 1)]);
  store.gets = 0;
  expect(await collect(diff(makeReader(store), a, b, { toBlock: 126 }))).toEqual([]);
  expect(store.gets).toBe(2 * 3);
});

test("what a grown volume has more than a smaller one is a change where it is data", async () => {
  const { store, tree } = makeTree(100);
  await tree.setMany(...batchOf({ 5: 1, 99: 2 }));
  const a = { root: await tree.commit(), blockCount: 100 };
  for (const blockCount of [100_000, 2 ** 40]) {
    await tree.grow(blockCount);
    const grown = { root: await tree.commit(), blockCount };
    store.gets = 0;
    expect(await collect(diff(makeReader(store), a, grown))).toEqual([]);
    expect(store.gets).toBeLessThan(8);
    await tree.setMany(...batchOf({ 99: blockCount, 100: 3, 50_000: 4, [blockCount - 1]: 5 }));
    const b = { root: await tree.commit(), blockCount };
    const expected = [range(99, 2), range(50_000, 1), range(blockCount - 1, 1)];
    expect(await collect(diff(makeReader(store), a, b))).toEqual(expected);
    expect(await collect(diff(makeReader(store), b, a))).toEqual(expected);
    await tree.setMany(...batchOf({ 99: 2, 100: 0, 50_000: 0, [blockCount - 1]: 0 }));
  }
});

test("a block with the bytes of a node is not taken for a part of a tree of another depth", async () => {
  const small = makeTree(128);
  await small.tree.set(0, hashOf(1));
  const a = { root: await small.tree.commit(), blockCount: 128 };
  // A block of the other volume is such that its leaf has the very hash of the small volume's root.
  const { store, tree } = makeTree(16_384);
  for (const [hash, bytes] of small.store.nodes) store.nodes.set(hash, bytes);
  const forged = new Uint8Array(4096);
  forged.set(a.root);
  await tree.set(0, hashOf(2));
  const root = await tree.commit();
  const top = store.nodes.get(hex(root))!;
  expect(hex(top.subarray(0, 32))).not.toBe(hex(a.root));
  // The root of depth 2 whose first child has the root of depth 1 as the hash of its first *block*.
  const leafHash = (await store.put(forged)).slice();
  top.set(leafHash);
  const b = { root: await store.put(top), blockCount: 16_384 };
  const c = { root: leafHash, blockCount: 128 };
  expect(await collect(diff(makeReader(store), c, b))).toEqual([]);
  expect(await collect(diff(makeReader(store), a, b))).toEqual([range(0, 1)]);
  // A volume of depth 1 with the root of that of depth 2: the same hash, another meaning.
  expect(await collect(diff(makeReader(store), { root: b.root, blockCount: 128 }, b))).toEqual([range(0, 1)]);
});

test("data and holes take turns and cover the volume; holes and blocks are not read", async () => {
  const { store, tree } = makeTree(2 ** 40);
  await tree.setMany(...batchOf({ 0: 1, 1: 2, 128: 3, [2 ** 39]: 4 }));
  const root = { root: await tree.commit(), blockCount: 2 ** 40 };
  const reader = makeReader(store);
  expect(await collect(allocatedRanges(reader, root))).toEqual([
    { firstBlock: 0, blockCount: 2, isHole: false },
    { firstBlock: 2, blockCount: 126, isHole: true },
    { firstBlock: 128, blockCount: 1, isHole: false },
    { firstBlock: 129, blockCount: 2 ** 39 - 129, isHole: true },
    { firstBlock: 2 ** 39, blockCount: 1, isHole: false },
    { firstBlock: 2 ** 39 + 1, blockCount: 2 ** 39 - 1, isHole: true },
  ]);
  expect(store.gets).toBeLessThanOrEqual(1 + 2 * 5 + 1);
  expect(await collect(allocatedRanges(reader, root, { fromBlock: 1, toBlock: 129 }))).toEqual([
    { firstBlock: 1, blockCount: 1, isHole: false },
    { firstBlock: 2, blockCount: 126, isHole: true },
    { firstBlock: 128, blockCount: 1, isHole: false },
  ]);
  expect(await collect(allocatedRanges(reader, root, { fromBlock: 7, toBlock: 7 }))).toEqual([]);
});

test("an empty volume is one hole", async () => {
  const { reader } = makeTree(1);
  expect(await collect(allocatedRanges(reader, { root: HOLE_HASH, blockCount: 9 }))).toEqual([
    { firstBlock: 0, blockCount: 9, isHole: true },
  ]);
});

test("a missing node ends a diff with an error, and no range of it is told as a hole", async () => {
  const { store, a, b } = await makePair();
  const tree = new VolumeTree(makeReader(store), b.blockCount, b.root);
  await tree.set(250_000, hashOf(77));
  const c = { root: await tree.commit(), blockCount: b.blockCount };
  store.nodes.delete(store.putOrder.at(-3)!);
  expect(await reasonOf(collect(diff(makeReader(store), b, c)))).toContain("(level 1, blocks 249984 to 250111)");
  expect(await reasonOf(collect(allocatedRanges(makeReader(store), c)))).toContain("is not in the store");
  expect(await collect(diff(makeReader(store), a, b))).toEqual([range(126, 5), range(250_000, 1)]);
});
