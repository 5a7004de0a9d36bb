/** A target of the configuration, opened: its storage, and its face on AoE. */
import { formatAddress } from "../base/address.ts";
import { formatDuration } from "../base/duration.ts";
import type { CasBackendConfig, ExposedConfig, SyncConfig, TargetConfig } from "../config/config.ts";
import type { TargetStatus } from "../control/status.ts";
import { formatMac, parseMac } from "../protocol/aoe/mac.ts";
import { AoeTarget } from "../protocol/aoe/target.ts";
import { SECTOR_BYTES, type BlockStorage } from "../storage/block-storage.ts";
import type { Archive } from "../storage/cas/archive.ts";
import { directStorage } from "../storage/file/direct-storage.ts";
import { fileStorage, type FileStorage } from "../storage/file/file-storage.ts";
import { openDevice, openFile } from "../storage/file/medium.ts";
import { openStateStore } from "./aoe/state-store.ts";
import { exposedDirectory } from "./exposed-file.ts";
import type { ArchiveSet } from "./archive-set.ts";

export type Report = (key: string, message: string) => void;

export interface ServedTarget {
  /** `e1.0` */
  readonly name: string;
  readonly config: TargetConfig;
  readonly aoe: AoeTarget;
  /** The archive that it is a volume of, where it is one. */
  readonly archive: ArchiveVolume | undefined;
  /** Takes on a larger size: the configured one, or that which the file or device has been given meanwhile. */
  grow(config: TargetConfig): Promise<void>;
  status(): TargetStatus;
  close(): Promise<void>;
}

/** What a target serves, and what is told of it. */
export interface Backend {
  /** As in the configuration: `file`, `device`, `cas`. */
  readonly kind: string;
  /** Where it is, for people. */
  readonly path: string;
  readonly storage: BlockStorage;
  /** Why it no longer writes, where it does not. */
  readonly failure: () => string | undefined;
  /** Bytes that it takes on its medium. */
  readonly allocatedBytes: () => number;
  /** Takes on a larger size: the configured one, or that which the medium has been given meanwhile. */
  readonly grow: (config: TargetConfig) => Promise<void>;
  readonly close: () => Promise<void>;
  /** The archive that it is a volume of. */
  readonly archive?: ArchiveVolume;
}

export interface ArchiveVolume {
  readonly archive: Archive;
  /** Its name in the archive. */
  readonly volume: string;
  /** Of the volume as of this snapshot; absent: as it is. */
  readonly snapshotId?: string;
}

/** Opens a target. Rejects where it cannot be served, with what to do. */
export async function openServedTarget(
  config: TargetConfig,
  stateDirectory: string,
  archives: ArchiveSet,
  report: Report,
): Promise<ServedTarget> {
  const name = formatAddress(config);
  const say: Report = (key, message) => report(`${name}:${key}`, `target ${name}: ${message}`);
  const backend = await openBackend(config, archives, say);
  try {
    return serveBackend(config, backend, stateDirectory, say);
  } catch (error) {
    await backend.close();
    throw error;
  }
}

/** Gives a backend its face on AoE. Throws where what initiators have set cannot be read. */
export function serveBackend(
  config: TargetConfig,
  backend: Backend,
  stateDirectory: string,
  report: Report,
): ServedTarget {
  const name = formatAddress(config);
  const maskFloor = config.allowMacs.map((mac) => parseMac(mac)!);
  // What initiators set about an exposed target goes with it, and is never that of a configured one of its address.
  const directory = config.exposed === undefined ? stateDirectory : exposedDirectory(stateDirectory);
  const state = openStateStore(directory, name, config.configString, maskFloor, report);
  const { storage, path } = backend;
  const aoe = new AoeTarget(config.shelf, config.slot, storage, state.initial, maskFloor, (next) => state.save(next));
  let current = config;
  return {
    name,
    get config() {
      return current;
    },
    aoe,
    archive: backend.archive,
    async grow(next) {
      await backend.grow(next);
      current = next;
    },
    status() {
      const failure = backend.failure();
      return {
        name,
        shelf: config.shelf,
        slot: config.slot,
        configString: new TextDecoder().decode(aoe.state.configString),
        backend: backend.kind,
        path,
        sizeBytes: storage.info.sectorCount * SECTOR_BYTES,
        readOnly: storage.info.readOnly,
        sync: formatSync(config.sync),
        state: failure === undefined ? "ok" : "failed",
        reason: failure ?? "",
        ...aoe.counters,
        space: { allocatedBytes: backend.allocatedBytes() },
        reservations: aoe.state.reservations.map(formatMac),
        maskList: aoe.state.mask.map(formatMac),
      };
    },
    close: backend.close,
  };
}

