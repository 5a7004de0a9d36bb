/**
 * Replication: records of volumes with everything that they refer to, from one store to another. The copy has the same
 * records under the same names, so that it is what the source was at that time, and a host can recover from it. The
 * source is only read, and may be in use; docs/decisions/0009-cas-server-and-replicas.md has the reasons.
 */
import { join } from "node:path";
import type { Compression } from "../../../base/compression.ts";
import { createHasher, type HashAlgorithm } from "../../../base/hash.ts";
import { BlobStoreError, type BlobStore } from "../../../blob/blob-store.ts";
import type { Disk } from "../disk.ts";
import { newestOf, rootOf } from "../kept-volume.ts";
import { packedBlocks, type PackedBlocks } from "../packed-blocks.ts";
import type { PackRunner } from "../pack-runner.ts";
import { rootsIn } from "../recover-volumes.ts";
import { blockCountOf, encodeRootRecord, type StoredRecord } from "../root-record.ts";
import { rootRefName } from "../root-refs.ts";
import { openStoreIndex } from "../store-index.ts";
import { NodeCache } from "../tree/node-cache.ts";
import { NodeReader } from "../tree/node-reader.ts";
import { HASH_BYTES } from "../tree/shape.ts";
import type { TreeRoot } from "../tree/walk.ts";
import { planCopy, type PlannedVolume, type Wanted } from "./copy-plan.ts";
import { describeWriter, newestWriter } from "../writer-ref.ts";
import { copyTree } from "./copy-tree.ts";

const NODE_CACHE_BYTES = 16 * 2 ** 20;
const STORE_ID_REF = "store/id";

export interface CopyOptions {
  readonly source: BlobStore;
  readonly destination: BlobStore;
  readonly wanted: readonly Wanted[];
  readonly compression: Compression;
  /** Whether new blocks are compressed where that saves space. */
  readonly compresses: boolean;
  readonly packBytes?: number;
  /** Packs that are filled or stored at a time. */
  readonly packsAtOnce?: number;
  /** Who hashes and compresses, for packs of `packBytes`: this thread unless given. It is closed at the end. */
  readonly packRunner?: (algorithm: HashAlgorithm) => PackRunner;
  readonly disk: Disk;
  /** Where the indexes of both stores are kept, 18 bytes a block: disposable. It exists, and only this process uses it. */
  readonly stateDirectory: string;
  readonly signal: AbortSignal;
  readonly random: (bytes: Uint8Array) => void;
  readonly report: (key: string, message: string) => void;
  readonly events: CopyEvents;
}

export interface CopyEvents {
  /** Directories of packs are read into the index of a store. */
  indexing(store: string, done: number, total: number): void;
  /** What is to be copied, and the size of the disks that this is. */
  planned(volumes: readonly PlannedVolume[], totalBytes: number): void;
  /** How much of that has been walked, and how many bytes of blocks were brought. */
  progress(doneBytes: number, broughtBytes: number): void;
  /** A record is durable at the destination. */
  copied(volume: string, record: StoredRecord): void;
}

export interface CopiedVolume {
  readonly name: string;
  readonly volumeId: string;
  readonly copied: readonly StoredRecord[];
  /** Wanted records that were there already. */
  readonly presentCount: number;
}

export interface CopyResult {
  readonly volumes: readonly CopiedVolume[];
  /** Bytes of blocks that were brought, and of the packs that were stored for them and for nodes. */
  readonly broughtBytes: number;
  readonly packBytes: number;
}

/** A store with what it takes to read its trees and blocks. */
interface OpenEnd {
  readonly blocks: PackedBlocks;
  readonly reader: NodeReader;
  close(): Promise<void>;
}

/**
 * Copies what the destination lacks of the wanted volumes and snapshots. Rejects with what to do where the two do not go
 * together, and with what failed, or the signal's reason, where it was interrupted; then it goes on when it is called
 * again. A record is at the destination only when everything that it refers to is.
 */
export async function copyBetween(options: CopyOptions): Promise<CopyResult> {
  const { source, destination, wanted, signal, events } = options;
  await refuseInUse(destination);
  // Before the packs are listed: those that the records need are then among them.
  const found = await rootsIn(source);
  const plan = planCopy(found, await rootsIn(destination), wanted);
  signal.throwIfAborted();
  const all = plan.flatMap(({ missing }) => missing);
  const totalBytes = all.reduce((sum, { record }) => sum + blockCountOf(record) * record.blockSizeBytes, 0);
  events.planned(plan, totalBytes);
  if (all.length === 0) return { volumes: plan.map((volume) => copiedOf(volume, [])), broughtBytes: 0, packBytes: 0 };

  const algorithm = newestOf(found.volumes.get(plan[0]!.volumeId)!).record.hash;
  const from = await openEnd(source, "source", algorithm, options);
  try {
    const to = await openEnd(destination, "destination", algorithm, options);
    try {
      await ensureStoreId(destination, options.random);
      const meter = progressMeter(events);
      const volumes: CopiedVolume[] = [];
      for (const volume of plan) volumes.push(await copyVolume(volume, from, to, options, meter));
      return { volumes, broughtBytes: meter.broughtBytes(), packBytes: to.blocks.counters.packBytes };
    } finally {
      await to.close();
    }
  } finally {
    await from.close();
  }
}

const copiedOf = ({ name, volumeId, presentCount }: PlannedVolume, copied: readonly StoredRecord[]): CopiedVolume => ({
  name,
  volumeId,
  copied,
  presentCount,
});

