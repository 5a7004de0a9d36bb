/** A quick look whether a store has what its roots refer to: what tells a whole store from a half-empty copy. */
import { DIGEST_BYTES } from "../../base/hash.ts";
import { BlobStoreError } from "../../blob/blob-store.ts";
import { ABSENT, LATER, type BlockIndex } from "./index/block-index.ts";
import { createPlaces } from "./index/places.ts";
import type { RootsFound } from "./root-refs.ts";
import type { NodeError, NodeReader } from "./tree/node-reader.ts";
import { blocksUnder, FANOUT } from "./tree/shape.ts";
import { walk, type Reached } from "./tree/walk.ts";
import { isMediumFailure } from "./verify/check-pack.ts";
import { treesOf, type CheckedTree } from "./verify/check-trees.ts";

/**
 * Nodes of the lowest level that are read of a tree, evenly spread: all of them up to 1 GiB in blocks of 4 KiB, and one
 * of each pack that was written in one go up to 64 GiB. Each names 128 blocks that must be there.
 */
const LEAVES_MOST = 2048;
/** Nodes that are remembered, since snapshots share most of theirs. */
const SEEN_MOST = 2 ** 18;

export interface RootsCheck {
  /** Tree nodes that were read, and blocks that were looked for in the directories of the packs. */
  readonly nodes: number;
  readonly blocks: number;
  readonly missingNodes: number;
  readonly missingBlocks: number;
  /** The first thing that is missing, and whose it is; undefined: nothing is. */
  readonly firstMissing: string | undefined;
}

export interface RootsCheckOptions {
  readonly found: RootsFound;
  readonly reader: NodeReader;
  /** Knows all packs whose directory can be read. */
  readonly index: Pick<BlockIndex, "tryLookup" | "lookup">;
  readonly progress: (done: number, total: number) => void;
}

/**
 * Reads the upper levels of the trees of all volumes and snapshots, and a part of the lowest one, and looks for the
 * blocks that those name. Reads no block. Rejects with BlobStoreError where the store cannot be asked.
 */
export async function checkRoots({ found, reader, index, progress }: RootsCheckOptions): Promise<RootsCheck> {
  const trees = treesOf(found);
  const seen = new Set<string>();
  const places = createPlaces();
  const result = { nodes: 0, blocks: 0, missingNodes: 0, missingBlocks: 0 };
  let firstMissing: string | undefined;

  const look = async (tree: CheckedTree): Promise<void> => {
    const leaves = Math.ceil(tree.blockCount / FANOUT);
    const stepBlocks = Math.ceil(leaves / LEAVES_MOST) * FANOUT;
    const missing = (what: string, hash: Uint8Array): void => {
      firstMissing ??= `${what} ${hash.toHex()} of ${ownerOf(tree)}`;
    };
    const enter = (node: Reached): boolean => {
      const { firstBlock, level, blockCount, hash } = node;
      if (Math.ceil(firstBlock / stepBlocks) * stepBlocks >= firstBlock + blockCount) return false;
      // What is under it is the same only where as much of it belongs to the volume.
      const key = `${hash.toHex()} ${level} ${blockCount === blocksUnder(level) ? "" : blockCount} ${stepBlocks}`;
      if (seen.has(key)) return false;
      if (seen.size >= SEEN_MOST) seen.clear();
      seen.add(key);
      return true;
    };
    const onDamage = ({ cause, hash, message }: NodeError): void => {
      if (cause instanceof BlobStoreError && !isMediumFailure(cause)) throw cause;
      result.missingNodes++;
      missing(`tree node (${message})`, hash);
    };
    for await (const { level, hash } of walk(reader, tree, { enter, onDamage })) {
      if (level > 0) {
        result.nodes++;
        continue;
      }
      result.blocks++;
      let status = index.tryLookup(hash, 0, places);
      if (status === LATER) status = await index.lookup(hash.slice(0, DIGEST_BYTES), 0, places);
      if (status !== ABSENT) continue;
      result.missingBlocks++;
      missing("block", hash);
    }
  };

  for (const [done, tree] of trees.entries()) {
    progress(done, trees.length);
    await look(tree);
  }
  return { ...result, firstMissing };
}

function ownerOf({ owners }: CheckedTree): string {
  const { record, snapshotId } = owners[0]!;
  return `volume ${record.volumeName}${snapshotId === undefined ? "" : `, snapshot ${snapshotId}`}`;
}