const formatSync = (sync: SyncConfig): string =>
  sync.kind === "interval" ? formatDuration(sync.intervalMs) : sync.kind;

async function openBackend(config: TargetConfig, archives: ArchiveSet, report: Report): Promise<Backend> {
  const { backend, readOnly, sync } = config;
  switch (backend.kind) {
    case "file": {
      const medium = openFile(backend.path, backend.sizeBytes, readOnly);
      if (medium.notice !== undefined) report("notice", medium.notice);
      return ofMedium(backend.kind, medium.path, fileStorage(medium, { sync, report }));
    }
    case "device": {
      const medium = openDevice(backend.path, readOnly, backend.direct);
      const open = backend.direct ? directStorage : fileStorage;
      return ofMedium(backend.kind, medium.path, open(medium, { sync, report }));
    }
    default:
      return openArchiveBackend(config, backend, archives);
  }
}

const ofMedium = (kind: string, path: string, storage: FileStorage): Backend => ({
  kind,
  path,
  storage,
  failure: () => storage.failure,
  allocatedBytes: () => storage.allocatedBytes(),
  grow: ({ backend }) => storage.grow(backend.kind === "file" ? backend.sizeBytes : undefined),
  close: () => storage.close(),
});

async function openArchiveBackend(
  config: TargetConfig,
  backend: CasBackendConfig,
  archives: ArchiveSet,
): Promise<Backend> {
  const archive = await archives.open(backend);
  const { volume } = backend;
  try {
    if (config.exposed?.kind === "snapshot")
      return await openSnapshotBackend(config.exposed, backend, archive, archives);
    // A clone that is not there must not be taken for a new, empty volume.
    if (config.exposed !== undefined && !archive.volumes.includes(volume)) {
      throw new Error(`${archive.description} has no volume ${volume}: restore the store from a copy that has it`);
    }
    const disk = await archive.openVolume({
      name: volume,
      blockBytes: backend.blockSizeBytes,
      sizeBytes: backend.sizeBytes,
      readOnly: config.readOnly,
      sync: config.sync,
    });
    return {
      kind: backend.kind,
      path: archive.description,
      storage: disk,
      failure: () => disk.failure,
      allocatedBytes: () => archive.statistics().volumes.find(({ name }) => name === volume)?.logicalBytes ?? 0,
      grow: (next) => (next.backend.kind === "cas" ? archive.grow(volume, next.backend.sizeBytes) : Promise.resolve()),
      close: () => disk.close().finally(() => archives.release(backend)),
      archive: { archive, volume },
    };
  } catch (error) {
    archives.release(backend);
    throw error;
  }
}

async function openSnapshotBackend(
  { snapshotId }: ExposedConfig,
  backend: CasBackendConfig,
  archive: Archive,
  archives: ArchiveSet,
): Promise<Backend> {
  const { volume } = backend;
  const storage = await archive.openRoot(volume, snapshotId);
  const { logicalBytes } = archive.snapshots(volume).find(({ id }) => id === snapshotId)!;
  return {
    kind: backend.kind,
    path: `${archive.description}, ${volume} as of snapshot ${snapshotId}`,
    storage,
    failure: () => undefined,
    allocatedBytes: () => logicalBytes,
    grow: () => Promise.resolve(),
    close: () => storage.close().finally(() => archives.release(backend)),
    archive: { archive, volume, snapshotId },
  };
}
