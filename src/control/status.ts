/**
 * The status report of a running server: plain JSON, the one source of `voe status`, /metrics and the status page.
 * Counters count from the start of the server. MAC addresses are written `02:00:00:00:00:01`.
 */

export interface StatusReport {
  readonly version: string;
  readonly commit: string;
  readonly pid: number;
  /** ISO 8601, UTC. */
  readonly startedAt: string;
  readonly uptimeSeconds: number;
  /** The server's clock when this was reported: what ages are told by. */
  readonly reportedAt: string;
  readonly interfaces: readonly InterfaceStatus[];
  /** Absent: NBD is off. */
  readonly nbd: NbdStatus | null;
  readonly targets: readonly TargetStatus[];
  /** The stores that the archives among the targets are kept in. */
  readonly archives: readonly ArchiveStatus[];
  /** The clients seen most recently: the server remembers a bounded number. */
  readonly clients: readonly ClientStatus[];
  /** What the operator should know, as sentences: failed targets and interfaces without a link among them. */
  readonly warnings: readonly string[];
}

export interface InterfaceStatus {
  readonly name: string;
  /** Empty, and the MTU 0, while there is no such interface. */
  readonly mac: string;
  readonly mtuBytes: number;
  readonly up: boolean;
  /** What one frame carries at this MTU, as told to initiators. */
  readonly sectorsPerFrame: number;
  /** AoE frames taken from the interface, those ignored included. */
  readonly framesReceived: number;
  readonly framesSent: number;
  /** Frames the kernel threw away because the receive ring was full (`tp_drops` of PACKET_STATISTICS). */
  readonly framesDropped: number;
  /** Frames that were for none of the targets here, or were no requests. */
  readonly framesIgnored: number;
  /** Answers that the kernel would not take. */
  readonly sendFailures: number;
}

export interface NbdStatus {
  /** As in `127.0.0.1:10809`; empty: TCP is not listened on. */
  readonly address: string;
  /** Path of the unix socket; empty: there is none. */
  readonly socket: string;
  readonly tls: "off" | "required";
  /** Targets that are served, also those that not every client may have. */
  readonly exports: number;
  readonly connections: readonly NbdConnectionStatus[];
  readonly connectionsLimit: number;
  /** Connections that were let in since the start, and that were turned away. */
  readonly acceptedConnections: number;
  readonly refusedConnections: number;
  /** Memory for the data of requests that wait for a medium or for a client. */
  readonly bufferBytes: number;
}

export interface NbdConnectionStatus {
  /** As in `192.168.1.5:50312`; `unix` for the unix socket. */
  readonly client: string;
  /** Name of the target, as in `e1.0`; empty during the handshake. */
  readonly export: string;
  readonly tls: boolean;
  /** The common name of the client's certificate; empty where it has shown none. */
  readonly name: string;
  readonly requests: number;
  readonly readBytes: number;
  readonly writtenBytes: number;
  readonly inFlight: number;
  readonly connectedSeconds: number;
}

export interface TargetStatus {
  /** As in `e1.0`. */
  readonly name: string;
  readonly shelf: number;
  readonly slot: number;
  readonly configString: string;
  /** As in the configuration: `file` or `device`. */
  readonly backend: string;
  readonly path: string;
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  /** As in the configuration: `always`, `none`, or a duration such as `1s`. */
  readonly sync: string;
  readonly state: "ok" | "failed";
  /** Why the target failed; empty while it is ok. */
  readonly reason: string;
  readonly reads: number;
  readonly writes: number;
  readonly flushes: number;
  readonly readBytes: number;
  readonly writtenBytes: number;
  /** Requests that ended in an error of the medium or of the client. */
  readonly errors: number;
  /** Requests taken and not answered yet. */
  readonly inFlight: number;
  readonly space: TargetSpace;
  /** MAC addresses that hold the reservation; empty when the target is not reserved. */
  readonly reservations: readonly string[];
  /** MAC addresses that may use the target; empty when everyone may. */
  readonly maskList: readonly string[];
}

interface TargetSpace {
  /** What the target takes up on its medium: less than `sizeBytes` where a file is sparse. */
  readonly allocatedBytes: number;
}

/** Moments are ISO 8601, UTC, and empty where there is none. */
export interface ArchiveStatus {
  /** Where the store is. */
  readonly store: string;
  /** The epoch by which this server writes the store. */
  readonly writerEpoch: number;
  /** Who has taken the store over, so that this server must not write it any more; "": nobody. */
  readonly takenOver: string;
  /** Bytes of the volumes' blocks that are not holes, as of their newest checkpoints. */
  readonly logicalBytes: number;
  /** The same of all snapshots: what they would take as files. */
  readonly snapshotLogicalBytes: number;
  /** Bytes of all blocks that the store has, each counted once, before compression. */
  readonly uniqueBytes: number;
  /** Bytes of these blocks as they are stored. */
  readonly compressedBytes: number;
  /** Bytes of the packs that hold them, with their directories. */
  readonly storedBytes: number;
  /** Volumes and snapshots, by what is unique; null where nothing is stored yet, here and below. */
  readonly dedupRatio: number | null;
  /** What is unique, by what is stored. */
  readonly compressionRatio: number | null;
  readonly packs: number;
  readonly blocks: number;
  /** Bytes that clients have written, and blocks that became of them: new ones, and those the store had. */
  readonly writtenBytes: number;
  readonly newBlocks: number;
  readonly knownBlocks: number;
  /** Bytes of the packs that were stored. */
  readonly packedBytes: number;
  readonly journalBytes: number;
  /** The size at which a checkpoint begins, and at which writes wait for one. */
  readonly journalCheckpointBytes: number;
  readonly journalLimitBytes: number;
  readonly backlog: BacklogStatus;
  /** Null: the store is on this host. */
  readonly remote: RemoteStatus | null;
  readonly cache: CacheStatus;
  readonly checkpoint: CheckpointStatus;
  readonly verification: VerificationStatus;
  /** Memory and disk that the index takes. */
  readonly indexMemoryBytes: number;
  readonly indexDiskBytes: number;
  readonly volumes: readonly VolumeStatus[];
}

