/** What is done to a volume as a whole, each a record of its own: making it, growing it, and taking it back to a root. */
import { SECTOR_BYTES } from "../block-storage.ts";
import type { Journal } from "./journal.ts";
import { blockCountFor, rootOf, treeOf, type KeptVolume, type RecordStore } from "./kept-volume.ts";
import type { PackedBlocks } from "./packed-blocks.ts";
import type { RootRecord, StoredRecord } from "./root-record.ts";
import type { NodeReader } from "./tree/node-reader.ts";
import { allocationChange } from "./tree/diff.ts";
import type { VolumeTree } from "./tree/volume-tree.ts";

export interface ChangeOptions {
  readonly journal: Journal;
  readonly blocks: PackedBlocks;
  readonly reader: NodeReader;
  readonly records: RecordStore;
}

/** Stores what changed of a tree itself, and yields its root. */
async function commit(tree: VolumeTree, { volume }: KeptVolume, blocks: PackedBlocks): Promise<string> {
  const root = await tree.commit();
  await blocks.blocksOf(volume.blockBytes).sync();
  return root.toHex();
}

/** Bytes that were new since the last snapshot, as a volume's newest record tells. */
export const uniqueSoFar = ({ kind, uniqueBytes }: RootRecord): number => (kind === "snapshot" ? 0 : uniqueBytes);

/** Bytes of blocks that are no holes in the tree of a volume, which was committed with this root. Throws NodeError. */
export async function logicalBytesOf(
  { newest, volume: { tree, blockBytes } }: KeptVolume,
  root: Uint8Array,
  reader: NodeReader,
): Promise<number> {
  const { record } = newest!;
  const change =
    tree.allocationChange ?? (await allocationChange(reader, rootOf(record), { root, blockCount: tree.blockCount }));
  return record.logicalBytes + change * blockBytes;
}

/**
 * Publishes the first record of a new volume, before its first write: the journal never knows a volume that the store
 * does not. `origin` is the snapshot whose content it has.
 */
export async function publishFirst(
  made: KeptVolume,
  origin: StoredRecord | undefined,
  { journal, records }: ChangeOptions,
): Promise<void> {
  await records.publish(made, {
    kind: "checkpoint",
    description: "",
    root: made.volume.tree.committedRoot.toHex(),
    sectorCount: made.volume.sectorCount,
    journalSequence: journal.durableSequence - 1,
    logicalBytes: origin?.record.logicalBytes ?? 0,
    uniqueBytes: 0,
    ...(origin === undefined ? {} : { parent: origin.checksum }),
  });
}

/**
 * Publishes a volume as its newest record has it, under the next number: a record that was asked for before and arrives
 * later finds its number taken. Those that have arrived are behind the volume then, and their snapshots among its own.
 */
export async function republish(kept: KeptVolume, records: RecordStore): Promise<void> {
  const { record } = kept.newest!;
  const { root, sectorCount, journalSequence, logicalBytes, createdMs } = record;
  await records.publish(kept, {
    kind: "checkpoint",
    description: "",
    root,
    sectorCount,
    journalSequence,
    logicalBytes,
    createdMs,
    uniqueBytes: uniqueSoFar(record),
  });
}

/** Makes a volume larger. Does nothing where it is that large. May be tried again. */
export async function growVolume(kept: KeptVolume, sizeBytes: number, options: ChangeOptions): Promise<void> {
  const { volume } = kept;
  const { record } = kept.newest!;
  const sectorCount = sizeBytes / SECTOR_BYTES;
  if (sectorCount > volume.sectorCount) {
    await volume.tree.grow(blockCountFor(sectorCount, volume.blockBytes));
    // At once: whatever is published from now on has this tree, and so has to have this size, also where this fails.
    volume.grow(sectorCount);
  }
  if (volume.sectorCount > record.sectorCount) {
    const root = await commit(volume.tree, kept, options.blocks);
    await options.records.publish(kept, {
      kind: "checkpoint",
      description: "",
      root,
      sectorCount: volume.sectorCount,
      // What is newer is in the journal, and will be put on top once more.
      journalSequence: record.journalSequence,
      // A checkpoint that failed has left its changes in the tree.
      logicalBytes: await logicalBytesOf(kept, Uint8Array.fromHex(root), options.reader),
      uniqueBytes: uniqueSoFar(record),
    });
    volume.tree.countAllocationFromHere();
  }
  if (kept.disk !== undefined && kept.disk.info.sectorCount < volume.sectorCount) kept.disk.resized();
}

/** Gives a volume the content of a snapshot. Nothing of it may be dirty, and no write may come meanwhile. */
export async function restoreVolume(kept: KeptVolume, snapshot: StoredRecord, options: ChangeOptions): Promise<void> {
  const { volume } = kept;
  const { journal, blocks, reader, records } = options;
  const tree = treeOf(reader, snapshot);
  if (tree.blockCount < volume.tree.blockCount) await tree.grow(volume.tree.blockCount);
  const root = await commit(tree, kept, blocks);
  // The record covers what was written to the volume until now, and must not be there without it.
  await journal.sync();
  await records.publish(kept, {
    kind: "checkpoint",
    description: "",
    root,
    sectorCount: volume.sectorCount,
    journalSequence: journal.durableSequence - 1,
    logicalBytes: snapshot.record.logicalBytes,
    uniqueBytes: 0,
  });
  volume.replaceTree(tree);
}

/** Keeps writes to a volume waiting while `work` is done, which begins when those under way have ended. */
export async function withoutWrites<T>({ volume: { order } }: KeptVolume, work: () => Promise<T>): Promise<T> {
  const started = Promise.withResolvers<void>();
  const barrier = { sector: 0, count: Number.MAX_SAFE_INTEGER, writes: false, start: () => started.resolve() };
  order.begin(barrier);
  await started.promise;
  try {
    return await work();
  } finally {
    order.finish(barrier);
  }
}
