/**
 * The status report in Prometheus' text format 0.0.4
 * (https://prometheus.io/docs/instrumenting/exposition_formats/). Clients are only counted: a series for each MAC
 * address would let anyone on the wire, who can make up addresses, grow the monitoring without bound.
 */
import { family, one, type Labels, type Sample } from "../base/prometheus-text.ts";
import type {
  ArchiveStatus,
  InterfaceStatus,
  NbdStatus,
  RemoteStatus,
  StatusReport,
  TargetStatus,
  VolumeStatus,
} from "./status.ts";

const INTERFACE_METRICS: readonly [name: string, help: string, value: (link: InterfaceStatus) => number][] = [
  ["voe_interface_up", "1 while the interface has a link.", (link) => Number(link.up)],
  ["voe_interface_mtu_bytes", "MTU of the interface.", (link) => link.mtuBytes],
  ["voe_interface_frame_sectors", "Sectors that one frame carries.", (link) => link.sectorsPerFrame],
  ["voe_interface_received_frames_total", "AoE frames received.", (link) => link.framesReceived],
  ["voe_interface_sent_frames_total", "AoE frames sent.", (link) => link.framesSent],
  [
    "voe_interface_dropped_frames_total",
    "Frames the kernel dropped because the receive ring was full.",
    (link) => link.framesDropped,
  ],
  [
    "voe_interface_ignored_frames_total",
    "Frames received that were not for a target here.",
    (link) => link.framesIgnored,
  ],
  ["voe_interface_send_failures_total", "Frames the kernel refused to send.", (link) => link.sendFailures],
];

const NBD_METRICS: readonly [name: string, help: string, value: (nbd: NbdStatus) => number][] = [
  ["voe_nbd_exports", "Targets that NBD serves.", (nbd) => nbd.exports],
  ["voe_nbd_connections", "Connections of NBD clients.", (nbd) => nbd.connections.length],
  ["voe_nbd_connections_limit", "The most connections at a time.", (nbd) => nbd.connectionsLimit],
  ["voe_nbd_accepted_connections_total", "Connections that were let in.", (nbd) => nbd.acceptedConnections],
  ["voe_nbd_refused_connections_total", "Connections that were turned away.", (nbd) => nbd.refusedConnections],
  [
    "voe_nbd_in_flight_requests",
    "Requests of NBD clients taken and not answered yet.",
    (nbd) => nbd.connections.reduce((total, { inFlight }) => total + inFlight, 0),
  ],
  ["voe_nbd_buffer_bytes", "Memory for the data of requests that wait.", (nbd) => nbd.bufferBytes],
];

const TARGET_METRICS: readonly [name: string, help: string, value: (target: TargetStatus) => number][] = [
  ["voe_target_up", "1 while the target serves, 0 when it has failed.", (target) => Number(target.state === "ok")],
  ["voe_target_size_bytes", "Size of the disk.", (target) => target.sizeBytes],
  ["voe_target_allocated_bytes", "What the disk takes up on its medium.", (target) => target.space.allocatedBytes],
  ["voe_target_read_only", "1 when writes are refused.", (target) => Number(target.readOnly)],
  ["voe_target_reads_total", "Read requests.", (target) => target.reads],
  ["voe_target_writes_total", "Write requests.", (target) => target.writes],
  ["voe_target_flushes_total", "Flush requests.", (target) => target.flushes],
  ["voe_target_read_bytes_total", "Bytes read by clients.", (target) => target.readBytes],
  ["voe_target_written_bytes_total", "Bytes written by clients.", (target) => target.writtenBytes],
  ["voe_target_errors_total", "Requests that ended in an error.", (target) => target.errors],
  ["voe_target_in_flight_requests", "Requests taken and not answered yet.", (target) => target.inFlight],
  ["voe_target_reservations", "Clients that hold the reservation.", (target) => target.reservations.length],
];

/** Nothing where the report has nothing yet. */
type Value<Row> = (row: Row) => number | null;

/** A moment of the report in seconds since 1970. */
const seconds = (moment: string): number | null => (moment === "" ? null : Date.parse(moment) / 1000);