/** What was answered, and is in the journal and not in the store. */
export interface BacklogStatus {
  readonly bytes: number;
  /** Since when the oldest of it waits. */
  readonly since: string;
  /** Whether writes are slowed, because the journal is nearly full and the store takes nothing. */
  readonly slowsWrites: boolean;
}

/** How a store that is far away fares. */
export interface RemoteStatus {
  /** Transfers under way, and those that wait for one of them to end. */
  readonly uploads: number;
  readonly downloads: number;
  readonly waiting: number;
  readonly requests: Readonly<Record<RequestKind, RequestStatus>>;
  /** Since when nothing has succeeded; empty: the store is there. */
  readonly awaySince: string;
  /** What it failed with last, whether or not it is there again. */
  readonly lastError: string;
  readonly lastErrorAt: string;
  /** Packs on this host's disk; null: it has no cache. */
  readonly cache: PackCacheStatus | null;
}

/** Blobs put, blobs read, refs, and the rest. */
export type RequestKind = "put" | "get" | "ref" | "other";

interface RequestStatus {
  /** Each attempt counts. */
  readonly requests: number;
  /** Those that failed; that something is not there is no failure. */
  readonly errors: number;
  /** Content that was carried. */
  readonly bytes: number;
}

interface PackCacheStatus {
  /** Reads that the cache had all of, and others. */
  readonly hits: number;
  readonly misses: number;
  readonly packs: number;
  readonly usedBytes: number;
  readonly limitBytes: number;
}

/** What is kept in memory of volumes and snapshots. */
export interface CacheStatus {
  /** Reads answered from memory alone, and others. */
  readonly hits: number;
  readonly misses: number;
  readonly hitBytes: number;
  readonly usedBytes: number;
  readonly limitBytes: number;
}

/** Checkpoints bring what is in the journal into packs. */
export interface CheckpointStatus {
  /** How long the one that is under way has taken so far. */
  readonly runningSeconds: number | null;
  /** How long the last one that was completed took. */
  readonly lastSeconds: number | null;
  readonly completed: number;
  readonly failed: number;
  /** Why the last one failed, and since when none was completed; empty while they succeed. */
  readonly failure: string;
  readonly failingSince: string;
}

/** What `voe verify` has found. */
export interface VerificationStatus {
  /** How far the one that is under way has come. */
  readonly running: { readonly bytesDone: number; readonly bytesTotal: number; readonly seconds: number } | null;
  readonly lastRunAt: string;
  /** Packs that were found good, and when the one was whose last time is longest ago. */
  readonly verifiedPacks: number;
  readonly oldestAt: string;
  /** Packs and parts of the trees that were found damaged, and have not been found good since. */
  readonly damagedPacks: number;
  readonly damagedParts: number;
}

export interface VolumeStatus {
  readonly name: string;
  /** What serves it. */
  readonly targets: readonly VolumeTarget[];
  readonly sizeBytes: number;
  readonly logicalBytes: number;
  /** Bytes that clients have written since the server started. */
  readonly writtenBytes: number;
  /** Bytes of the blocks that came into the store with this volume, before compression, ever since it was made. */
  readonly uniqueBytes: number;
  /** Blocks that wait in the journal for the next checkpoint. */
  readonly dirtyBlocks: number;
  readonly snapshots: number;
  readonly snapshotLogicalBytes: number;
  /** The newest of them, oldest first. */
  readonly recentSnapshots: readonly SnapshotStatus[];
  /** When the newest checkpoint or snapshot was made. */
  readonly checkpointAt: string;
}

export interface VolumeTarget {
  /** As in `e1.0`. */
  readonly name: string;
  /** The snapshot that it serves; empty: the volume as it is. */
  readonly snapshotId: string;
}

export interface SnapshotStatus {
  readonly id: string;
  readonly createdAt: string;
  readonly description: string;
  readonly logicalBytes: number;
  /** Bytes of the blocks that were new to the store since the snapshot before, before compression. */
  readonly uniqueBytes: number;
}

export interface ClientStatus {
  readonly mac: string;
  readonly interface: string;
  /** Name of the target, as in `e1.0`. */
  readonly target: string;
  readonly requests: number;
  readonly readBytes: number;
  readonly writtenBytes: number;
  readonly lastSeenSecondsAgo: number;
}
