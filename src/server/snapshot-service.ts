/** The operations of `voe snapshot` on a running server. */
import { blobStoreKey } from "../config/blob-store-key.ts";
import type { ExposedReport, SnapshotOperations, SnapshotReport } from "../control/snapshot-operations.ts";
import { resolvePrefix } from "../storage/cas/snapshot-id.ts";
import type { Snapshot } from "../storage/cas/snapshot.ts";
import type { ExposedEntry } from "./exposed-file.ts";
import type { ExposedTargets } from "./exposed-targets.ts";
import type { ArchiveVolume, ServedTarget } from "./served-target.ts";
import type { TargetSet } from "./target-set.ts";
import type { Turns } from "./turns.ts";

export interface SnapshotServiceOptions {
  readonly targets: TargetSet;
  readonly exposed: ExposedTargets;
  /** In which targets are added and removed, here and by a new configuration. */
  readonly turns: Turns;
  /** Told of what was done. */
  readonly tell: (message: string) => void;
}

export function snapshotService({ targets, exposed, turns, tell }: SnapshotServiceOptions): SnapshotOperations {
  const targetNamed = (name: string): ServedTarget => {
    const target = targets.list.find((served) => served.name === name);
    if (target === undefined) throw new Error(`there is no target ${name}: voe status lists those that are served`);
    return target;
  };

  const archiveOf = (name: string): ArchiveVolume & { readonly target: ServedTarget } => {
    const target = targetNamed(name);
    if (target.archive === undefined) {
      const { kind } = target.config.backend;
      throw new Error(
        `${name} is a ${kind}, and only archives (backend = "cas") have snapshots: voe import brings its content into one`,
      );
    }
    return { ...target.archive, target };
  };

  /** An archive that may change: not the target of an old snapshot. */
  const volumeOf = (name: string): ArchiveVolume => {
    const { target, archive, volume } = archiveOf(name);
    const { exposed: shown } = target.config;
    if (shown?.kind === "snapshot") {
      throw new Error(
        `${name} shows the snapshot ${shown.snapshotId} of ${shown.origin} and never changes: name ${shown.origin} instead`,
      );
    }
    return { archive, volume };
  };

  const assertFree = (address: string): void => {
    const advice = "choose another address; voe status lists those that are taken";
    if (targets.list.some(({ name }) => name === address)) throw new Error(`${address} is served already: ${advice}`);
    if (exposed.entries.some(({ target }) => target === address)) {
      throw new Error(
        `${address} is an exposed target that cannot be served at present: ${advice}, or give it up with ` +
          `voe snapshot unexpose ${address}`,
      );
    }
  };

  return {
    async create(name, description) {
      const { archive, volume } = volumeOf(name);
      const snapshot = await archive.createSnapshot(volume, description);
      tell(`${name}: snapshot ${snapshot.id}`);
      return toReport(snapshot);
    },
    list(name) {
      const { archive, volume } = archiveOf(name);
      return archive.snapshots(volume).map(toReport);
    },
    async restore(name, id) {
      const { archive, volume } = volumeOf(name);
      const { restored, before } = await archive.restore(volume, id);
      tell(`${name} reads as the snapshot ${restored.id} from now on; what it was before is the snapshot ${before.id}`);
      return { restored: toReport(restored), before: toReport(before) };
    },
    expose: (name, id, as) =>
      turns.do(async () => {
        const { target, archive, volume } = archiveOf(name);
        const snapshot = findById(archive.snapshots(volume), id);
        assertFree(as);
        const entry = entryFor("snapshot", target, snapshot, as, volume);
        await exposed.add(entry);
        tell(`${as} shows the snapshot ${snapshot.id} of ${name}`);
        return toExposed(entry);
      }),
    clone: (name, id, as, cloneVolume = as) =>
      turns.do(async () => {
        const { target, archive, volume } = archiveOf(name);
        const snapshot = findById(archive.snapshots(volume), id);
        assertFree(as);
        if (archive.volumes.includes(cloneVolume)) {
          throw new Error(
            `${archive.description} has a volume ${cloneVolume} already: name another one with --volume, or serve that ` +
              `one with a [[target]] that has volume = ${JSON.stringify(cloneVolume)} in [target.cas]`,
          );
        }
        const entry = entryFor("clone", target, snapshot, as, cloneVolume);
        await archive.clone(volume, snapshot.id, cloneVolume);
        try {
          await exposed.add(entry);
        } catch (error) {
          throw new Error(
            `the volume ${cloneVolume} was made and could not be served: ${(error as Error).message}. Serve it with a ` +
              `[[target]] that has volume = ${JSON.stringify(cloneVolume)} in [target.cas]`,
            { cause: error },
          );
        }
        tell(`${as} is a clone of ${name} as of the snapshot ${snapshot.id}, on the volume ${cloneVolume}`);
        return toExposed(entry);
      }),
    unexpose: (name) =>
      turns.do(async () => {
        const entry = await exposed.remove(name);
        tell(`${name} is no longer served; it was the ${entry.kind} ${entry.snapshotId} of ${entry.origin}`);
        return toExposed(entry);
      }),
    diff(name, from, to) {
      const { archive, volume } = archiveOf(name);
      const snapshots = archive.snapshots(volume);
      const [one, other] = [findById(snapshots, from), findById(snapshots, to)];
      return { from: toReport(one), to: toReport(other), ranges: archive.diff(volume, one.id, other.id) };
    },
  };
}

function entryFor(
  kind: ExposedEntry["kind"],
  target: ServedTarget,
  snapshot: Snapshot,
  as: string,
  volume: string,
): ExposedEntry {
  const { backend, sync } = target.config;
  if (backend.kind !== "cas") throw new Error(`${target.name} is no archive`);
  return {
    target: as,
    kind,
    origin: target.config.exposed?.kind === "snapshot" ? target.config.exposed.origin : target.name,
    snapshotId: snapshot.id,
    store: blobStoreKey(backend.blobStore),
    volume,
    sizeBytes: snapshot.sizeBytes,
    blockSizeBytes: backend.blockSizeBytes,
    sync,
    allowMacs: target.status().maskList,
    allowClients: target.config.allowClients,
  };
}

/** Throws RangeError where there is none, or more than one. */
function findById(snapshots: readonly Snapshot[], prefix: string): Snapshot {
  const wanted = resolvePrefix(
    snapshots.map(({ id }) => id),
    prefix,
  );
  return snapshots.find(({ id }) => id === wanted)!;
}

const toReport = (snapshot: Snapshot): SnapshotReport => ({
  id: snapshot.id,
  volume: snapshot.volume,
  createdAt: new Date(snapshot.createdMs).toISOString(),
  description: snapshot.description,
  root: snapshot.root,
  sizeBytes: snapshot.sizeBytes,
  logicalBytes: snapshot.logicalBytes,
  uniqueBytes: snapshot.uniqueBytes,
});

const toExposed = ({ target, kind, volume, snapshotId, origin, store, sizeBytes }: ExposedEntry): ExposedReport => ({
  target,
  kind,
  origin,
  volume,
  snapshotId,
  store,
  sizeBytes,
});
