/**
 * Walking the trees of all volumes and snapshots, part by part: a part is a range of blocks, in every tree. Trees share
 * most of what they have at the same blocks, so what was seen has to be remembered only for the part that is walked.
 */
import { BlobStoreError } from "../../../blob/blob-store.ts";
import { SECTOR_BYTES } from "../../block-storage.ts";
import { blockCountOf, type RootRecord, type StoredRecord } from "../root-record.ts";
import type { RootsFound } from "../root-refs.ts";
import { snapshotId } from "../snapshot-id.ts";
import type { NodeError, NodeReader } from "../tree/node-reader.ts";
import { blocksUnder, depthOf } from "../tree/shape.ts";
import { walk, type Reached } from "../tree/walk.ts";
import { isMediumFailure } from "./check-pack.ts";
import type { IntactBlocks } from "./intact-blocks.ts";
import type { Pace } from "../pace.ts";
import { RANGES_TOLD, type Affected } from "./verify-events.ts";

/** Blocks of one tree, ascending and apart once they were put in order. */
interface BlockRange {
  from: number;
  end: number;
}

/** A tree, once, whoever has it: a volume as it is, its snapshots, those of its clones. */
export interface CheckedTree {
  readonly root: Uint8Array;
  readonly blockCount: number;
  readonly blockBytes: number;
  readonly owners: readonly { readonly record: RootRecord; readonly snapshotId: string | undefined }[];
  /** What cannot be read. Parts may be walked more than once, and in any order. */
  bad: BlockRange[];
}

/** The trees that a store has, equal ones once. */
export function treesOf(found: RootsFound): CheckedTree[] {
  const trees = new Map<string, CheckedTree & { owners: { record: RootRecord; snapshotId: string | undefined }[] }>();
  const add = ({ record }: StoredRecord, id: string | undefined): void => {
    const key = `${record.root} ${record.sectorCount} ${record.blockSizeBytes}`;
    let tree = trees.get(key);
    if (tree === undefined) {
      tree = {
        root: Uint8Array.fromHex(record.root),
        blockCount: blockCountOf(record),
        blockBytes: record.blockSizeBytes,
        owners: [],
        bad: [],
      };
      trees.set(key, tree);
    }
    tree.owners.push({ record, snapshotId: id });
  };
  for (const { newest, snapshots } of found.volumes.values()) {
    if (newest !== undefined) add(newest, undefined);
    for (const snapshot of snapshots) add(snapshot, snapshotId(snapshot.checksum));
  }
  return [...trees.values()];
}

/** A part is never more than the blocks under a node of this level, 2 Mi. */
const PART_MOST_LEVEL = 3;

/** Blocks of a part: under a node one level below the root of the largest tree, so that there are 128 at most, or 2 Mi. */
export function partBlocksFor(trees: readonly CheckedTree[]): number {
  const depth = Math.max(1, ...trees.map((tree) => depthOf(tree.blockCount)));
  return blocksUnder(Math.min(PART_MOST_LEVEL, Math.max(1, depth - 1)));
}

/** Nodes that are remembered: some 100 bytes each. */
const SEEN_MOST_NODES = 2 ** 19;

/** Ranges of a tree are put in order when there are so many more: it bounds what they take. */
const RANGES_BEFORE_MERGE = 4096;

export interface TreeChecker {
  /**
   * Walks the blocks from `from` to `end` (a part) of all trees, notes in them what cannot be read, and tells of each
   * hash that is missing or damaged. Yields now and then. Rejects where the store cannot be asked.
   */
  checkPart(trees: readonly CheckedTree[], from: number, end: number, signal?: AbortSignal): AsyncGenerator<void>;
}

export interface TreeCheckerOptions {
  readonly reader: NodeReader;
  readonly blocks: IntactBlocks;
  readonly pace: Pace;
  readonly missing: (hash: Uint8Array, isNode: boolean, reason: string) => void;
}

/** A node that was seen has the same under it only at the same level, and where as much of it belongs to the volume. */
const keyOf = ({ hash, level, blockCount }: Reached, blockBytes: number): string => {
  const whole = blockCount === blocksUnder(level);
  return `${Buffer.from(hash).toString("latin1")}${level},${blockBytes}${whole ? "" : `,${blockCount}`}`;
};

