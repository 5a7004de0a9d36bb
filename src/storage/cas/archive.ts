/**
 * An archive store, opened: its volumes, the journal they share, and the checkpoints that bring what is in the journal
 * into packs. Everything but the journal comes back from the blob store alone.
 */
import { eventLoop } from "../../base/event-loop.ts";
import type { Compression } from "../../base/compression.ts";
import type { Hasher } from "../../base/hash.ts";
import type { BlobStore } from "../../blob/blob-store.ts";
import { SECTOR_BYTES } from "../block-storage.ts";
import type { BlockStorage } from "../block-storage.ts";
import type { SyncMode } from "../sync-policy.ts";
import { watchJournal } from "./checkpoint-watch.ts";
import { assertWhole, checkpoints } from "./checkpoints.ts";
import type { Disk } from "./disk.ts";
import { ExtentCache } from "./extent-cache.ts";
import { roomMaker } from "./journal-room.ts";
import { blockCountFor, newlyKept, recordStore, rootOf, treeOf, volumeNumber, type KeptVolume } from "./kept-volume.ts";
import type { PackRunner } from "./pack-runner.ts";
import { packedBlocks } from "./packed-blocks.ts";
import { recoverVolumes, rootsIn } from "./recover-volumes.ts";
import type { StoredRecord } from "./root-record.ts";
import { rootStorage } from "./root-storage.ts";
import { toSectors, type SectorRange } from "./sector-range.ts";
import { findSnapshot, toSnapshot, type Snapshot } from "./snapshot.ts";
import { volumeStatistics, type ArchiveStatistics } from "./statistics.ts";
import { storeBacklog } from "./store-backlog.ts";
import { newVolumeId } from "./volume-id.ts";
import { openStoreIndex } from "./store-index.ts";
import { diff } from "./tree/diff.ts";
import { NodeCache } from "./tree/node-cache.ts";
import { NodeReader } from "./tree/node-reader.ts";
import { VolumeTree } from "./tree/volume-tree.ts";
import { fileHistory } from "./verify/history.ts";
import { clientsFirst } from "./pace.ts";
import { openVerifier, type Verifier } from "./verify/verifier.ts";
import { growVolume, publishFirst, republish, restoreVolume, withoutWrites } from "./volume-changes.ts";
import { volumeDisk, type VolumeDisk } from "./volume-disk.ts";
import { openVolume } from "./volume.ts";
import { openWriterClaim, watchClaim } from "./writer-claim.ts";

export interface ArchiveVolumeOptions {
  /** Name of the volume in its records, 1 to 255 bytes. */
  readonly name: string;
  /** Fixed when the volume is made. */
  readonly blockBytes: number;
  /** Size where the volume is made, or to grow it to. */
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly sync: SyncMode;
}

export interface ArchiveOptions {
  readonly disk: Disk;
  /** Where journal and index are kept. It exists. */
  readonly stateDirectory: string;
  readonly blobs: BlobStore;
  readonly hasher: Hasher;
  readonly compression: Compression;
  readonly compresses: boolean;
  /** Memory for tree nodes, in bytes. */
  readonly nodeCacheBytes: number;
  /** Memory for the content of volumes and snapshots, in bytes. */
  readonly cacheBytes: number;
  /** Size of the journal at which a checkpoint begins, and at which writes wait for one. */
  readonly journalCheckpointBytes: number;
  readonly journalLimitBytes: number;
  readonly journalSegmentBytes?: number;
  readonly packBytes?: number;
  /** Packs that are filled or stored at a time, each in memory of its own: enough for a local store unless given. */
  readonly packsAtOnce?: number;
  /** Entries that the index keeps in memory before it writes them, that of the index unless given. */
  readonly indexMemtableEntries?: number;
  /** Memory for directories of packs, in bytes. */
  readonly directoryCacheBytes?: number;
  /** Whether the blob store is away, as far as is known. */
  readonly isStoreAway?: () => boolean;
  /** Who hashes and compresses: the event loop's thread unless given. It is closed with the archive. */
  readonly packRunner?: PackRunner;
  readonly firmware: string;
  /** The store's own id: it tells its volumes from those of the same name in other stores. */
  readonly storeId?: string;
  /** Name of this host, for whoever wants to write the store as well. */
  readonly host?: string;
  /**
   * Whether what an earlier process asked of the store may still arrive there, as it may over a network. Each volume is
   * then published once at the start, so that it comes too late.
   */
  readonly lateRequests?: boolean;
  /** How often it is looked whether another host has taken the store over, CLAIM_CHECK_MS unless given. */
  readonly claimCheckMs?: number;
  readonly nowMs: () => number;
  readonly random: (bytes: Uint8Array) => void;
  readonly report: (key: string, message: string) => void;
  /** Told of long work while the archive is being opened. */
  readonly progress?: (what: string, done: number, total: number) => void;
}

