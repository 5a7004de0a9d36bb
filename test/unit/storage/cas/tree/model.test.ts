/** Trees against a plain Map, at random: VOE_TEST_SEED=N repeats a run. */
import { expect, test } from "bun:test";
import { LATER } from "../../../../../src/storage/block-storage.ts";
import { allocatedRanges, diff } from "../../../../../src/storage/cas/tree/diff.ts";
import { CACHED_NODE_BYTES } from "../../../../../src/storage/cas/tree/node-cache.ts";
import { HOLE, VolumeTree } from "../../../../../src/storage/cas/tree/volume-tree.ts";
import type { TreeRoot } from "../../../../../src/storage/cas/tree/walk.ts";
import { reasonOf } from "../../../../support/reason-of.ts";
import { seededRandom, type SeededRandom, testSeed } from "../../../../support/seeded-random.ts";
import { hashOf, hex, HOLE_HASH, makeTestNodeStore } from "../../../../support/test-node-store.ts";
import { batchOf, collect, lookUp, makeReader, NOTHING, rootOf, shown } from "../../../../support/test-tree.ts";

const SIZES = [1, 127, 128, 129, 5000, 16_384, 16_385, 300_000, 2 ** 21 + 1, 2 ** 35];

/** Blocks in clusters, since volumes are written so: neighbours, whole leaves, and lone ones. */
function randomBlock(random: SeededRandom, blockCount: number): number {
  if (random.chance(0.5)) return random.below(Math.min(blockCount, 700));
  if (random.chance(0.3)) return blockCount - 1 - random.below(Math.min(blockCount, 300));
  return random.below(blockCount);
}

function randomChanges(random: SeededRandom, blockCount: number): Map<number, number> {
  const changes = new Map<number, number>();
  for (let runs = random.below(6); runs >= 0; runs--) {
    const first = randomBlock(random, blockCount);
    const count = random.chance(0.3) ? 300 : 1 + random.below(5);
    const isHole = random.chance(0.3);
    for (let block = first; block < Math.min(first + count, blockCount); block++) {
      // Few contents, so that whole nodes are the same now and then.
      changes.set(block, isHole ? NOTHING : 1 + random.below(random.chance(0.5) ? 1 : 1000));
    }
  }
  return changes;
}

function apply(model: Map<number, number>, changes: ReadonlyMap<number, number>): void {
  for (const [block, content] of changes) {
    if (content === NOTHING) model.delete(block);
    else model.set(block, content);
  }
}

interface Saved {
  readonly tree: TreeRoot;
  readonly model: ReadonlyMap<number, number>;
}

/** Blocks that differ, by looking at all of them. */
function differing(a: Saved, b: Saved): number[] {
  const blocks = new Set([...a.model.keys(), ...b.model.keys()]);
  return [...blocks].filter((block) => a.model.get(block) !== b.model.get(block)).toSorted((one, other) => one - other);
}

const joined = (blocks: readonly number[]): { firstBlock: number; blockCount: number }[] => {
  const ranges: { firstBlock: number; blockCount: number }[] = [];
  for (const block of blocks) {
    const last = ranges.at(-1);
    if (last !== undefined && last.firstBlock + last.blockCount === block) last.blockCount++;
    else ranges.push({ firstBlock: block, blockCount: 1 });
  }
  return ranges;
};

