import { Slice } from "./bounded-work.ts";
import { awaitedLater, Lookahead } from "./lookahead.ts";
import type { NodeReader as AnyNodeReader } from "./node-reader.ts";
import {
  blocksUnder,
  depthOf,
  FANOUT,
  HASH_BYTES,
  HASH_WORDS,
  isHole,
  isSameHash,
  NODE_WORDS,
  rootWords,
} from "./shape.ts";
import type { TreeRoot } from "./walk.ts";

type NodeReader = Pick<AnyNodeReader, "read">;

export interface BlockRange {
  readonly firstBlock: number;
  readonly blockCount: number;
}

/** Which part of a volume is meant; all of it unless said otherwise. */
export interface RangeOptions {
  readonly fromBlock?: number;
  /** Exclusive. */
  readonly toBlock?: number;
}

/**
 * The blocks that are not the same in two trees, in ascending order, neighbours joined. Blocks that only one of them
 * has count as holes in the other. Reads nodes only where the hashes above them differ; the trees may be of different
 * depth. Throws NodeError.
 */
export async function* diff(
  reader: NodeReader,
  a: TreeRoot,
  b: TreeRoot,
  options: RangeOptions = {},
): AsyncGenerator<BlockRange, void, undefined> {
  let firstBlock = 0;
  let blockCount = 0;
  for await (const leaves of differingLeaves(reader, a, b, options)) {
    for (let slot = leaves.fromSlot; slot < leaves.toSlot; slot++) {
      const at = slot * HASH_WORDS;
      if (isSameHash(leaves.a, at, leaves.b, at)) continue;
      const block = leaves.firstBlock + slot;
      if (block !== firstBlock + blockCount) {
        if (blockCount > 0) yield { firstBlock, blockCount };
        firstBlock = block;
        blockCount = 0;
      }
      blockCount++;
    }
  }
  if (blockCount > 0) yield { firstBlock, blockCount };
}

/** How many blocks more are data, and not holes, in `b` than in `a`; negative where they are fewer. Throws NodeError. */
export async function allocationChange(reader: NodeReader, a: TreeRoot, b: TreeRoot): Promise<number> {
  let change = 0;
  for await (const leaves of differingLeaves(reader, a, b, {})) {
    for (let slot = 0; slot < FANOUT; slot++) {
      const at = slot * HASH_WORDS;
      change += Number(!isHole(leaves.b, at)) - Number(!isHole(leaves.a, at));
    }
  }
  return change;
}

/** The words of two nodes of level 1 at the same place in their trees. */
interface LeafPair {
  readonly firstBlock: number;
  /** The slots that were asked for. */
  readonly fromSlot: number;
  readonly toSlot: number;
  readonly a: Int32Array;
  readonly b: Int32Array;
}

async function* differingLeaves(
  reader: NodeReader,
  a: TreeRoot,
  b: TreeRoot,
  options: RangeOptions,
): AsyncGenerator<LeafPair, void, undefined> {
  const { fromBlock = 0, toBlock = Infinity } = options;
  for await (const { level, pair } of differingPairs(reader, a, reader, b, options)) {
    if (level > 1) continue;
    const { firstBlock } = pair;
    const fromSlot = Math.max(0, fromBlock - firstBlock);
    yield { firstBlock, fromSlot, toSlot: Math.min(FANOUT, toBlock - firstBlock), a: pair.a.words, b: pair.b.words };
  }
}

/** A node that one tree has and another has not, at the same place. */
export interface ChangedNodeWords {
  readonly level: number;
  readonly firstBlock: number;
  readonly words: Int32Array;
  /** What the other tree has there; all holes where it has nothing. */
  readonly before: Int32Array;
}

/**
 * The nodes of `tree` that `base` does not have at the same place, each before those under it. Each tree has its own
 * reader, as they may be in different stores. Throws NodeError.
 */
export async function* changedNodes(
  baseReader: NodeReader,
  base: TreeRoot,
  reader: NodeReader,
  tree: TreeRoot,
): AsyncGenerator<ChangedNodeWords, void, undefined> {
  for await (const { level, pair } of differingPairs(baseReader, base, reader, tree, {})) {
    if (pair.b.words === NO_WORDS) continue;
    yield { level, firstBlock: pair.firstBlock, words: pair.b.words, before: pair.a.words };
  }
}

