import type {
  ArchiveStatus,
  ClientStatus,
  InterfaceStatus,
  NbdConnectionStatus,
  NbdStatus,
  StatusReport,
  TargetStatus,
  VolumeStatus,
  RemoteStatus,
} from "../../src/control/status.ts";

const GIB = 2 ** 30;

export const someTarget = (over: Partial<TargetStatus> = {}): TargetStatus => ({
  name: "e1.0",
  shelf: 1,
  slot: 0,
  configString: "archive",
  backend: "file",
  path: "/srv/disk.img",
  sizeBytes: 8 * GIB,
  readOnly: false,
  sync: "always",
  state: "ok",
  reason: "",
  reads: 1000,
  writes: 500,
  flushes: 3,
  readBytes: 8_192_000,
  writtenBytes: 512_000,
  errors: 0,
  inFlight: 2,
  space: { allocatedBytes: 2 * GIB },
  reservations: [],
  maskList: [],
  ...over,
});

export const someInterface = (over: Partial<InterfaceStatus> = {}): InterfaceStatus => ({
  name: "eth0",
  mac: "02:00:00:00:00:01",
  mtuBytes: 9000,
  up: true,
  sectorsPerFrame: 16,
  framesReceived: 12_000,
  framesSent: 11_990,
  framesDropped: 7,
  framesIgnored: 10,
  sendFailures: 0,
  ...over,
});

export const someClient = (over: Partial<ClientStatus> = {}): ClientStatus => ({
  mac: "02:00:00:00:00:99",
  interface: "eth0",
  target: "e1.0",
  requests: 1503,
  readBytes: 8_192_000,
  writtenBytes: 512_000,
  lastSeenSecondsAgo: 4,
  ...over,
});

export const someVolume = (over: Partial<VolumeStatus> = {}): VolumeStatus => ({
  name: "e1.0",
  targets: [{ name: "e1.0", snapshotId: "" }],
  sizeBytes: 8 * GIB,
  logicalBytes: 6 * GIB,
  writtenBytes: 7 * GIB,
  uniqueBytes: 3 * GIB,
  dirtyBlocks: 17,
  snapshots: 2,
  snapshotLogicalBytes: 9 * GIB,
  recentSnapshots: [
    {
      id: "77b2aa0be2d47785",
      createdAt: "2026-01-31T11:01:00.000Z",
      description: "",
      logicalBytes: 4 * GIB,
      uniqueBytes: 2 * GIB,
    },
    {
      id: "3f9a1c0be2d47785",
      createdAt: "2026-01-31T12:00:30.000Z",
      description: "before the upgrade",
      logicalBytes: 5 * GIB,
      uniqueBytes: 84 * 2 ** 20,
    },
  ],
  checkpointAt: "2026-01-31T12:01:00.000Z",
  ...over,
});

/** A store far away that is there. */
export const someRemote = (over: Partial<RemoteStatus> = {}): RemoteStatus => ({
  uploads: 2,
  downloads: 1,
  waiting: 3,
  requests: {
    put: { requests: 130, errors: 1, bytes: 2 * GIB },
    get: { requests: 4000, errors: 2, bytes: GIB },
    ref: { requests: 20, errors: 0, bytes: 20_000 },
    other: { requests: 7, errors: 0, bytes: 0 },
  },
  awaySince: "",
  lastError: "503 SlowDown",
  lastErrorAt: "2026-01-31T12:00:40.000Z",
  cache: { hits: 900, misses: 100, packs: 60, usedBytes: GIB, limitBytes: 8 * GIB },
  ...over,
});

export const someArchive = (over: Partial<ArchiveStatus> = {}): ArchiveStatus => ({
  store: "the directory /srv/blobs",
  writerEpoch: 1,
  takenOver: "",
  logicalBytes: 6 * GIB,
  snapshotLogicalBytes: 9 * GIB,
  uniqueBytes: 3 * GIB,
  compressedBytes: 1.96 * GIB,
  storedBytes: 2 * GIB,
  dedupRatio: 5,
  compressionRatio: 1.5,
  packs: 130,
  blocks: 786_500,
  writtenBytes: 7 * GIB,
  newBlocks: 1200,
  knownBlocks: 3400,
  packedBytes: 40 * 2 ** 20,
  journalBytes: 64 * 2 ** 20,
  journalCheckpointBytes: GIB / 4,
  journalLimitBytes: 2 * GIB,
  backlog: { bytes: 64 * 2 ** 20, since: "2026-01-31T12:01:00.000Z", slowsWrites: false },
  remote: null,
  cache: { hits: 97_300, misses: 2700, hitBytes: 3 * GIB, usedBytes: GIB, limitBytes: 2 * GIB },
  checkpoint: { runningSeconds: null, lastSeconds: 0.42, completed: 7, failed: 0, failure: "", failingSince: "" },
  verification: {
    running: null,
    lastRunAt: "2026-01-30T03:12:00.000Z",
    verifiedPacks: 120,
    oldestAt: "2026-01-12T03:00:00.000Z",
    damagedPacks: 0,
    damagedParts: 0,
  },
  indexMemoryBytes: 2_000_000,
  indexDiskBytes: 15_000_000,
  volumes: [someVolume()],
  ...over,
});

export const someConnection = (over: Partial<NbdConnectionStatus> = {}): NbdConnectionStatus => ({
  client: "192.168.1.5:50312",
  export: "e1.0",
  tls: true,
  name: "alice",
  requests: 1503,
  readBytes: 8_192_000,
  writtenBytes: 512_000,
  inFlight: 3,
  connectedSeconds: 61,
  ...over,
});

export const someNbd = (over: Partial<NbdStatus> = {}): NbdStatus => ({
  address: "192.168.1.2:10809",
  socket: "/run/voe/nbd.sock",
  tls: "required",
  exports: 2,
  connections: [someConnection()],
  connectionsLimit: 100,
  acceptedConnections: 7,
  refusedConnections: 0,
  bufferBytes: 12_288,
  ...over,
});

/** What a server with one target, one interface and one client reports. */
export const someReport = (over: Partial<StatusReport> = {}): StatusReport => ({
  version: "0.1.0",
  commit: "0123456789ab",
  pid: 4711,
  nbd: null,
  startedAt: "2026-01-31T12:00:00.000Z",
  uptimeSeconds: 100,
  reportedAt: "2026-01-31T12:01:40.000Z",
  interfaces: [someInterface()],
  targets: [someTarget()],
  archives: [],
  clients: [someClient()],
  warnings: [],
  ...over,
});