async function run(seed: number): Promise<void> {
  const random = seededRandom(seed);
  const store = makeTestNodeStore();
  if (random.chance(0.6)) store.latency = seededRandom(seed + 1);
  store.isInMemory = random.chance(0.2);
  const cacheBytes = random.chance(0.4) ? random.below(4) * CACHED_NODE_BYTES : 2 ** 20;
  let blockCount = SIZES[random.below(SIZES.length)]!;
  let reader = makeReader(store, cacheBytes);
  let tree = new VolumeTree(reader, blockCount);
  let model = new Map<number, number>();
  const saved: Saved[] = [{ tree: { root: HOLE_HASH, blockCount }, model: new Map() }];
  /** Blocks that were data when the tree began to count. */
  let countedFrom = 0;
  /** Everything begun and not awaited yet. */
  let begun: Promise<unknown>[] = [];
  const check = async (block: number): Promise<void> => {
    const expected = shown(model.get(block));
    expect(`${block} ${await lookUp(tree, block)}`).toBe(`${block} ${expected}`);
  };

  for (let step = 0; step < 40; step++) {
    const changes = randomChanges(random, blockCount);
    const action = random.below(10);
    if (action < 4) {
      apply(model, changes);
      begun.push(tree.setMany(...batchOf(changes)));
    } else if (action === 4) {
      const [[block, content]] = [...changes] as [[number, number]];
      apply(model, new Map([[block, content]]));
      begun.push(tree.set(block, content === NOTHING ? HOLE_HASH : hashOf(content)));
    } else if (action === 5) {
      const first = randomBlock(random, blockCount);
      const count = random.below(blockCount - first + 1);
      for (const block of model.keys()) if (block >= first && block < first + count) model.delete(block);
      begun.push(tree.clear(first, count));
    } else if (action === 6 && blockCount < 2 ** 40) {
      blockCount = random.chance(0.3) ? Math.min(blockCount * 200, 2 ** 44) : blockCount + random.below(300);
      begun.push(tree.grow(blockCount));
    } else if (action < 9) {
      const then = { model: new Map(model), blockCount };
      const expected = rootOf(then.model, blockCount);
      if (random.chance(0.2)) store.putsUntilFailure = random.below(3);
      begun.push(
        tree.commit().then(
          async (root) => {
            expect(hex(root)).toBe(await expected);
            saved.push({ tree: { root, blockCount: then.blockCount }, model: then.model });
          },
          (error: Error) => expect(error.message).toBe("no space left on device"),
        ),
      );
    } else {
      // A power loss without one: only the store is left, and the newest root.
      await Promise.all(begun);
      const at = random.below(saved.length);
      ({ blockCount } = saved[at]!.tree);
      model = new Map(saved[at]!.model);
      reader = makeReader(store, cacheBytes);
      tree = new VolumeTree(reader, blockCount, saved[at]!.tree.root);
      countedFrom = model.size;
    }
    if (random.chance(0.5)) {
      await Promise.all(begun);
      begun = [];
      expect(tree.allocationChange ?? model.size - countedFrom).toBe(model.size - countedFrom);
      if (random.chance(0.5)) {
        tree.countAllocationFromHere();
        countedFrom = model.size;
      }
      for (const block of [...changes.keys()].slice(0, 3)) if (block < blockCount) await check(block);
      await check(randomBlock(random, blockCount));
    }
  }
  await Promise.all(begun);
  for (const block of model.keys()) await check(block);
  for (let i = 0; i < 20; i++) await check(randomBlock(random, blockCount));
  store.putsUntilFailure = Infinity;
  expect(hex(await tree.commit())).toBe(await rootOf(model, blockCount));
  expect(tree.changedNodes).toBe(0);
  expect(reader.cache.nodeCount).toBeLessThanOrEqual(reader.cache.capacity);

  for (let i = 0; i < 6; i++) {
    const a = saved[random.below(saved.length)]!;
    const b = saved[random.below(saved.length)]!;
    const blocks = differing(a, b);
    expect(await collect(diff(reader, a.tree, b.tree))).toEqual(joined(blocks));
    const most = Math.max(a.tree.blockCount, b.tree.blockCount);
    const fromBlock = random.below(most);
    const toBlock = fromBlock + random.below(most - fromBlock + 1);
    expect(await collect(diff(reader, a.tree, b.tree, { fromBlock, toBlock }))).toEqual(
      joined(blocks.filter((block) => block >= fromBlock && block < toBlock)),
    );
    const ranges = await collect(allocatedRanges(reader, b.tree));
    let at = 0;
    for (const [index, range] of ranges.entries()) {
      expect(range.firstBlock).toBe(at);
      expect(range.blockCount).toBeGreaterThan(0);
      expect(range.isHole).toBe(index % 2 === 0 ? ranges[0]!.isHole : !ranges[0]!.isHole);
      at += range.blockCount;
    }
    expect(at).toBe(b.tree.blockCount);
    expect(ranges.filter(({ isHole }) => !isHole)).toEqual(
      joined([...b.model.keys()].toSorted((one, other) => one - other)).map((range) => ({ ...range, isHole: false })),
    );
  }
}

test(`trees do what a Map does, whatever happens meanwhile (VOE_TEST_SEED=${testSeed})`, async () => {
  for (let round = 0; round < 60; round++) {
    const reason = await reasonOf(run(testSeed + round));
    expect(reason && `seed ${testSeed + round}: ${reason}`).toBe("");
  }
}, 60_000);

test(`a lookup that is answered at once never differs from one that waits (VOE_TEST_SEED=${testSeed})`, async () => {
  const random = seededRandom(testSeed);
  const store = makeTestNodeStore();
  const writer = new VolumeTree(makeReader(store), 300_000);
  const changes = new Map(Array.from({ length: 3000 }, () => [random.below(300_000), 1 + random.below(9)]));
  await writer.setMany(...batchOf(changes));
  const tree = new VolumeTree(makeReader(store, 20 * CACHED_NODE_BYTES), 300_000, await writer.commit());
  const target = new Uint8Array(32);
  let atOnce = 0;
  for (let i = 0; i < 5000; i++) {
    const block = random.below(2000);
    const status = tree.tryLookup(block, target, 0);
    if (status === LATER) expect(await lookUp(tree, block)).toBe(shown(changes.get(block)));
    else expect(status === HOLE ? "hole" : hex(target)).toBe(shown(changes.get(block)));
    if (status !== LATER) atOnce++;
  }
  expect(atOnce).toBeGreaterThan(4900);
});

test(`the same content has the same root, whatever the order of writes (VOE_TEST_SEED=${testSeed})`, async () => {
  const random = seededRandom(testSeed);
  const blockCount = 300_000;
  const content = new Map(Array.from({ length: 500 }, () => [random.below(blockCount), 1 + random.below(9)]));
  const root = await rootOf(content, blockCount);
  for (let way = 0; way < 5; way++) {
    const store = makeTestNodeStore();
    // What is written first is overwritten or discarded in the end, and the volume may have been smaller.
    const tree = new VolumeTree(makeReader(store), way === 4 ? 100 : blockCount);
    if (way === 4) await tree.grow(blockCount);
    const noise = new Map(Array.from({ length: 500 }, () => [random.below(blockCount), 10 + random.below(9)]));
    if (way % 2 === 0) await tree.setMany(...batchOf(noise));
    const order = [...content].toSorted(() => (random.chance(0.5) ? 1 : -1));
    for (const [at, [block, number]] of order.entries()) {
      await tree.set(block, hashOf(number));
      if (way > 2 && at % 100 === 0) await tree.commit();
    }
    const holes = [...noise.keys()].filter((block) => !content.has(block));
    await tree.setMany(...batchOf(new Map(holes.map((block) => [block, NOTHING]))));
    expect(hex(await tree.commit())).toBe(root);
  }
});