const ARCHIVE_METRICS: readonly [name: string, help: string, value: Value<ArchiveStatus>][] = [
  ["voe_archive_logical_bytes", "Bytes of the volumes that are not holes.", (archive) => archive.logicalBytes],
  [
    "voe_archive_snapshot_logical_bytes",
    "Bytes of all snapshots that are not holes.",
    (archive) => archive.snapshotLogicalBytes,
  ],
  ["voe_archive_unique_bytes", "Bytes of all blocks, each once, before compression.", (archive) => archive.uniqueBytes],
  ["voe_archive_compressed_bytes", "Bytes of these blocks as stored.", (archive) => archive.compressedBytes],
  ["voe_archive_stored_bytes", "Bytes of the packs.", (archive) => archive.storedBytes],
  ["voe_archive_dedup_ratio", "Volumes and snapshots, by what is unique.", (archive) => archive.dedupRatio],
  ["voe_archive_compression_ratio", "What is unique, by what is stored.", (archive) => archive.compressionRatio],
  ["voe_archive_packs", "Packs in the store.", (archive) => archive.packs],
  ["voe_archive_blocks", "Blocks in the store, tree nodes among them.", (archive) => archive.blocks],
  ["voe_archive_written_bytes_total", "Bytes written by clients.", (archive) => archive.writtenBytes],
  ["voe_archive_new_blocks_total", "Blocks written that the store did not have.", (archive) => archive.newBlocks],
  ["voe_archive_known_blocks_total", "Blocks written that the store had.", (archive) => archive.knownBlocks],
  ["voe_archive_packed_bytes_total", "Bytes of the packs that were stored.", (archive) => archive.packedBytes],
  ["voe_archive_journal_bytes", "Size of the journal.", (archive) => archive.journalBytes],
  [
    "voe_archive_journal_checkpoint_bytes",
    "Size of the journal at which a checkpoint begins.",
    (archive) => archive.journalCheckpointBytes,
  ],
  ["voe_archive_journal_limit_bytes", "The most that the journal may take.", (archive) => archive.journalLimitBytes],
  ["voe_archive_backlog_bytes", "Bytes in the journal that the store does not have.", ({ backlog }) => backlog.bytes],
  [
    "voe_archive_backlog_timestamp_seconds",
    "When the oldest of them was written.",
    ({ backlog }) => seconds(backlog.since),
  ],
  [
    "voe_archive_writes_slowed",
    "1 while writes are slowed because the store takes nothing.",
    ({ backlog }) => Number(backlog.slowsWrites),
  ],
  ["voe_archive_cache_hits_total", "Reads answered from memory alone.", ({ cache }) => cache.hits],
  ["voe_archive_cache_misses_total", "Reads that had to wait for the medium.", ({ cache }) => cache.misses],
  ["voe_archive_cache_hit_bytes_total", "Bytes read from memory alone.", ({ cache }) => cache.hitBytes],
  ["voe_archive_cache_bytes", "Memory that the cache takes.", ({ cache }) => cache.usedBytes],
  ["voe_archive_cache_limit_bytes", "The most that the cache may take.", ({ cache }) => cache.limitBytes],
  ["voe_archive_checkpoints_total", "Checkpoints that were completed.", ({ checkpoint }) => checkpoint.completed],
  ["voe_archive_checkpoint_failures_total", "Checkpoints that failed.", ({ checkpoint }) => checkpoint.failed],
  [
    "voe_archive_checkpoint_failing",
    "1 when the last checkpoint failed.",
    ({ checkpoint }) => Number(checkpoint.failure !== ""),
  ],
  [
    "voe_archive_checkpoint_running_seconds",
    "How long the checkpoint under way has taken; 0 when none is.",
    ({ checkpoint }) => checkpoint.runningSeconds ?? 0,
  ],
  [
    "voe_archive_checkpoint_last_duration_seconds",
    "How long the last checkpoint took that was completed.",
    ({ checkpoint }) => checkpoint.lastSeconds,
  ],
  ["voe_archive_writer_epoch", "The epoch by which this server writes the store.", (archive) => archive.writerEpoch],
  [
    "voe_archive_taken_over",
    "1 when another host has taken the store over, and this one has stopped writing it.",
    ({ takenOver }) => Number(takenOver !== ""),
  ],
  [
    "voe_archive_verification_timestamp_seconds",
    "When the last verification ended.",
    ({ verification }) => seconds(verification.lastRunAt),
  ],
  [
    "voe_archive_oldest_verified_timestamp_seconds",
    "When the pack was verified whose last time is longest ago.",
    ({ verification }) => seconds(verification.oldestAt),
  ],
  ["voe_archive_verified_packs", "Packs found good.", ({ verification }) => verification.verifiedPacks],
  [
    "voe_archive_damaged",
    "Packs and parts of trees found damaged, and not found good since.",
    ({ verification }) => verification.damagedPacks + verification.damagedParts,
  ],
  ["voe_archive_index_memory_bytes", "Memory that the index takes.", (archive) => archive.indexMemoryBytes],
  ["voe_archive_index_disk_bytes", "Disk that the index takes.", (archive) => archive.indexDiskBytes],
];

const STORE_METRICS: readonly [name: string, help: string, value: Value<RemoteStatus>][] = [
  ["voe_store_away", "1 while no request to the store succeeds.", (remote) => Number(remote.awaySince !== "")],
  ["voe_store_uploads", "Uploads under way.", (remote) => remote.uploads],
  ["voe_store_downloads", "Downloads under way.", (remote) => remote.downloads],
  ["voe_store_waiting_transfers", "Transfers that wait for others to end.", (remote) => remote.waiting],
  ["voe_store_cache_hits_total", "Reads of packs that the cache had all of.", ({ cache }) => cache?.hits ?? null],
  ["voe_store_cache_misses_total", "Reads of packs that went to the store.", ({ cache }) => cache?.misses ?? null],
  ["voe_store_cache_bytes", "Disk that the cached packs take.", ({ cache }) => cache?.usedBytes ?? null],
  ["voe_store_cache_limit_bytes", "The most that they may take.", ({ cache }) => cache?.limitBytes ?? null],
];

