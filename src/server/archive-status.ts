/** What is told of an archive in the status report, and which of it an operator should act on. */
import { formatBytes } from "../base/human.ts";
import type { ArchiveStatus, RemoteStatus, VolumeTarget } from "../control/status.ts";
import type { Archive } from "../storage/cas/archive.ts";
import { directoryBytesFor } from "../storage/cas/pack-format.ts";
import type { RemoteStatistics } from "./open-blob-store.ts";
import type { ServedTarget } from "./served-target.ts";

/** The part of the journal's limit from which on it is a warning. */
const JOURNAL_WARNING_PART = 0.8;

/**
 * `targets` are those of the server, of which some serve volumes and snapshots of the archive; `remote` is how its store
 * fares, where that is far away.
 */
export function archiveStatus(
  archive: Pick<Archive, "statistics">,
  targets: readonly Pick<ServedTarget, "name" | "archive" | "config">[],
  remote?: RemoteStatistics,
): ArchiveStatus {
  const { store, writer, index, storedBytes, newBlocks, knownBlocks, packBytes, checkpoint, verification, ...rest } =
    archive.statistics();
  const { journalBytes, journalCheckpointBytes, journalLimitBytes, backlog, volumes, cache } = rest;
  const sum = (of: (volume: (typeof volumes)[number]) => number): number =>
    volumes.reduce((total, volume) => total + of(volume), 0);
  const logicalBytes = sum((volume) => volume.logicalBytes);
  const snapshotLogicalBytes = sum((volume) => volume.snapshotLogicalBytes);
  const { running } = verification;
  return {
    store,
    writerEpoch: writer.epoch,
    takenOver: writer.failure ?? "",
    logicalBytes,
    snapshotLogicalBytes,
    uniqueBytes: index.plainBytes,
    compressedBytes: Math.max(0, storedBytes - directoryBytesFor(index.packCount, index.entryCount)),
    storedBytes,
    dedupRatio: ratio(logicalBytes + snapshotLogicalBytes, index.plainBytes),
    compressionRatio: ratio(index.plainBytes, storedBytes),
    packs: index.packCount,
    blocks: index.entryCount,
    writtenBytes: sum((volume) => volume.writtenBytes),
    newBlocks,
    knownBlocks,
    packedBytes: packBytes,
    journalBytes,
    journalCheckpointBytes,
    journalLimitBytes,
    backlog: { bytes: backlog.bytes, since: moment(backlog.sinceMs ?? 0), slowsWrites: backlog.slowsWrites },
    remote: remote === undefined ? null : remoteStatus(remote),
    cache: {
      hits: cache.hits,
      misses: cache.misses,
      hitBytes: cache.hitBytes,
      usedBytes: cache.usedBytes,
      limitBytes: cache.limitBytes,
    },
    checkpoint: {
      runningSeconds: inSeconds(checkpoint.runningMs),
      lastSeconds: inSeconds(checkpoint.lastMs),
      completed: checkpoint.completed,
      failed: checkpoint.failed,
      failure: checkpoint.failure?.message ?? "",
      failingSince: moment(checkpoint.failure?.sinceMs ?? 0),
    },
    verification: {
      running:
        running === undefined
          ? null
          : { bytesDone: running.bytesDone, bytesTotal: running.bytesTotal, seconds: running.elapsedMs / 1000 },
      lastRunAt: moment(verification.lastRunMs),
      verifiedPacks: verification.verifiedPacks,
      oldestAt: moment(verification.oldestVerifiedMs),
      damagedPacks: verification.damagedPacks,
      damagedParts: verification.damagedParts,
    },
    indexMemoryBytes: index.memoryBytes,
    indexDiskBytes: index.diskBytes,
    volumes: volumes.map(({ checkpointMs, recentSnapshots, ...volume }) => ({
      ...volume,
      targets: targets.flatMap((target) => servedBy(target, archive, volume.name)),
      recentSnapshots: recentSnapshots.map(({ id, createdMs, description, logicalBytes: bytes, uniqueBytes }) => ({
        id,
        createdAt: moment(createdMs),
        description,
        logicalBytes: bytes,
        uniqueBytes,
      })),
      checkpointAt: moment(checkpointMs),
    })),
  };
}

const remoteStatus = ({ requests, lastError, awaySinceMs, transfers, cache }: RemoteStatistics): RemoteStatus => ({
  ...transfers,
  requests,
  awaySince: moment(awaySinceMs ?? 0),
  lastError: lastError?.message ?? "",
  lastErrorAt: moment(lastError?.atMs ?? 0),
  cache: cache ?? null,
});

function servedBy(
  { name, archive: place, config }: Pick<ServedTarget, "name" | "archive" | "config">,
  archive: Pick<Archive, "statistics">,
  volume: string,
): VolumeTarget[] {
  if (place?.archive !== archive || place.volume !== volume) return [];
  return [{ name, snapshotId: config.exposed?.kind === "snapshot" ? config.exposed.snapshotId : "" }];
}

const ratio = (of: number, to: number): number | null => (of === 0 || to === 0 ? null : of / to);

const inSeconds = (ms: number | undefined): number | null => (ms === undefined ? null : ms / 1000);

const moment = (ms: number): string => (ms === 0 ? "" : new Date(ms).toISOString());

/** For people, to the minute. */
const shortMoment = (text: string): string => `${text.slice(0, 16).replace("T", " ")} UTC`;

/** Sentences, each with what to do. */
export function archiveWarnings(archive: ArchiveStatus): string[] {
  const { store, checkpoint, journalBytes, journalLimitBytes, backlog, remote, verification } = archive;
  const warnings: string[] = [];
  const say = (text: string): void => void warnings.push(`archive ${store}: ${text}`);
  const whenFull = backlog.slowsWrites
    ? "writes are slowed by now, and refused when it is full"
    : "writes wait when it is full";
  const journal =
    `${Math.round((journalBytes / journalLimitBytes) * 100)} % full (${formatBytes(journalBytes)} of ` +
    `${formatBytes(journalLimitBytes)})${backlog.since === "" ? "" : ` with writes since ${shortMoment(backlog.since)}`}; ` +
    whenFull;
  if (archive.takenOver !== "") {
    say(archive.takenOver);
  } else if (checkpoint.failure !== "") {
    say(
      `no checkpoint has succeeded since ${shortMoment(checkpoint.failingSince)} (${checkpoint.failure}). Nothing that was ` +
        `answered is lost: it is in the journal, which is ${journal}. See that the store is there, can be written and ` +
        `has space: the checkpoint is tried again by itself`,
    );
  } else if (remote !== null && remote.awaySince !== "") {
    say(
      `the store has been away since ${shortMoment(remote.awaySince)} (${remote.lastError}). What is cached is served, and ` +
        `writes go into the journal, which is ${journal}. See that the store can be reached: it is tried again by itself`,
    );
  } else if (journalBytes > journalLimitBytes * JOURNAL_WARNING_PART) {
    say(
      `the journal is ${journal}. Clients write faster than the store takes it: if that lasts, give the archive a ` +
        `faster store, or bridge bursts with a larger journal_size`,
    );
  }
  const { damagedPacks, damagedParts } = verification;
  if (damagedPacks + damagedParts > 0) {
    say(
      `the last verification found damage (packs: ${damagedPacks}, parts of trees: ${damagedParts}). Delete nothing, ` +
        `run voe verify to see which volumes and snapshots it affects, and look at the medium`,
    );
  }
  return warnings;
}
