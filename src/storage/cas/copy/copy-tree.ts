/** Brings what a tree refers to, and a store lacks, from another store: blocks and nodes, each verified by its hash. */
import { DIGEST_BYTES } from "../../../base/hash.ts";
import { OK } from "../../block-storage.ts";
import { BATCH_BYTES, type BlockBatch } from "../block-batch.ts";
import type { Blocks } from "../blocks.ts";
import type { PackedBlocks } from "../packed-blocks.ts";
import { changedNodes } from "../tree/diff.ts";
import type { NodeReader } from "../tree/node-reader.ts";
import { FANOUT, HASH_WORDS, isSameHash } from "../tree/shape.ts";
import type { TreeRoot } from "../tree/walk.ts";

/** Batches that are read and put at the same time: as many as the destination has. */
const BATCHES_AT_ONCE = 4;

export interface CopyTreeOptions {
  readonly from: { readonly blocks: PackedBlocks; readonly reader: NodeReader; readonly description: string };
  readonly to: { readonly blocks: PackedBlocks; readonly reader: NodeReader };
  readonly blockBytes: number;
  readonly tree: TreeRoot;
  /** A tree that the destination has whole; of no blocks where there is none. */
  readonly base: TreeRoot;
  readonly signal: AbortSignal;
  /** Told of the block up to which the tree has been walked, and of bytes of blocks that were brought since. */
  readonly progress: (block: number, bytes: number) => void;
}

/**
 * Resolves when everything that was missing has been put, though it is not durable yet. Rejects where it cannot be read
 * intact from the source, with the signal's reason, and with what the destination refuses it with; what was put by then
 * stays, and is not brought again.
 */
export async function copyTree(options: CopyTreeOptions): Promise<void> {
  const { from, to, blockBytes, tree, base, signal, progress } = options;
  const source = from.blocks.blocksOf(blockBytes);
  const target = to.blocks.blocksOf(blockBytes);
  const batchBlocks = BATCH_BYTES / blockBytes;
  const waiting = new Uint8Array((batchBlocks + FANOUT) * DIGEST_BYTES);
  let waitingCount = 0;
  const underWay = new Set<Promise<void>>();
  let failure: Error | undefined;

  const begin = async (count: number): Promise<void> => {
    const hashes = waiting.slice(0, count * DIGEST_BYTES);
    waiting.copyWithin(0, count * DIGEST_BYTES, waitingCount * DIGEST_BYTES);
    waitingCount -= count;
    const batch = await target.emptyBatch();
    const work = bring(source, target, hashes, batch, from.description).then(
      () => progress(0, count * blockBytes),
      (error: Error) => void (failure ??= error),
    );
    underWay.add(work);
    void work.then(() => underWay.delete(work));
    if (underWay.size >= BATCHES_AT_ONCE) await Promise.race(underWay);
  };
  const check = (): void => {
    signal.throwIfAborted();
    if (failure !== undefined) throw failure;
  };

  try {
    for await (const { level, firstBlock, words, before } of changedNodes(to.reader, base, from.reader, tree)) {
      check();
      const bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
      await to.blocks.nodes.put(bytes);
      if (level > 1) continue;
      const leaf = bytes.slice();
      for (let slot = 0; slot < FANOUT; slot++) {
        if (!isSameHash(words, slot * HASH_WORDS, before, slot * HASH_WORDS)) continue;
        leaf.fill(0, slot * DIGEST_BYTES, (slot + 1) * DIGEST_BYTES);
      }
      for (const slot of await to.blocks.missing(leaf, FANOUT, blockBytes)) {
        waiting.set(leaf.subarray(slot * DIGEST_BYTES, (slot + 1) * DIGEST_BYTES), waitingCount * DIGEST_BYTES);
        waitingCount++;
      }
      // A node has fewer blocks than a batch, or a few times as many where these are large.
      for (let full = Math.floor(waitingCount / batchBlocks); full > 0; full--) await begin(batchBlocks);
      progress(firstBlock, 0);
    }
    if (waitingCount > 0) await begin(waitingCount);
    await Promise.all(underWay);
    check();
  } finally {
    await Promise.all(underWay);
  }
}

/** Reads blocks from one store and puts them into the other, which takes the batch. */
async function bring(
  source: Blocks,
  target: Blocks,
  hashes: Uint8Array,
  batch: BlockBatch,
  description: string,
): Promise<void> {
  const count = hashes.length / DIGEST_BYTES;
  if ((await source.readMany(hashes, count, batch.memory, 0)) !== OK) {
    target.giveBack(batch);
    throw new Error(
      `blocks of ${description} cannot be read, see the log: run voe verify there to learn what is damaged`,
    );
  }
  const put = await target.put(batch, count);
  if (Buffer.compare(put, hashes) !== 0)
    throw new Error(`blocks of ${description} changed on the way: check this host's memory`);
}
