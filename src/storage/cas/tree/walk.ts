import { Slice } from "./bounded-work.ts";
import { awaitedLater, Lookahead } from "./lookahead.ts";
import { NodeError, type NodeReader } from "./node-reader.ts";
import { blocksUnder, depthOf, FANOUT, HASH_WORDS, hashBytes, isHole, rootWords } from "./shape.ts";

/** A tree that is at rest: that of a snapshot, or of a volume at its last commit. */
export interface TreeRoot {
  readonly root: Uint8Array;
  /** Blocks of the volume, of which the depth follows. */
  readonly blockCount: number;
}

/** Something a tree refers to. */
export interface Reached {
  readonly hash: Uint8Array;
  /** 0: a block of the volume; 1 and up: a node. */
  readonly level: number;
  readonly firstBlock: number;
  /** Blocks of the volume that are under it. */
  readonly blockCount: number;
}

export interface WalkOptions {
  /** Where to begin: nothing that lies wholly before this block is reached. */
  readonly fromBlock?: number;
  /**
   * Asked of each node before it is read, up to 16 siblings ahead of the walk: false leaves it out with everything
   * under it. One who asks "was this seen before" must ask for hash *and level*: anyone can write the bytes of a node
   * into a block, and a block that was seen says nothing of what is under the node of the same hash.
   */
  enter?(node: Reached): boolean;
  /** Told of a node that is missing or wrong, after which the walk goes on behind it. Without it the walk throws. */
  onDamage?(error: NodeError): void;
}

/**
 * Every hash that a tree refers to, nodes before what is under them, blocks in ascending order. To resume, begin at the
 * block after the last one reached; the nodes above it are reached again. Holes are not reached. The event loop has its
 * turn now and then. Throws NodeError.
 */
export async function* walk(
  reader: NodeReader,
  { root, blockCount }: TreeRoot,
  options: WalkOptions = {},
): AsyncGenerator<Reached, void, undefined> {
  const { fromBlock = 0 } = options;
  const slice = new Slice();
  const reached = (words: Int32Array, at: number, level: number, firstBlock: number): Reached => ({
    hash: hashBytes(words, at),
    level,
    firstBlock,
    blockCount: Math.min(blocksUnder(level), blockCount - firstBlock),
  });
  /** The nodes under one, or of the row of one that is the root. */
  const row = (words: Int32Array, slots: number, level: number, firstBlock: number): Lookahead<Entered> => {
    const step = blocksUnder(level);
    let slot = Math.max(0, Math.floor((fromBlock - firstBlock) / step));
    return new Lookahead(() => {
      for (; slot < slots; slot++) {
        const at = slot * HASH_WORDS;
        if (isHole(words, at)) continue;
        const node = reached(words, at, level, firstBlock + slot * step);
        if (options.enter?.(node) === false) continue;
        slot++;
        return {
          node,
          words: awaitedLater(reader.read(words, at, { level, firstBlock: node.firstBlock, blockCount })),
        };
      }
      return undefined;
    });
  };

  if (fromBlock >= blockCount) return;
  const rows = [row(rootWords(root), 1, depthOf(blockCount), 0)];
  while (rows.length > 0) {
    const entered = rows.at(-1)!.take();
    if (entered === undefined) {
      rows.pop();
      continue;
    }
    const { level, firstBlock } = entered.node;
    yield entered.node;
    let words: Int32Array;
    try {
      words = await entered.words;
    } catch (error) {
      if (options.onDamage === undefined || !(error instanceof NodeError)) throw error;
      options.onDamage(error);
      continue;
    }
    if (slice.isOver) await slice.giveWay();
    if (level > 1) {
      rows.push(row(words, FANOUT, level - 1, firstBlock));
      continue;
    }
    for (let slot = Math.max(0, fromBlock - firstBlock); slot < FANOUT; slot++) {
      if (!isHole(words, slot * HASH_WORDS)) yield reached(words, slot * HASH_WORDS, 0, firstBlock + slot);
    }
  }
}

interface Entered {
  readonly node: Reached;
  readonly words: Promise<Int32Array>;
}
