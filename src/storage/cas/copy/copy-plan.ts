/** Which records of which volumes a copy brings from one store to another, and what speaks against it. */
import { newestOf } from "../kept-volume.ts";
import type { StoredRecord } from "../root-record.ts";
import type { RootsFound, VolumeRoots } from "../root-refs.ts";
import { findSnapshot } from "../snapshot.ts";

/** A volume by its name, with all its snapshots; or one of these alone, by the beginning of its id. */
export interface Wanted {
  readonly volume: string;
  readonly snapshot?: string;
}

export interface PlannedVolume {
  readonly name: string;
  readonly volumeId: string;
  /** Oldest first. */
  readonly missing: readonly StoredRecord[];
  /** How many of those that are wanted the destination has. */
  readonly presentCount: number;
  /** What the destination has of it, whole: what is the same there need not be looked at again. Oldest first. */
  readonly present: readonly StoredRecord[];
  /** Numbers of records of checkpoints that the destination has. */
  readonly checkpoints: readonly number[];
}

/**
 * Plans a copy. Throws an Error that says what to do where the source lacks what is wanted, or the destination has
 * something else in its place.
 */
export function planCopy(source: RootsFound, destination: RootsFound, wanted: readonly Wanted[]): PlannedVolume[] {
  const byName = new Map<string, { roots: VolumeRoots; records: Map<number, StoredRecord> }>();
  for (const { volume, snapshot } of wanted) {
    const entry = byName.get(volume) ?? { roots: rootsNamed(source, volume), records: new Map() };
    byName.set(volume, entry);
    const { snapshots } = entry.roots;
    const records =
      snapshot === undefined ? [...snapshots, newestOf(entry.roots)] : [findSnapshot(snapshots, snapshot)];
    for (const stored of records) entry.records.set(stored.record.sequence, stored);
  }
  return Array.from(byName, ([name, { roots, records }]) => {
    const there = destination.volumes.get(roots.volumeId);
    refuseOthers(name, roots, destination);
    const present =
      there === undefined ? [] : [...there.snapshots, ...(there.newest === undefined ? [] : [there.newest])];
    refuseDiverged(name, roots, there, present);
    const have = new Set(present.map(({ record }) => record.sequence));
    const missing = [...records.values()].filter(({ record }) => !have.has(record.sequence));
    return {
      name,
      volumeId: roots.volumeId,
      missing: missing.toSorted(bySequence),
      presentCount: records.size - missing.length,
      present: present.toSorted(bySequence),
      checkpoints: there?.checkpoints ?? [],
    };
  });
}

const bySequence = (a: StoredRecord, b: StoredRecord): number => a.record.sequence - b.record.sequence;

function rootsNamed(source: RootsFound, name: string): VolumeRoots {
  const names: string[] = [];
  for (const roots of source.volumes.values()) {
    // Another one that is damaged is no reason not to copy this one.
    if (roots.newest === undefined) continue;
    const { volumeName } = roots.newest.record;
    if (volumeName === name) return roots;
    names.push(volumeName);
  }
  const has = names.length === 0 ? "it has no volume at all" : `it has ${names.toSorted().join(", ")}`;
  throw new Error(`the source has no volume ${name}, ${has}: is it the right store, and was it ever served?`);
}

/** Names are those of one volume in a store, and all volumes of a store hash alike. */
function refuseOthers(name: string, { volumeId, newest }: VolumeRoots, destination: RootsFound): void {
  for (const other of destination.volumes.values()) {
    const { record } = newestOf(other);
    if (record.volumeName === name && record.volumeId !== volumeId) {
      throw new Error(
        `the destination has another volume named ${name}, which is no copy of this one: copy into another store`,
      );
    }
    if (record.hash !== newest?.record.hash) {
      throw new Error(
        `volume ${record.volumeName} of the destination is hashed with ${record.hash}, and ${name} with ` +
          `${newest?.record.hash}: a store has blocks of one kind, copy into another store`,
      );
    }
  }
}

function refuseDiverged(
  name: string,
  source: VolumeRoots,
  there: VolumeRoots | undefined,
  present: readonly StoredRecord[],
): void {
  const damaged = there?.refused[0];
  if (damaged !== undefined) {
    throw new Error(`${damaged.name} of the destination ${damaged.reason}: delete it there, and copy it again`);
  }
  const newest = newestOf(source);
  const own = new Map([...source.snapshots, newest].map((stored) => [stored.record.sequence, stored.checksum]));
  for (const { record, checksum } of present) {
    const same = own.get(record.sequence);
    if (record.sequence <= newest.record.sequence && (same === undefined || same === checksum)) continue;
    throw new Error(
      `volume ${name} has gone another way at the destination: its record ${record.sequence} there is not one of the ` +
        `source, so it was written there, or the source is an older copy. Copy into another store`,
    );
  }
}