export interface Archive {
  /** The blob store, for people. */
  readonly description: string;
  /** Names of the volumes that the store has. */
  readonly volumes: readonly string[];
  /**
   * Opens a volume as a disk: made where the store has none of that name, grown where it is smaller. Closing the disk
   * leaves the archive open. Rejects where the volume is open, or has another block size.
   */
  openVolume(options: ArchiveVolumeOptions): Promise<VolumeDisk>;
  /** Makes a volume larger while it is open. Does nothing where it is that large. */
  grow(volume: string, sizeBytes: number): Promise<void>;
  /** Oldest first. */
  snapshots(volume: string): readonly Snapshot[];
  /** Whether the volume has content or a size that its newest snapshot has not; makes a checkpoint where it must. */
  hasChanged(volume: string): Promise<boolean>;
  /** Holds everything answered before this call. */
  createSnapshot(volume: string, description: string): Promise<Snapshot>;
  /**
   * The volume reads as the snapshot from then on, and keeps its size; `before` is a snapshot of what it was. Writes
   * wait meanwhile. Rejects with RangeError where there is no such snapshot; ids may be shortened, here and below.
   */
  restore(volume: string, id: string): Promise<{ restored: Snapshot; before: Snapshot }>;
  /** A snapshot as a read-only disk; without `id` the present, as it is at a checkpoint that is made for it. */
  openRoot(volume: string, id?: string): Promise<BlockStorage>;
  /** Makes a new volume with the content of a snapshot, in a time that does not depend on its size. */
  clone(volume: string, id: string, name: string): Promise<void>;
  /** What changed from one snapshot to the other, in ascending order. */
  diff(volume: string, from: string, to: string): AsyncGenerator<SectorRange, void, undefined>;
  /** Brings everything answered so far into the blob store. Calls that come meanwhile share the next one. */
  checkpoint(): Promise<void>;
  statistics(): ArchiveStatistics;
  /** Verifies packs and trees, as of the newest checkpoint, a few at a time so that requests go first. */
  readonly verify: Verifier["verify"];
  /** Closes the disks, makes a checkpoint, and lets go of everything. */
  close(): Promise<void>;
}

