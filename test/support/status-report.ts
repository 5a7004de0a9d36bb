import type {
  ArchiveStatus,
  ClientStatus,
  InterfaceStatus,
  StatusReport,
  TargetStatus,
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

export const someArchive = (over: Partial<ArchiveStatus> = {}): ArchiveStatus => ({
  store: "the directory /srv/blobs",
  logicalBytes: 6 * GIB,
  uniqueBytes: 3 * GIB,
  storedBytes: 2 * GIB,
  packs: 130,
  blocks: 786_500,
  newBlocks: 1200,
  knownBlocks: 3400,
  journalBytes: 64 * 2 ** 20,
  journalLimitBytes: 2 * GIB,
  indexMemoryBytes: 2_000_000,
  indexDiskBytes: 15_000_000,
  volumes: [
    {
      name: "e1.0",
      sizeBytes: 8 * GIB,
      logicalBytes: 6 * GIB,
      dirtyBlocks: 17,
      snapshots: 3,
      checkpointAt: "2026-01-31T12:01:00.000Z",
    },
  ],
  ...over,
});

/** What a server with one target, one interface and one client reports. */
export const someReport = (over: Partial<StatusReport> = {}): StatusReport => ({
  version: "0.1.0",
  commit: "0123456789ab",
  pid: 4711,
  startedAt: "2026-01-31T12:00:00.000Z",
  uptimeSeconds: 100,
  interfaces: [someInterface()],
  targets: [someTarget()],
  archives: [],
  clients: [someClient()],
  warnings: [],
  ...over,
});
