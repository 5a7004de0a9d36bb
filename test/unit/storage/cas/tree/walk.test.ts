import { expect, test } from "bun:test";
import type { NodeError } from "../../../../../src/storage/cas/tree/node-reader.ts";
import { blocksUnder, depthOf } from "../../../../../src/storage/cas/tree/shape.ts";
import { VolumeTree } from "../../../../../src/storage/cas/tree/volume-tree.ts";
import { type Reached, type TreeRoot, walk } from "../../../../../src/storage/cas/tree/walk.ts";
import { seededRandom, testSeed } from "../../../../support/seeded-random.ts";
import { hashOf, hex, HOLE_HASH, makeTestNodeStore, type TestNodeStore } from "../../../../support/test-node-store.ts";
import { batchOf, collect, type Content, makeReader, makeTree } from "../../../../support/test-tree.ts";

async function makeVolume(content: Content, blockCount: number): Promise<{ store: TestNodeStore; tree: TreeRoot }> {
  const { store, tree } = makeTree(blockCount);
  await tree.setMany(...batchOf(content));
  return { store, tree: { root: await tree.commit(), blockCount } };
}

const brief = ({ hash, ...rest }: Reached) => ({ hash: hex(hash).slice(0, 8), ...rest });
const name = ({ hash, level, firstBlock }: Reached): string => `${level} ${firstBlock} ${hex(hash)}`;
const blocksOf = (items: readonly Reached[]): number[] =>
  items.filter(({ level }) => level === 0).map(({ firstBlock }) => firstBlock);

/** All that a walk should reach, by looking at every node that the store has. */
function reachable(store: TestNodeStore, { root, blockCount }: TreeRoot): string[] {
  const found: string[] = [];
  const visit = (hash: Uint8Array, level: number, firstBlock: number): void => {
    if (hex(hash) === hex(HOLE_HASH)) return;
    found.push(`${level} ${firstBlock} ${hex(hash)}`);
    const slots = level > 0 ? 128 : 0;
    for (let slot = 0; slot < slots; slot++) {
      const child = store.nodes.get(hex(hash))!.subarray(slot * 32, slot * 32 + 32);
      visit(child, level - 1, firstBlock + slot * blocksUnder(level - 1));
    }
  };
  visit(root, depthOf(blockCount), 0);
  return found;
}

test("a walk reaches nodes before what is under them, with the blocks of the volume that are under each", async () => {
  const { store, tree } = await makeVolume({ 3: 1, 130: 2 }, 200);
  const items = await collect(walk(makeReader(store), tree));
  const [leafA, leafB, root] = store.putOrder.map((hash) => hash.slice(0, 8));
  expect(items.map(brief)).toEqual([
    { hash: root!, level: 2, firstBlock: 0, blockCount: 200 },
    { hash: leafA!, level: 1, firstBlock: 0, blockCount: 128 },
    { hash: hex(hashOf(1)).slice(0, 8), level: 0, firstBlock: 3, blockCount: 1 },
    { hash: leafB!, level: 1, firstBlock: 128, blockCount: 72 },
    { hash: hex(hashOf(2)).slice(0, 8), level: 0, firstBlock: 130, blockCount: 1 },
  ]);
});

test("an empty volume reaches nothing", async () => {
  const { store } = makeTree(1);
  expect(await collect(walk(makeReader(store), { root: HOLE_HASH, blockCount: 5000 }))).toEqual([]);
});

test(`walks reach everything, from wherever they are resumed (VOE_TEST_SEED=${testSeed})`, async () => {
  const random = seededRandom(testSeed);
  for (const blockCount of [100, 16_384, 3_000_000]) {
    const content = new Map(Array.from({ length: 700 }, () => [random.below(blockCount), 1 + random.below(5)]));
    const { store, tree } = await makeVolume(content, blockCount);
    store.latency = seededRandom(testSeed);
    const all = await collect(walk(makeReader(store, 0), tree));
    expect(all.map(name)).toEqual(reachable(store, tree));
    for (let round = 0; round < 10; round++) {
      const fromBlock = random.below(blockCount);
      const rest = all.filter((item) => item.firstBlock + item.blockCount > fromBlock);
      expect((await collect(walk(makeReader(store), tree, { fromBlock }))).map(name)).toEqual(rest.map(name));
    }
    expect(await collect(walk(makeReader(store), tree, { fromBlock: blockCount }))).toEqual([]);
  }
});