/** Opens a store and replays its journal. Rejects where anything is missing or damaged that cannot be rebuilt. */
export async function openArchive(options: ArchiveOptions): Promise<Archive> {
  const { blobs, hasher, report } = options;
  const progress = options.progress ?? (() => {});
  // Before anything else: a host that was overtaken has nothing to do here.
  const claim = await openWriterClaim({ ...options, host: options.host ?? "a host without a name" });
  const { index, storedBytes } = await openStoreIndex({
    ...options,
    progress: (done, total) => progress("reading pack directories into the index", done, total),
  });
  const blocks = packedBlocks({ ...options, index });
  const reader = new NodeReader(blocks.nodes, new NodeCache(options.nodeCacheBytes));
  const records = recordStore(blobs, hasher, claim, options.nowMs, report);
  /** What is told is why it does not open. */
  const giveUp = async (error: unknown): Promise<never> => {
    await index.close().catch(() => {});
    await blocks.close().catch(() => {});
    throw error;
  };
  const { journal, volumes, coveredSequence } = await recoverVolumes({ ...options, claim }).catch(giveUp);
  const cache = new ExtentCache(options.cacheBytes);
  const parts = { ...options, claim, journal, blocks, reader, records, cache };
  const verifications = await openVerifier({
    ...options,
    index,
    roots: () => rootsIn(blobs),
    history: fileHistory(options.disk, options.stateDirectory, report),
    pace: clientsFirst(),
    monotonicMs: () => eventLoop.nowMs(),
  });
  const kept = new Map<string, KeptVolume>();
  const roots = new Set<BlockStorage>();
  const job = checkpoints({ ...parts, volumes: () => kept.values() });
  let closing: Promise<void> | undefined;

  for (const { roots, newest, dirty } of volumes) {
    const { volumeName, volumeId, blockSizeBytes, sectorCount, journalSequence } = newest.record;
    const volume = openVolume({
      ...parts,
      id: volumeNumber(volumeId),
      sectorCount,
      dirty,
      blocks: blocks.blocksOf(blockSizeBytes),
      tree: treeOf(reader, newest),
    });
    kept.set(volumeName, {
      ...newlyKept(volumeName, volumeId, volume),
      newest,
      snapshots: [...roots.snapshots],
      checkpoints: [...roots.checkpoints],
      nextSequence: roots.nextSequence,
      coveredSequence: Math.max(journalSequence, coveredSequence),
    });
  }

  if (options.lateRequests === true) {
    await Promise.all(Array.from(kept.values(), (entry) => republish(entry, records))).catch(async (error: unknown) => {
      for (const { volume } of kept.values()) await volume.close();
      await journal.close().catch(() => {});
      cache.close();
      return giveUp(error);
    });
  }

  const make = async (
    name: string,
    blockBytes: number,
    sectorCount: number,
    origin?: StoredRecord,
  ): Promise<KeptVolume> => {
    const volumeId = newVolumeId(
      options.storeId ?? "",
      name,
      Array.from(kept.values(), ({ volume }) => volume.id),
    );
    const id = volumeNumber(volumeId);
    const tree =
      origin === undefined ? new VolumeTree(reader, blockCountFor(sectorCount, blockBytes)) : treeOf(reader, origin);
    const volume = openVolume({ ...parts, id, sectorCount, blocks: blocks.blocksOf(blockBytes), tree });
    const made = newlyKept(name, volumeId, volume);
    await publishFirst(made, origin, parts);
    kept.set(name, made);
    return made;
  };

  const volumeNamed = (name: string): KeptVolume => {
    const entry = kept.get(name);
    if (entry === undefined) throw new RangeError(`${blobs.description} has no volume ${name}`);
    return entry;
  };

  const stopWatching = watchJournal({ journal, job, checkpointBytes: options.journalCheckpointBytes, report });
  claim.onLost((error) => {
    journal.stop(error);
    stopWatching();
    report("writer", error.message);
  });
  const stopChecking = watchClaim(claim, options.claimCheckMs, report);
  const makeRoom = roomMaker(journal, () => job.run());
  const backlog = storeBacklog({
    ...parts,
    volumes: () => [...kept.values()],
    isFailing: () => options.isStoreAway?.() === true || job.statistics().failure !== undefined,
    store: blobs.description,
  });

  /** The disk of a volume, which lets another one be opened when it is closed. */
  const serve = (entry: KeptVolume, readOnly: boolean, sync: SyncMode): VolumeDisk => {
    const served = volumeDisk({
      volume: entry.volume,
      journal,
      info: { readOnly, model: "voe archive", serial: entry.volumeId.slice(0, 20), firmware: options.firmware },
      sync,
      makeRoom,
      slowdown: backlog.slowdown,
    });
    entry.disk = served;
    return {
      ...served,
      get failure() {
        return served.failure;
      },
      async close() {
        await served.close().finally(() => {
          if (entry.disk === served) entry.disk = undefined;
        });
      },
    };
  };

  return {
    description: blobs.description,
    get volumes() {
      return [...kept.keys()];
    },
    openVolume: ({ name, blockBytes, sizeBytes, readOnly, sync }) =>
      job.alone(async () => {
        if (closing !== undefined) throw new Error(`${blobs.description} is being closed`);
        const entry = kept.get(name) ?? (await make(name, blockBytes, sizeBytes / SECTOR_BYTES));
        if (entry.volume.blockBytes !== blockBytes) {
          throw new Error(
            `volume ${name} of ${blobs.description} has blocks of ${entry.volume.blockBytes} bytes, which is fixed when ` +
              `it is made: set block_size = ${entry.volume.blockBytes}, or take another volume`,
          );
        }
        if (entry.disk !== undefined) throw new Error(`volume ${name} of ${blobs.description} is served already`);
        await growVolume(entry, sizeBytes, parts);
        return serve(entry, readOnly, sync);
      }),
    grow: (name, sizeBytes) => job.alone(() => growVolume(volumeNamed(name), sizeBytes, parts)),
    snapshots: (name) => volumeNamed(name).snapshots.map(toSnapshot),
    async hasChanged(name) {
      const entry = volumeNamed(name);
      if (entry.volume.dirtyBlockCount > 0) await job.run();
      const { root, sectorCount } = entry.newest!.record;
      const snapshot = entry.snapshots.at(-1)?.record ?? { root: EMPTY_ROOT, sectorCount };
      return root !== snapshot.root || sectorCount !== snapshot.sectorCount;
    },
    createSnapshot: async (name, description) => toSnapshot(await job.snapshot(volumeNamed(name), description)),
    async restore(name, id) {
      const entry = volumeNamed(name);
      const wanted = findSnapshot(entry.snapshots, id);
      const restored = toSnapshot(wanted);
      return withoutWrites(entry, async () => {
        const before = await job.snapshot(entry, `before restoring ${restored.id}`);
        await job
          .alone(() => restoreVolume(entry, wanted, parts))
          .catch(async (error: Error) => {
            // Its record may be there all the same: after a crash the volume would be what clients do not see now.
            await job.alone(() => republish(entry, records)).catch(() => {});
            throw error;
          });
        return { restored, before: toSnapshot(before) };
      });
    },
    async openRoot(name, id) {
      const entry = volumeNamed(name);
      if (id === undefined) {
        await job.run();
        assertWhole(entry);
      }
      const { record, checksum } = id === undefined ? entry.newest! : findSnapshot(entry.snapshots, id);
      const opened = rootStorage({
        info: {
          sectorCount: record.sectorCount,
          readOnly: true,
          model: "voe snapshot",
          serial: checksum.slice(0, 20),
          firmware: options.firmware,
        },
        root: Uint8Array.fromHex(record.root),
        blocks: blocks.blocksOf(record.blockSizeBytes),
        reader,
        cache,
        report,
      });
      roots.add(opened);
      return { ...opened, close: () => opened.close().finally(() => roots.delete(opened)) };
    },
    async clone(name, id, cloneName) {
      const origin = findSnapshot(volumeNamed(name).snapshots, id);
      const { blockSizeBytes, sectorCount } = origin.record;
      await job.alone(async () => {
        if (kept.has(cloneName)) throw new RangeError(`${blobs.description} has a volume ${cloneName} already`);
        await make(cloneName, blockSizeBytes, sectorCount, origin);
      });
    },
    async *diff(name, from, to) {
      const { snapshots, volume } = volumeNamed(name);
      const records = [findSnapshot(snapshots, from).record, findSnapshot(snapshots, to).record] as const;
      const endSector = Math.max(records[0].sectorCount, records[1].sectorCount);
      for await (const range of diff(reader, rootOf(records[0]), rootOf(records[1]))) {
        yield toSectors(range, volume.blockBytes, endSector);
      }
    },
    checkpoint: () => job.run(),
    verify: (asked) => verifications.verify(asked),
    statistics: () => ({
      store: blobs.description,
      writer: { epoch: claim.epoch, failure: claim.failure?.message },
      journalBytes: journal.sizeBytes,
      journalCheckpointBytes: options.journalCheckpointBytes,
      journalLimitBytes: options.journalLimitBytes,
      backlog: backlog.statistics(),
      storedBytes: storedBytes + blocks.counters.packBytes,
      index: index.status(),
      ...blocks.counters,
      checkpoint: job.statistics(),
      verification: verifications.statistics(),
      cache: cache.statistics(),
      volumes: Array.from(kept.values(), volumeStatistics),
    }),
    close() {
      closing ??= (async () => {
        stopWatching();
        backlog.close();
        stopChecking();
        const failures: unknown[] = [];
        const attempt = (work: Promise<void> | undefined): Promise<void> =>
          Promise.resolve(work).catch((error: unknown) => void failures.push(error));
        await verifications.close();
        for (const root of roots) await attempt(root.close());
        for (const { disk: served, volume } of kept.values()) {
          await attempt(served?.close());
          await volume.close();
        }
        await attempt(
          job.close().catch((error: Error) => {
            throw new Error(`the last checkpoint failed, and the journal keeps what it has: ${error.message}`);
          }),
        );
        await attempt(journal.close());
        // What it does not know at the next start it learns from the packs.
        await index.close().catch((error: Error) => report("index:close", error.message));
        await attempt(blocks.close());
        cache.close();
        if (failures.length > 0) throw failures[0];
      })();
      return closing;
    },
  };
}

/** Of a volume that is nothing but holes. */
const EMPTY_ROOT = "0".repeat(64);