export function treeChecker({ reader, blocks, pace, missing }: TreeCheckerOptions): TreeChecker {
  /** Nodes under which everything is intact. Those with damage are walked in each tree, to learn where it is there. */
  const intact = new Set<string>();

  async function* checkRange(
    tree: CheckedTree,
    from: number,
    end: number,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<void> {
    const above: { readonly level: number; readonly key: string | undefined; isIntact: boolean }[] = [];
    const leaveUpTo = (level: number): void => {
      for (let node = above.at(-1); node !== undefined && node.level <= level; node = above.at(-1)) {
        above.pop();
        if (!node.isIntact || node.key === undefined) continue;
        if (intact.size >= SEEN_MOST_NODES) intact.clear();
        intact.add(node.key);
      }
    };
    const noteBad = (firstBlock: number, blockCount: number): void => {
      for (const node of above) node.isIntact = false;
      addRange(tree, Math.max(from, firstBlock), Math.min(end, firstBlock + blockCount));
    };
    const onDamage = (error: NodeError): void => {
      const { cause } = error;
      if (cause instanceof BlobStoreError && !isMediumFailure(cause)) throw cause;
      missing(error.hash, true, cause instanceof Error ? cause.message : error.message);
      noteBad(error.firstBlock, error.blockCount);
    };
    const enter = (node: Reached): boolean => node.firstBlock < end && !intact.has(keyOf(node, tree.blockBytes));

    for await (const reached of walk(reader, tree, { fromBlock: from, enter, onDamage })) {
      const { level, firstBlock, hash } = reached;
      if (level > 0) {
        leaveUpTo(level);
        const isInside = firstBlock >= from && firstBlock + reached.blockCount <= end;
        above.push({ level, key: isInside ? keyOf(reached, tree.blockBytes) : undefined, isIntact: true });
      } else {
        const asked = blocks.whyNot(hash, tree.blockBytes);
        const reason = asked === undefined ? undefined : await asked;
        if (reason !== undefined) {
          missing(hash, false, reason);
          noteBad(firstBlock, 1);
        }
      }
      if (!pace.isDue) continue;
      await pace.rest();
      signal?.throwIfAborted();
      yield;
    }
    leaveUpTo(Number.POSITIVE_INFINITY);
  }

  return {
    async *checkPart(trees, from, end, signal) {
      intact.clear();
      for (const tree of trees) {
        signal?.throwIfAborted();
        if (from < tree.blockCount) yield* checkRange(tree, from, end, signal);
      }
    },
  };
}

function addRange(tree: CheckedTree, from: number, end: number): void {
  const last = tree.bad.at(-1);
  if (last !== undefined && last.end === from) last.end = end;
  else tree.bad.push({ from, end });
  if (tree.bad.length % RANGES_BEFORE_MERGE === 0) tree.bad = merged(tree.bad);
}

function merged(ranges: readonly BlockRange[]): BlockRange[] {
  const result: BlockRange[] = [];
  for (const { from, end } of ranges.toSorted((a, b) => a.from - b.from)) {
    const last = result.at(-1);
    if (last !== undefined && from <= last.end) last.end = Math.max(last.end, end);
    else result.push({ from, end });
  }
  return result;
}

/** The present is newer than every snapshot. */
const createdMs = ({ snapshot }: Affected): number => snapshot?.createdMs ?? Number.MAX_SAFE_INTEGER;

/** What the trees have noted, as volumes, snapshots and sectors. */
export function affectedOf(trees: readonly CheckedTree[]): Affected[] {
  const affected: Affected[] = [];
  for (const tree of trees) {
    if (tree.bad.length === 0) continue;
    const blockSectors = tree.blockBytes / SECTOR_BYTES;
    const bad = merged(tree.bad);
    for (const { record, snapshotId: id } of tree.owners) {
      const ranges = bad.map(({ from, end }) => {
        const sector = from * blockSectors;
        return { sector, sectorCount: Math.min(record.sectorCount, end * blockSectors) - sector };
      });
      affected.push({
        volume: record.volumeName,
        volumeId: record.volumeId,
        ...(id === undefined ? {} : { snapshot: { id, description: record.description, createdMs: record.createdMs } }),
        sectorCount: ranges.reduce((sum, { sectorCount }) => sum + sectorCount, 0),
        ranges: ranges.slice(0, RANGES_TOLD),
        rangeCount: ranges.length,
      });
    }
  }
  return affected.toSorted((a, b) => a.volume.localeCompare(b.volume) || createdMs(a) - createdMs(b));
}
