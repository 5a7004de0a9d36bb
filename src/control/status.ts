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
  readonly interfaces: readonly InterfaceStatus[];
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

export interface ArchiveStatus {
  /** Where the store is. */
  readonly store: string;
  /** Bytes of the volumes' blocks that are not holes, as of their newest checkpoints. */
  readonly logicalBytes: number;
  /** Bytes of all blocks that the store has, each counted once, before compression; those of snapshots too. */
  readonly uniqueBytes: number;
  /** Bytes of the packs that hold them. */
  readonly storedBytes: number;
  readonly packs: number;
  readonly blocks: number;
  /** Blocks that were written since the server started: new ones, and those the store had. */
  readonly newBlocks: number;
  readonly knownBlocks: number;
  readonly journalBytes: number;
  readonly journalLimitBytes: number;
  /** Memory and disk that the index takes. */
  readonly indexMemoryBytes: number;
  readonly indexDiskBytes: number;
  readonly volumes: readonly VolumeStatus[];
}

export interface VolumeStatus {
  readonly name: string;
  readonly sizeBytes: number;
  readonly logicalBytes: number;
  /** Blocks that wait in the journal for the next checkpoint. */
  readonly dirtyBlocks: number;
  readonly snapshots: number;
  /** When the newest checkpoint or snapshot was made: ISO 8601, UTC. */
  readonly checkpointAt: string;
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