const REQUEST_METRICS: readonly [name: string, help: string, value: Value<RemoteStatus["requests"]["put"]>][] = [
  ["voe_store_requests_total", "Requests to the store, each attempt.", ({ requests }) => requests],
  ["voe_store_request_errors_total", "Requests that failed.", ({ errors }) => errors],
  ["voe_store_request_bytes_total", "Content of blobs and refs that was carried.", ({ bytes }) => bytes],
];

const VOLUME_METRICS: readonly [name: string, help: string, value: Value<VolumeStatus>][] = [
  ["voe_volume_size_bytes", "Size of the volume.", (volume) => volume.sizeBytes],
  ["voe_volume_logical_bytes", "Bytes of the volume that are not holes.", (volume) => volume.logicalBytes],
  ["voe_volume_written_bytes_total", "Bytes written by clients.", (volume) => volume.writtenBytes],
  ["voe_volume_unique_bytes", "Bytes that came into the store with the volume.", (volume) => volume.uniqueBytes],
  ["voe_volume_dirty_blocks", "Blocks that wait for the next checkpoint.", (volume) => volume.dirtyBlocks],
  ["voe_volume_snapshots", "Snapshots of the volume.", (volume) => volume.snapshots],
  [
    "voe_volume_snapshot_timestamp_seconds",
    "When the newest snapshot was made.",
    (volume) => seconds(volume.recentSnapshots.at(-1)?.createdAt ?? ""),
  ],
  [
    "voe_volume_checkpoint_timestamp_seconds",
    "When the newest checkpoint was made.",
    (volume) => seconds(volume.checkpointAt),
  ],
];

/** The sample of each row that has a value. */
const samplesOf = <Row>(rows: readonly (readonly [labels: Labels, row: Row])[], value: Value<Row>): readonly Sample[] =>
  rows.flatMap(([labels, row]): Sample[] => {
    const sample = value(row);
    return sample === null ? [] : [[labels, sample]];
  });

/** The whole answer to `GET /metrics`. */
export function renderMetrics(report: StatusReport): string {
  const { version, commit, interfaces, targets, archives } = report;
  const startSeconds = Date.parse(report.startedAt) / 1000;
  const stores = archives.map((archive) => [{ store: archive.store }, archive] as const);
  const volumes = archives.flatMap((archive) =>
    archive.volumes.map((volume) => [{ store: archive.store, volume: volume.name }, volume] as const),
  );
  const remotes = archives.flatMap(({ store, remote }) => (remote === null ? [] : [[{ store }, remote] as const]));
  const kinds = remotes.flatMap(([labels, { requests }]) =>
    Object.entries(requests).map(([kind, counters]) => [{ ...labels, kind }, counters] as const),
  );
  return [
    family("voe_build_info", "Version and commit of the server.", one(1, { version, commit })),
    family("voe_start_time_seconds", "When the server started, in seconds since 1970.", one(startSeconds)),
    family("voe_warnings", "Warnings in the status report.", one(report.warnings.length)),
    family("voe_clients", "Clients in the status report.", one(report.clients.length)),
    ...INTERFACE_METRICS.map(([name, help, value]) =>
      family(
        name,
        help,
        interfaces.map((link) => [{ interface: link.name }, value(link)]),
      ),
    ),
    ...(report.nbd === null ? [] : nbdFamilies(report.nbd)),
    family(
      "voe_target_info",
      "How the target is configured.",
      targets.map((target) => [infoLabels(target), 1]),
    ),
    ...TARGET_METRICS.map(([name, help, value]) =>
      family(
        name,
        help,
        targets.map((target) => [{ target: target.name }, value(target)]),
      ),
    ),
    ...ARCHIVE_METRICS.map(([name, help, value]) => family(name, help, samplesOf(stores, value))),
    ...STORE_METRICS.map(([name, help, value]) => family(name, help, samplesOf(remotes, value))),
    ...REQUEST_METRICS.map(([name, help, value]) => family(name, help, samplesOf(kinds, value))),
    ...VOLUME_METRICS.map(([name, help, value]) => family(name, help, samplesOf(volumes, value))),
  ].join("");
}

const nbdFamilies = (nbd: NbdStatus): readonly string[] =>
  NBD_METRICS.map(([name, help, value]) => family(name, help, one(value(nbd))));

function infoLabels({ name, backend, path, configString, sync }: TargetStatus): Labels {
  return { target: name, backend, path, config_string: configString, sync };
}
