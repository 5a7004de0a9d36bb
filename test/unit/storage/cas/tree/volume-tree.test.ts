import { describe, expect, test } from "bun:test";
import { LATER } from "../../../../../src/storage/block-storage.ts";
import { NodeCache } from "../../../../../src/storage/cas/tree/node-cache.ts";
import { CHANGED_NODE_BYTES } from "../../../../../src/storage/cas/tree/tree-node.ts";
import { FOUND, HOLE, VolumeTree } from "../../../../../src/storage/cas/tree/volume-tree.ts";
import { reasonOf } from "../../../../support/reason-of.ts";
import { hashOf, hex, HOLE_HASH } from "../../../../support/test-node-store.ts";
import { batchOf, lookUp, makeReader, makeTree, NOTHING, rootOf, shown } from "../../../../support/test-tree.ts";

const ZERO_ROOT = hex(HOLE_HASH);
const target = new Uint8Array(64);

describe("lookups", () => {
  test("a block that was set is found at once, its hash at the place asked for", async () => {
    const { tree } = makeTree(20_000);
    await tree.set(19_999, hashOf(7));
    target.fill(0xee);
    expect(tree.tryLookup(19_999, target, 5)).toBe(FOUND);
    expect(hex(target.subarray(5, 37))).toBe(hex(hashOf(7)));
    expect(target[4]).toBe(0xee);
    expect(target[37]).toBe(0xee);
    expect(tree.tryLookup(19_998, target, 0)).toBe(HOLE);
    expect(tree.tryLookup(0, target, 0)).toBe(HOLE);
  });

  test("a block beyond the end is a mistake of the caller", async () => {
    const { tree } = makeTree(100);
    for (const block of [-1, 100, NaN]) {
      expect(() => tree.tryLookup(block, target, 0)).toThrow(RangeError);
      expect(await reasonOf(tree.lookup(block, target, 0))).toContain("of a volume of 100 blocks");
    }
  });

  test("with an empty cache a lookup is LATER, then reads one node a level, then is answered at once", async () => {
    const { store, tree } = makeTree(20_000);
    await tree.set(300, hashOf(1));
    const root = await tree.commit();
    const reopened = new VolumeTree(makeReader(store), 20_000, root);
    expect(reopened.tryLookup(300, target, 0)).toBe(LATER);
    expect(await lookUp(reopened, 300)).toBe(shown(1));
    expect(store.gets).toBe(3);
    expect(reopened.tryLookup(300, target, 0)).toBe(FOUND);
    expect(reopened.tryLookup(301, target, 0)).toBe(HOLE);
    expect(store.gets).toBe(3);
  });

  test("a node that the store has in memory is taken without a promise", async () => {
    const { store, tree } = makeTree(20_000);
    await tree.set(300, hashOf(1));
    const reader = makeReader(store);
    const reopened = new VolumeTree(reader, 20_000, await tree.commit());
    store.isInMemory = true;
    expect(reopened.tryLookup(300, target, 0)).toBe(FOUND);
    expect(store.gets).toBe(0);
    expect(reader.loads).toBe(3);
  });

  test("lookups that want the same node at the same time read it once", async () => {
    const { store, tree } = makeTree(128);
    await tree.set(3, hashOf(1));
    const reopened = new VolumeTree(makeReader(store), 128, await tree.commit());
    expect(await Promise.all([3, 3, 4].map((block) => lookUp(reopened, block)))).toEqual([shown(1), shown(1), "hole"]);
    expect(store.gets).toBe(1);
  });

  test("a lookup tells what the block was when it was called", async () => {
    const { store, tree } = makeTree(20_000);
    await tree.set(300, hashOf(1));
    const reopened = new VolumeTree(makeReader(store), 20_000, await tree.commit());
    const before = lookUp(reopened, 300);
    await reopened.set(300, hashOf(2));
    expect(await before).toBe(shown(1));
    expect(await lookUp(reopened, 300)).toBe(shown(2));
  });

  test("blocks at both ends of the largest volume there can be are found", async () => {
    const blockCount = 2 ** 44;
    const { tree } = makeTree(blockCount);
    await tree.setMany(...batchOf({ 0: 1, [2 ** 33 + 7]: 2, [blockCount - 1]: 3 }));
    expect(await lookUp(tree, 0)).toBe(shown(1));
    expect(await lookUp(tree, 2 ** 33 + 7)).toBe(shown(2));
    expect(await lookUp(tree, blockCount - 1)).toBe(shown(3));
    expect(await lookUp(tree, 7)).toBe("hole");
  });
});

