import { expect, test } from "bun:test";
import { FOUND, VolumeTree } from "../../../../../src/storage/cas/tree/volume-tree.ts";
import { reasonOf } from "../../../../support/reason-of.ts";
import { hashOf, hex, HOLE_HASH } from "../../../../support/test-node-store.ts";
import { batchOf, lookUp, makeReader, makeTree, rootOf, shown } from "../../../../support/test-tree.ts";

const ZERO_ROOT = hex(HOLE_HASH);
const target = new Uint8Array(32);

test("an empty volume has the zero root, and nothing is stored for it", async () => {
  const { store, tree } = makeTree(1000);
  expect(hex(await tree.commit())).toBe(ZERO_ROOT);
  await tree.set(5, hashOf(1));
  await tree.set(5, HOLE_HASH);
  expect(hex(await tree.commit())).toBe(ZERO_ROOT);
  expect(store.putOrder).toEqual([]);
  expect(tree.changedNodes).toBe(0);
});

test("a commit without changes stores nothing and yields the root", async () => {
  const { store, tree } = makeTree(1000);
  await tree.set(5, hashOf(1));
  const root = await tree.commit();
  const puts = store.putOrder.length;
  expect(hex(await tree.commit())).toBe(hex(root));
  expect(hex(tree.committedRoot)).toBe(hex(root));
  expect(store.putOrder.length).toBe(puts);
});

test("a commit stores changed nodes only", async () => {
  const { store, tree } = makeTree(2 ** 21);
  await tree.setMany(...batchOf(new Map(Array.from({ length: 100 }, (_, at) => [at * 20_000, at + 1]))));
  await tree.commit();
  const before = store.putOrder.length;
  await tree.set(20_000, hashOf(999));
  await tree.commit();
  expect(store.putOrder.length - before).toBe(3);
});

test("nodes are put bottom up, ascending within a level, no level before the one below was taken", async () => {
  const { store, tree } = makeTree(2 ** 21);
  await tree.setMany(...batchOf(new Map(Array.from({ length: 300 }, (_, at) => [at * 6_000, at + 1]))));
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  store.gate = gate;
  const committing = tree.commit();
  await Promise.resolve();
  open();
  const root = hex(await committing);
  expect(store.putOrder.at(-1)).toBe(root);
  const place = new Map(store.putOrder.map((hash, at) => [hash, at]));
  const taken = new Map(store.takenOrder.map((hash, at) => [hash, at]));
  const children = (hash: string): string[] =>
    Array.from({ length: 128 }, (_, slot) => hex(store.nodes.get(hash)!.subarray(slot * 32, slot * 32 + 32))).filter(
      (child) => child !== ZERO_ROOT,
    );
  const middle = children(root);
  const leaves = middle.flatMap(children);
  expect(leaves.length).toBe(300);
  expect(store.putOrder).toEqual([...leaves, ...middle, root]);
  for (const hash of [root, ...middle]) {
    for (const child of children(hash).filter((child) => place.has(child))) {
      expect(taken.get(child)!).toBeLessThan(taken.get(hash)!);
    }
  }
});

test("reads go on during a commit, and changes then belong to the next one", async () => {
  const { store, tree } = makeTree(20_000);
  const first = { 10: 1, 300: 2, 19_000: 3 };
  await tree.setMany(...batchOf(first));
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  store.gate = gate;
  const committing = tree.commit();
  expect(await lookUp(tree, 300)).toBe(shown(2));
  await tree.setMany(...batchOf({ 300: 7, 301: 8 }));
  expect(tree.tryLookup(300, target, 0)).toBe(FOUND);
  expect(hex(target.subarray(0, 32))).toBe(shown(7));
  const second = tree.commit();
  await tree.set(10, HOLE_HASH);
  await tree.grow(3_000_000);
  await tree.clear(19_000, 1);
  expect(await lookUp(tree, 10)).toBe("hole");
  open();
  expect(hex(await committing)).toBe(await rootOf(first, 20_000));
  expect(hex(await second)).toBe(await rootOf({ ...first, 300: 7, 301: 8 }, 20_000));
  const third = { 300: 7, 301: 8 };
  expect(hex(await tree.commit())).toBe(await rootOf(third, 3_000_000));
  expect(tree.changedNodes).toBe(0);
});

test("a commit that was called after changes includes them, though they still wait for nodes", async () => {
  const { store, tree } = makeTree(20_000);
  await tree.set(300, hashOf(1));
  const reopened = new VolumeTree(makeReader(store), 20_000, await tree.commit());
  const changing = reopened.setMany(...batchOf({ 301: 2, 9000: 3 }));
  const committing = reopened.commit();
  const late = reopened.set(302, hashOf(4));
  expect(hex(await committing)).toBe(await rootOf({ 300: 1, 301: 2, 9000: 3 }, 20_000));
  await Promise.all([changing, late]);
});

test("a commit that fails loses nothing, and the next one stores the rest", async () => {
  const { store, tree } = makeTree(2 ** 21);
  const content = new Map(Array.from({ length: 50 }, (_, at) => [at * 40_000, at + 1]));
  await tree.setMany(...batchOf(content));
  const changed = tree.changedNodes;
  for (const puts of [0, 20, 55, 99]) {
    store.putsUntilFailure = puts - store.putOrder.length;
    expect(await reasonOf(tree.commit())).toBe("no space left on device");
    expect(tree.changedNodes).toBe(changed - puts);
    expect(hex(tree.committedRoot)).toBe(ZERO_ROOT);
    for (const block of [0, 40_000, 1_960_000]) expect(await lookUp(tree, block)).toBe(shown(content.get(block)));
  }
  await tree.set(40_001, hashOf(77));
  expect(hex(await tree.commit())).toBe(await rootOf(new Map([...content, [40_001, 77]]), 2 ** 21));
  expect(tree.changedNodes).toBe(0);
});

test("a commit behind one that failed stores what that one did not", async () => {
  const { store, tree } = makeTree(20_000);
  await tree.set(1, hashOf(1));
  store.putsUntilFailure = 1;
  const first = reasonOf(tree.commit());
  await tree.set(2, hashOf(2));
  const second = tree.commit().then(hex);
  expect(await first).toBe("no space left on device");
  expect(await second).toBe(await rootOf({ 1: 1, 2: 2 }, 20_000));
  expect(tree.changedNodes).toBe(0);
});
