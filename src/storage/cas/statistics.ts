/** What an archive takes and holds, for status and metrics. Counters count from when it was opened. */
import { SECTOR_BYTES } from "../block-storage.ts";
import type { CheckpointStatistics } from "./checkpoint-log.ts";
import type { CacheStatistics } from "./extent-cache.ts";
import type { IndexStatus } from "./index/block-index.ts";
import type { KeptVolume } from "./kept-volume.ts";
import type { BacklogStatistics } from "./store-backlog.ts";
import { toSnapshot, type Snapshot } from "./snapshot.ts";
import type { VerificationStatistics } from "./verify/verifier.ts";
import { uniqueSoFar } from "./volume-changes.ts";

export interface ArchiveStatistics {
  readonly store: string;
  /** The epoch by which this host writes the store, and why it must not any more, where another has taken over. */
  readonly writer: { readonly epoch: number; readonly failure: string | undefined };
  readonly journalBytes: number;
  /** Size of the journal at which a checkpoint begins, and at which writes wait for one. */
  readonly journalCheckpointBytes: number;
  readonly journalLimitBytes: number;
  /** What was answered and is in the journal alone. */
  readonly backlog: BacklogStatistics;
  /** Bytes of all packs. */
  readonly storedBytes: number;
  readonly index: IndexStatus;
  /** Blocks that were stored: new ones, those the store had, bytes of the new ones, and of the packs they went into. */
  readonly newBlocks: number;
  readonly knownBlocks: number;
  readonly newBytes: number;
  readonly packBytes: number;
  /** Reads and the cache that answers them. */
  readonly cache: CacheStatistics;
  readonly checkpoint: CheckpointStatistics;
  readonly verification: VerificationStatistics;
  readonly volumes: readonly VolumeStatistics[];
}

export interface VolumeStatistics {
  readonly name: string;
  readonly sizeBytes: number;
  /** Bytes of the blocks that are not holes, as of the newest checkpoint. */
  readonly logicalBytes: number;
  /** Bytes that clients have written. */
  readonly writtenBytes: number;
  /** Bytes of the blocks that came into the store with this volume, before compression, ever since it was made. */
  readonly uniqueBytes: number;
  readonly dirtyBlocks: number;
  readonly snapshots: number;
  /** Bytes of the blocks of all snapshots that are not holes: what they would take as files. */
  readonly snapshotLogicalBytes: number;
  /** The newest snapshots, oldest first. */
  readonly recentSnapshots: readonly Snapshot[];
  /** When the newest record was made, milliseconds since 1970. */
  readonly checkpointMs: number;
}

/** Snapshots of a volume that are listed with its statistics. */
const RECENT_SNAPSHOTS = 12;

export function volumeStatistics({ name, newest, snapshots, volume }: KeptVolume): VolumeStatistics {
  const { record } = newest!;
  let uniqueBytes = uniqueSoFar(record);
  let snapshotLogicalBytes = 0;
  for (const snapshot of snapshots) {
    uniqueBytes += snapshot.record.uniqueBytes;
    snapshotLogicalBytes += snapshot.record.logicalBytes;
  }
  return {
    name,
    sizeBytes: volume.sectorCount * SECTOR_BYTES,
    logicalBytes: record.logicalBytes,
    writtenBytes: volume.writtenBytes,
    uniqueBytes,
    dirtyBlocks: volume.dirtyBlockCount,
    snapshots: snapshots.length,
    snapshotLogicalBytes,
    recentSnapshots: snapshots.slice(-RECENT_SNAPSHOTS).map(toSnapshot),
    checkpointMs: record.createdMs,
  };
}