describe("changes", () => {
  test("a change that fails changes nothing, and the tree goes on", async () => {
    const { store, tree } = makeTree(20_000);
    await tree.setMany(...batchOf({ 10: 1, 300: 2 }));
    const root = await tree.commit();
    const leafOf300 = store.putOrder[1]!;
    const bytes = store.nodes.get(leafOf300)!;
    store.nodes.delete(leafOf300);
    const reopened = new VolumeTree(makeReader(store), 20_000, root);
    expect(await reasonOf(reopened.setMany(...batchOf({ 10: 7, 300: 8, 9000: 9 })))).toContain("is not in the store");
    expect(reopened.changedNodes).toBe(0);
    expect(await lookUp(reopened, 10)).toBe(shown(1));
    expect(await lookUp(reopened, 9000)).toBe("hole");
    await reopened.set(9000, hashOf(5));
    expect(hex(await reopened.commit())).not.toBe(hex(root));
    store.nodes.set(leafOf300, bytes);
    await reopened.set(9000, HOLE_HASH);
    expect(hex(await reopened.commit())).toBe(hex(root));
  });

  test("arguments that make no sense are refused before anything is done", async () => {
    const { tree } = makeTree(100);
    const two = new Uint8Array(64).fill(1);
    expect(await reasonOf(tree.setMany([5, 5], two))).toContain("must ascend");
    expect(await reasonOf(tree.setMany([5, 4], two))).toContain("must ascend");
    expect(await reasonOf(tree.setMany([5, 100], two))).toContain("block 100 of a volume of 100 blocks");
    expect(await reasonOf(tree.setMany([5, 6.5], two))).toContain("block 6.5");
    expect(await reasonOf(tree.setMany([5], two))).toContain("64 bytes of hashes for 1 blocks");
    expect(await reasonOf(tree.clear(99, 2))).toContain("block 100 of");
    expect(await reasonOf(tree.clear(-1, 2))).toContain("of a volume of 100 blocks");
    expect(await reasonOf(tree.clear(0, 1.5))).toContain("of a volume of 100 blocks");
    expect(await reasonOf(tree.grow(99))).toContain("cannot shrink");
    expect(hex(await tree.commit())).toBe(ZERO_ROOT);
    expect(tree.blockCount).toBe(100);
  });

  test("a leaf that is overwritten as a whole is not read", async () => {
    const { store, tree } = makeTree(128);
    const all = new Map(Array.from({ length: 128 }, (_, block) => [block, block + 1]));
    await tree.setMany(...batchOf(all));
    const reopened = new VolumeTree(makeReader(store), 128, await tree.commit());
    await reopened.setMany(...batchOf(new Map([...all].map(([block, content]) => [block, content + 1000]))));
    expect(store.gets).toBe(0);
    expect(await lookUp(reopened, 127)).toBe(shown(1128));
  });

  test("a batch reads many nodes at a time, but no more than 64", async () => {
    const { store, tree } = makeTree(16_384);
    const everyLeaf = new Map(Array.from({ length: 128 }, (_, leaf) => [leaf * 128, leaf + 1]));
    await tree.setMany(...batchOf(everyLeaf));
    const reopened = new VolumeTree(makeReader(store), 16_384, await tree.commit());
    store.latency = { below: () => 1 };
    await reopened.setMany(...batchOf(new Map([...everyLeaf.keys()].map((block) => [block + 1, 5]))));
    expect(store.gets).toBe(129);
    expect(store.getsAtOnce).toBe(64);
  });

  test("holes in what is a hole make no node", async () => {
    const { tree } = makeTree(2 ** 30);
    await tree.setMany(...batchOf({ 5: NOTHING, [2 ** 29]: NOTHING }));
    await tree.clear(7, 2 ** 29);
    expect(tree.changedNodes).toBe(0);
  });

  test("clearing most of a large volume reads only the nodes at its edges", async () => {
    const blockCount = 2 ** 30;
    const { store, tree } = makeTree(blockCount);
    const kept = { 3: 1, [blockCount - 2]: 2 };
    const dropped = new Map(Array.from({ length: 300 }, (_, at) => [1000 + at * 3_000_017, at + 5]));
    await tree.setMany(...batchOf({ ...kept, ...Object.fromEntries(dropped) }));
    const reopened = new VolumeTree(makeReader(store), blockCount, await tree.commit());
    await reopened.clear(4, blockCount - 6);
    expect(store.gets).toBeLessThanOrEqual(2 * 5);
    expect(hex(await reopened.commit())).toBe(await rootOf(kept, blockCount));
  });

  test("clearing a whole volume reads nothing and leaves the empty root", async () => {
    const { store, tree } = makeTree(1000);
    await tree.setMany(...batchOf({ 3: 1, 999: 2 }));
    const reopened = new VolumeTree(makeReader(store), 1000, await tree.commit());
    await reopened.clear(0, 1000);
    expect(store.gets).toBe(0);
    expect(hex(await reopened.commit())).toBe(ZERO_ROOT);
  });
});