test("a walk that is interrupted and resumed behind the last block reaches every block once", async () => {
  const content = new Map(Array.from({ length: 500 }, (_, at) => [at * 37, at + 1]));
  const { store, tree } = await makeVolume(content, 20_000);
  const reached: number[] = [];
  for (let fromBlock = 0; ;) {
    const before = reached.length;
    for await (const { level, firstBlock } of walk(makeReader(store), tree, { fromBlock })) {
      if (level > 0) continue;
      reached.push(firstBlock);
      if (reached.length === before + 7) break;
    }
    if (reached.length === before) break;
    fromBlock = reached.at(-1)! + 1;
  }
  expect(reached).toEqual([...content.keys()]);
});

test("what is not entered is neither reached nor read", async () => {
  const { store, tree } = await makeVolume({ 0: 1, 20_000: 2, 40_000: 3 }, 2 ** 21);
  const items = await collect(
    walk(makeReader(store), tree, { enter: ({ level, firstBlock }) => !(level === 2 && firstBlock === 16_384) }),
  );
  expect(blocksOf(items)).toEqual([0, 40_000]);
  expect(items.length).toBe(7);
  expect(store.gets).toBe(5);
});

test("a walk that skips what another volume has shown it reaches what is new only", async () => {
  const content = new Map(Array.from({ length: 200 }, (_, at) => [at * 500, at + 1]));
  const { store, tree } = await makeVolume(content, 100_000);
  const changed = new VolumeTree(makeReader(store), tree.blockCount, tree.root);
  await changed.set(500, hashOf(9999));
  const root = await changed.commit();
  const seen = new Set<string>();
  const enter = ({ hash, level }: Reached): boolean => {
    const key = `${level} ${hex(hash)}`;
    return !seen.has(key) && seen.add(key) !== undefined;
  };
  expect(blocksOf(await collect(walk(makeReader(store), tree, { enter })))).toEqual([...content.keys()]);
  store.gets = 0;
  const items = await collect(walk(makeReader(store), { ...tree, root }, { enter }));
  expect(items.map(({ level, firstBlock }) => [level, firstBlock])).toEqual([
    [3, 0],
    [2, 0],
    [1, 384],
    [0, 500],
  ]);
  expect(store.gets).toBe(3);
});

test("a block that holds the bytes of a node is a block", async () => {
  const inner = await makeVolume({ 1: 1 }, 128);
  const { store, tree } = makeTree(128);
  const [nodeHash, nodeBytes] = [...inner.store.nodes][0]!;
  store.nodes.set(nodeHash, nodeBytes);
  await tree.set(5, inner.tree.root);
  const items = await collect(walk(makeReader(store), { root: await tree.commit(), blockCount: 128 }));
  expect(items.map(({ level, firstBlock }) => [level, firstBlock])).toEqual([
    [1, 0],
    [0, 5],
  ]);
});

test("a walk tells of damage and goes on behind it, or ends there", async () => {
  const { store, tree } = await makeVolume({ 0: 1, 20_000: 2, 40_000: 3 }, 2 ** 21);
  const damaged = (await collect(walk(makeReader(store), tree))).find(
    ({ level, firstBlock }) => level === 2 && firstBlock === 16_384,
  )!;
  store.nodes.delete(hex(damaged.hash));
  const errors: NodeError[] = [];
  const items = await collect(walk(makeReader(store), tree, { onDamage: (error) => errors.push(error) }));
  expect(blocksOf(items)).toEqual([0, 40_000]);
  expect(errors.map(({ level, firstBlock, blockCount }) => [level, firstBlock, blockCount])).toEqual([
    [2, 16_384, 16_384],
  ]);

  const reached: Reached[] = [];
  const walking = (async () => {
    for await (const item of walk(makeReader(store), tree)) reached.push(item);
  })();
  expect(await walking.catch((error: Error) => error.message)).toContain("(level 2, blocks 16384 to 32767)");
  expect(blocksOf(reached)).toEqual([0]);
});

test("a walk reads siblings ahead, 16 at the most, and does not touch what the cache holds", async () => {
  const content = new Map(Array.from({ length: 128 }, (_, at) => [at * 128, at + 1]));
  const { store, tree } = await makeVolume(content, 16_384);
  store.latency = { below: () => 1 };
  const reader = makeReader(store);
  expect(blocksOf(await collect(walk(reader, tree)))).toEqual([...content.keys()]);
  expect(store.getsAtOnce).toBe(16);
  expect(reader.cache.nodeCount).toBe(0);
});

test("a walk in memory gives the event loop its turn", async () => {
  const store = makeTestNodeStore();
  const reader = makeReader(store);
  const tree = new VolumeTree(reader, 300_000);
  await tree.setMany(...batchOf(new Map(Array.from({ length: 2000 }, (_, at) => [at * 128, at + 1]))));
  const root = await tree.commit();
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  await collect(walk(reader, { root, blockCount: 300_000 }));
  clearInterval(timer);
  expect(turns).toBeGreaterThan(0);
});