/** Pairs of nodes at the same place that are not the same, each before those under it. */
async function* differingPairs(
  readerOfA: NodeReader,
  a: TreeRoot,
  readerOfB: NodeReader,
  b: TreeRoot,
  { fromBlock = 0, toBlock = Infinity }: RangeOptions,
): AsyncGenerator<{ readonly level: number; readonly pair: Pair }, void, undefined> {
  const slice = new Slice();
  const depth = Math.max(depthOf(a.blockCount), depthOf(b.blockCount));

  /** Pairs of nodes of this level, under a pair of nodes, that are not the same. */
  const row = (pair: Pair, slots: number, level: number): Lookahead<Opening> => {
    const step = blocksUnder(level);
    let slot = Math.max(0, Math.floor((fromBlock - pair.firstBlock) / step));
    const end = Math.min(slots, Math.ceil((toBlock - pair.firstBlock) / step));
    return new Lookahead(() => {
      for (; slot < end; slot++) {
        const one = under(pair.a, slot);
        const other = under(pair.b, slot);
        // Hashes of different levels say nothing of each other: anyone can write the bytes of a node into a block.
        const isComparable = (one.level === level || isEmpty(one)) && (other.level === level || isEmpty(other));
        if (isComparable && isSameHash(one.words, one.at, other.words, other.at)) continue;
        const firstBlock = pair.firstBlock + slot * step;
        slot++;
        return {
          level,
          firstBlock,
          a: awaitedLater(open(readerOfA, one, level, firstBlock)),
          b: awaitedLater(open(readerOfB, other, level, firstBlock)),
        };
      }
      return undefined;
    });
  };

  const rows = [row({ firstBlock: 0, a: top(a), b: top(b) }, 1, depth)];
  while (rows.length > 0) {
    const opening = rows.at(-1)!.take();
    if (opening === undefined) {
      rows.pop();
      continue;
    }
    const { firstBlock } = opening;
    const pair = { firstBlock, a: await opening.a, b: await opening.b };
    if (slice.isOver) await slice.giveWay();
    yield { level: opening.level, pair };
    if (opening.level > 1) rows.push(row(pair, FANOUT, opening.level - 1));
  }
}

/** A range of blocks that are all data or all holes. */
export interface AllocatedRange extends BlockRange {
  readonly isHole: boolean;
}

/**
 * Which blocks of a tree are data and which are holes: ranges that take turns and together are all that was asked for,
 * or end early, after `mostLeaves` nodes of the lowest level. No block is read, and no node under a hole. Throws
 * NodeError.
 */
export async function* allocatedRanges(
  reader: NodeReader,
  tree: TreeRoot,
  { fromBlock = 0, toBlock = Infinity, mostLeaves = Infinity }: RangeOptions & { readonly mostLeaves?: number } = {},
): AsyncGenerator<AllocatedRange, void, undefined> {
  const empty = { root: new Uint8Array(HASH_BYTES), blockCount: tree.blockCount };
  let end = Math.min(toBlock, tree.blockCount);
  let range = { firstBlock: fromBlock, blockCount: 0, isHole: true };
  let leafCount = 0;
  for await (const leaf of differingLeaves(reader, empty, tree, { fromBlock, toBlock: end })) {
    for (let slot = leaf.fromSlot; slot < leaf.toSlot; slot++) {
      if (isHole(leaf.b, slot * HASH_WORDS)) continue;
      const block = leaf.firstBlock + slot;
      const rangeEnd = range.firstBlock + range.blockCount;
      if (range.isHole || block > rangeEnd) {
        if (!range.isHole) yield range;
        const holeStart = range.isHole ? range.firstBlock : rangeEnd;
        if (block > holeStart) yield { firstBlock: holeStart, blockCount: block - holeStart, isHole: true };
        range = { firstBlock: block, blockCount: 0, isHole: false };
      }
      range.blockCount++;
    }
    if (++leafCount === mostLeaves) {
      end = Math.min(end, leaf.firstBlock + FANOUT);
      break;
    }
  }
  if (!range.isHole) yield range;
  const holeStart = range.firstBlock + range.blockCount;
  if (end > holeStart) yield { firstBlock: holeStart, blockCount: end - holeStart, isHole: true };
}

/** A hash, and the level and size of the tree that it stands in. */
interface Subtree {
  readonly words: Int32Array;
  readonly at: number;
  readonly level: number;
  readonly blockCount: number;
}

/** A node that was read; or what stands for the levels that a tree lacks: only its first slot leads on, to the root. */
interface Opened {
  readonly words: Int32Array;
  readonly level: number;
  readonly blockCount: number;
  readonly root: Subtree | undefined;
}

interface Pair {
  readonly firstBlock: number;
  readonly a: Opened;
  readonly b: Opened;
}

interface Opening {
  readonly level: number;
  readonly firstBlock: number;
  readonly a: Promise<Opened>;
  readonly b: Promise<Opened>;
}

const NO_WORDS = new Int32Array(NODE_WORDS);

const isEmpty = ({ words, at }: Subtree): boolean => isHole(words, at);

function top({ root, blockCount }: TreeRoot): Opened {
  const level = depthOf(blockCount);
  return { words: NO_WORDS, level: level + 1, blockCount, root: { words: rootWords(root), at: 0, level, blockCount } };
}

const under = ({ words, level, blockCount, root }: Opened, slot: number): Subtree =>
  slot === 0 && root !== undefined ? root : { words, at: slot * HASH_WORDS, level: level - 1, blockCount };

async function open(reader: NodeReader, subtree: Subtree, level: number, firstBlock: number): Promise<Opened> {
  const { words, at, blockCount } = subtree;
  if (isEmpty(subtree)) return { words: NO_WORDS, level, blockCount, root: undefined };
  if (subtree.level < level) return { words: NO_WORDS, level, blockCount, root: subtree };
  return { words: await reader.read(words, at, { level, firstBlock, blockCount }), level, blockCount, root: undefined };
}