describe("what became data", () => {
  test("is counted as blocks are set, overwritten and discarded, and from where it was told", async () => {
    const { tree } = makeTree(5000);
    await tree.setMany(...batchOf(new Map(Array.from({ length: 300 }, (_, block) => [block, block + 1]))));
    expect(tree.allocationChange).toBe(300);
    await tree.setMany(
      ...batchOf(
        new Map([
          [299, 7],
          [300, 8],
          [301, NOTHING],
          [2, NOTHING],
        ]),
      ),
    );
    expect(tree.allocationChange).toBe(300);
    await tree.clear(120, 4);
    expect(tree.allocationChange).toBe(296);
    tree.countAllocationFromHere();
    expect(tree.allocationChange).toBe(0);
    await tree.clear(298, 1);
    expect(tree.allocationChange).toBe(-1);
  });

  test("is not known where a leaf was replaced that was not read, until it is counted from there", async () => {
    const { tree } = makeTree(5000);
    const leaf = batchOf(new Map(Array.from({ length: 128 }, (_, block) => [block, block + 1])));
    await tree.setMany(...leaf);
    expect(tree.allocationChange).toBe(128);
    await tree.commit();
    await tree.setMany(...leaf);
    expect(tree.allocationChange).toBeUndefined();
    await tree.setMany(...batchOf(new Map([[200, 1]])));
    expect(tree.allocationChange).toBeUndefined();
    tree.countAllocationFromHere();
    await tree.clear(0, 128);
    expect(tree.allocationChange).toBeUndefined();
  });
});

describe("memory", () => {
  test("changed nodes are counted until they are stored", async () => {
    const { tree } = makeTree(20_000);
    expect(tree.changedBytes).toBe(0);
    await tree.set(300, hashOf(1));
    expect(tree.changedNodes).toBe(3);
    await tree.setMany(...batchOf({ 301: 1, 600: 1 }));
    expect(tree.changedNodes).toBe(4);
    expect(tree.changedBytes).toBe(4 * CHANGED_NODE_BYTES);
    await tree.clear(0, 10_000);
    expect(tree.changedNodes).toBe(2);
    await tree.commit();
    expect(tree.changedNodes).toBe(0);
  });

  test("the cache never holds more than its limit, and a tree works with the smallest", async () => {
    const { store, tree } = makeTree(2 ** 21);
    const content = new Map(Array.from({ length: 200 }, (_, at) => [at * 10_000, at + 1]));
    await tree.setMany(...batchOf(content));
    const root = await tree.commit();
    for (const limitBytes of [0, 4096, 5 * 4200]) {
      const reader = makeReader(store, limitBytes);
      const reopened = new VolumeTree(reader, 2 ** 21, root);
      for (const [block, number] of content) expect(await lookUp(reopened, block)).toBe(shown(number));
      expect(reader.cache.usedBytes).toBeLessThanOrEqual(Math.max(limitBytes, new NodeCache(0).capacity * 4200));
      await reopened.set(5, hashOf(5));
      expect(hex(await reopened.commit())).toBe(await rootOf(new Map([...content, [5, 5]]), 2 ** 21));
    }
  });
});

describe("growth", () => {
  test("a grown volume has the old root as its leftmost child, read from nowhere", async () => {
    const { store, tree } = makeTree(100);
    await tree.set(7, hashOf(1));
    const root = await tree.commit();
    const reopened = new VolumeTree(makeReader(store), 100, root);
    const puts = store.putOrder.length;
    await reopened.grow(3_000_000);
    expect(reopened.blockCount).toBe(3_000_000);
    expect(store.gets).toBe(0);
    expect(reopened.changedNodes).toBe(3);
    const grown = await reopened.commit();
    expect(store.putOrder.length - puts).toBe(3);
    expect(hex(store.nodes.get(store.putOrder[puts]!)!.subarray(0, 32))).toBe(hex(root));
    expect(hex(grown)).toBe(await rootOf({ 7: 1 }, 3_000_000));
    expect(await lookUp(reopened, 7)).toBe(shown(1));
    expect(await lookUp(reopened, 2_999_999)).toBe("hole");
  });

  test("growth within the depth changes no node", async () => {
    const { tree } = makeTree(129);
    await tree.set(7, hashOf(1));
    const root = await tree.commit();
    await tree.grow(16_384);
    expect(tree.changedNodes).toBe(0);
    expect(hex(await tree.commit())).toBe(hex(root));
    await tree.set(16_383, hashOf(2));
    expect(await lookUp(tree, 16_383)).toBe(shown(2));
  });

  test("an empty volume grows to an empty one", async () => {
    const { tree } = makeTree(1);
    await tree.grow(2 ** 40);
    expect(hex(await tree.commit())).toBe(ZERO_ROOT);
  });
});