/** A store that is written by a server is no replica, and its journal does not know what would come in. */
async function refuseInUse(destination: BlobStore): Promise<void> {
  const writer = await newestWriter(destination);
  if (writer === undefined) return;
  throw new Error(
    `${destination.description} is written by ${describeWriter(writer)}: it is no replica, or no longer, and nothing is ` +
      `copied into it. Copy into a store of its own`,
  );
}

/** A replica is a store of its own, which the host that recovers from it tells from the source by this. */
async function ensureStoreId(destination: BlobStore, random: (bytes: Uint8Array) => void): Promise<void> {
  const bytes = new Uint8Array(16);
  random(bytes);
  await destination.createRef(STORE_ID_REF, new TextEncoder().encode(`${bytes.toHex()}\n`));
}

async function openEnd(
  blobs: BlobStore,
  side: "source" | "destination",
  algorithm: HashAlgorithm,
  options: CopyOptions,
): Promise<OpenEnd> {
  const { disk, report, compression } = options;
  const stateDirectory = join(options.stateDirectory, side);
  disk.makeDirectory(stateDirectory);
  const hasher = createHasher(algorithm);
  const { index } = await openStoreIndex({
    disk,
    stateDirectory,
    blobs,
    hasher,
    // That there was none is what the first copy expects.
    report: (key, message) => void (key === "index:built" || report(key, message)),
    progress: (done, total) => options.events.indexing(blobs.description, done, total),
  });
  const isTarget = side === "destination";
  const blocks = packedBlocks({
    hasher,
    compression,
    compresses: options.compresses,
    blobs,
    index,
    ...(options.packBytes === undefined ? {} : { packBytes: options.packBytes }),
    ...(isTarget && options.packsAtOnce !== undefined ? { packsAtOnce: options.packsAtOnce } : {}),
    ...(isTarget && options.packRunner !== undefined ? { packRunner: options.packRunner(algorithm) } : {}),
    report,
  });
  return {
    blocks,
    reader: new NodeReader(blocks.nodes, new NodeCache(NODE_CACHE_BYTES)),
    async close() {
      await blocks.close();
      await index.close();
    },
  };
}

interface ProgressMeter {
  /** A tree of so many bytes begins; what it is told is blocks walked up to, and bytes brought. */
  begin(sizeBytes: number, blockBytes: number): (block: number, bytes: number) => void;
  end(): void;
  broughtBytes(): number;
}

function progressMeter(events: CopyEvents): ProgressMeter {
  let endedBytes = 0;
  let treeBytes = 0;
  let walkedBytes = 0;
  let broughtBytes = 0;
  const tell = (): void => events.progress(endedBytes + walkedBytes, broughtBytes);
  return {
    begin(sizeBytes, blockBytes) {
      treeBytes = sizeBytes;
      walkedBytes = 0;
      return (block, bytes) => {
        walkedBytes = Math.max(walkedBytes, block * blockBytes);
        broughtBytes += bytes;
        tell();
      };
    },
    end() {
      endedBytes += treeBytes;
      treeBytes = walkedBytes = 0;
      tell();
    },
    broughtBytes: () => broughtBytes,
  };
}

async function copyVolume(
  volume: PlannedVolume,
  from: OpenEnd,
  to: OpenEnd,
  options: CopyOptions,
  meter: ProgressMeter,
): Promise<CopiedVolume> {
  const { source, destination, signal, events } = options;
  const whole = [...volume.present];
  for (const stored of volume.missing) {
    const { record } = stored;
    const tree = rootOf(record);
    const { blockSizeBytes: blockBytes } = record;
    await copyTree({
      from: { ...from, description: source.description },
      to,
      blockBytes,
      tree,
      base: nearest(whole, record.sequence) ?? { root: new Uint8Array(HASH_BYTES), blockCount: tree.blockCount },
      signal,
      progress: meter.begin(tree.blockCount * blockBytes, blockBytes),
    });
    await to.blocks.blocksOf(blockBytes).sync();
    await publish(destination, stored);
    whole.push(stored);
    meter.end();
    events.copied(volume.name, stored);
  }
  await prune(destination, volume);
  return copiedOf(volume, volume.missing);
}

/** The tree that most likely has most in common: that of the nearest record. */
function nearest(whole: readonly StoredRecord[], sequence: number): TreeRoot | undefined {
  const distance = ({ record }: StoredRecord): number => Math.abs(record.sequence - sequence);
  const [first] = whole.toSorted((a, b) => distance(a) - distance(b));
  return first === undefined ? undefined : rootOf(first.record);
}

async function publish(destination: BlobStore, { record }: StoredRecord): Promise<void> {
  const name = rootRefName(record);
  const bytes = encodeRootRecord(record);
  if ((await destination.createRef(name, bytes)) === "created") return;
  // It may be ours, of an answer that was lost or of another copy.
  if (Buffer.compare(await destination.readRef(name), bytes) === 0) return;
  throw new Error(
    `${name} of ${destination.description} is another record than that of the source: the volume has gone another way ` +
      `there. Copy into another store`,
  );
}

/** Checkpoints are what a volume is until the next one: those before it are no longer needed. */
async function prune(destination: BlobStore, { volumeId, missing, checkpoints }: PlannedVolume): Promise<void> {
  const newest = missing.at(-1);
  if (newest === undefined) return;
  for (const sequence of checkpoints) {
    if (sequence >= newest.record.sequence) continue;
    await destination.deleteRef(rootRefName({ volumeId, sequence })).catch((error: unknown) => {
      // A store may keep what it has; a replica is right with it.
      if (!(error instanceof BlobStoreError) || error.failure !== "denied") throw error;
    });
  }
}
