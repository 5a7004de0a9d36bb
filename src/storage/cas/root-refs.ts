import { isVolumeId, parseRootRecord, type RootRecord, type StoredRecord } from "./root-record.ts";

/** What the names of all roots begin with. */
export const ROOTS_PREFIX = "roots/";

/** Digits of the number in a name: with leading zeros, so that names in order are numbers in order. */
const NUMBER_DIGITS = 20;
/** Records that are read at a time. */
const READS_MOST = 16;

/** The name under which the record is kept, which only one writer can create. */
export const rootRefName = ({ volumeId, sequence }: Pick<RootRecord, "volumeId" | "sequence">): string =>
  `${ROOTS_PREFIX}${volumeId}/${String(sequence).padStart(NUMBER_DIGITS, "0")}`;

/** The volume and number that the name of a root stands for; undefined where it is no such name. */
export function parseRootRefName(name: string): Pick<RootRecord, "volumeId" | "sequence"> | undefined {
  const [, volumeId = "", digits = ""] = /^roots\/([^/]*)\/([0-9]{20})$/.exec(name) ?? [];
  const sequence = Number(digits);
  return isVolumeId(volumeId) && sequence >= 1 && Number.isSafeInteger(sequence) ? { volumeId, sequence } : undefined;
}

/** A name that holds no record that can be used, and why. */
export interface RefusedRef {
  readonly name: string;
  readonly reason: string;
}

/** What the records of a volume say. */
export interface VolumeRoots {
  readonly volumeId: string;
  /** The volume as it is: its newest record that can be used; undefined where there is none. */
  readonly newest: StoredRecord | undefined;
  /** Oldest first. */
  readonly snapshots: readonly StoredRecord[];
  /** Numbers of the records of checkpoints, oldest first. */
  readonly checkpoints: readonly number[];
  /** Oldest first. */
  readonly refused: readonly RefusedRef[];
  /**
   * Those of them that are newer than `newest`. Where there are any, the volume has fallen back to an older state: it
   * lacks what it was answered between the two, unless the journal still has everything since `newest`.
   */
  readonly refusedNewer: readonly RefusedRef[];
  /** The number of the next record: above every number that was ever seen, refused ones too. */
  readonly nextSequence: number;
}

export interface RootsFound {
  /** By volume id. A volume all of whose records were refused is among them: it is not an absent one. */
  readonly volumes: ReadonlyMap<string, VolumeRoots>;
  /** Names that begin like roots and are none. */
  readonly foreign: readonly RefusedRef[];
}

/**
 * Finds what volumes and snapshots a store has, from the names of its roots and nothing else. `read` yields the bytes
 * of a name (more than RECORD_MOST_BYTES need not be read), or undefined where it is gone, since another one may be
 * deleting old records. Rejects where `read` does: what cannot be read now is not damage, and nothing must fall back
 * because of it.
 */
export async function findRoots(
  names: Iterable<string>,
  read: (name: string) => Promise<Uint8Array | undefined>,
): Promise<RootsFound> {
  const foreign: RefusedRef[] = [];
  const byVolume = new Map<string, { name: string; sequence: number }[]>();
  for (const name of [...new Set(names)].toSorted()) {
    const parsed = parseRootRefName(name);
    if (parsed === undefined) {
      if (name.startsWith(ROOTS_PREFIX)) foreign.push({ name, reason: "is not roots/VOLUME/NUMBER" });
      continue;
    }
    const { volumeId, sequence } = parsed;
    if (!byVolume.has(volumeId)) byVolume.set(volumeId, []);
    byVolume.get(volumeId)!.push({ name, sequence });
  }

  const volumes = new Map<string, VolumeRoots>();
  for (const [volumeId, refs] of byVolume) {
    const contents: (Uint8Array | undefined)[] = [];
    for (let at = 0; at < refs.length; at += READS_MOST) {
      contents.push(...(await Promise.all(refs.slice(at, at + READS_MOST).map(({ name }) => read(name)))));
    }
    volumes.set(volumeId, judge(volumeId, refs, contents));
  }
  return { volumes, foreign };
}

/** `refs` ascend. */
function judge(
  volumeId: string,
  refs: readonly { name: string; sequence: number }[],
  contents: readonly (Uint8Array | undefined)[],
): VolumeRoots {
  const refused: (RefusedRef & { sequence: number })[] = [];
  const gone: (RefusedRef & { sequence: number })[] = [];
  const used: StoredRecord[] = [];
  for (const [at, { name, sequence }] of refs.entries()) {
    const bytes = contents[at];
    if (bytes === undefined) {
      gone.push({ name, reason: "was in the list of names and is gone", sequence });
      continue;
    }
    const stored = parseRootRecord(bytes);
    const expected = { ...used.at(-1)?.record, volumeId, sequence };
    const reason = "reason" in stored ? stored.reason : contradiction(stored.record, expected);
    if (reason !== undefined) refused.push({ name, reason, sequence });
    else used.push(stored as StoredRecord);
  }
  const newest = used.at(-1);
  // Old records are deleted in the course of things; the newest one is not.
  refused.push(...gone.filter(({ sequence }) => sequence > (newest?.record.sequence ?? 0)));
  refused.sort((a, b) => a.sequence - b.sequence);
  const bare = ({ name, reason }: RefusedRef): RefusedRef => ({ name, reason });
  return {
    volumeId,
    newest,
    snapshots: used.filter(({ record }) => record.kind === "snapshot"),
    checkpoints: used.filter(({ record }) => record.kind === "checkpoint").map(({ record }) => record.sequence),
    refused: refused.map(bare),
    refusedNewer: refused.filter(({ sequence }) => sequence > (newest?.record.sequence ?? 0)).map(bare),
    nextSequence: refs.at(-1)!.sequence + 1,
  };
}

/** What speaks against an intact record: another name than it has, or what is fixed when a volume is made. */
export function contradiction(
  record: RootRecord,
  expected: Pick<RootRecord, "volumeId" | "sequence"> & Partial<Pick<RootRecord, "hash" | "blockSizeBytes">>,
): string | undefined {
  const { volumeId, sequence, hash = record.hash, blockSizeBytes = record.blockSizeBytes } = expected;
  if (record.volumeId !== volumeId) return `is a record of volume ${record.volumeId}, under another one's name`;
  if (record.sequence !== sequence) return `is record ${record.sequence}, under the name of another`;
  if (record.hash !== hash) return `has hash ${record.hash}, and the records before it ${hash}`;
  if (record.blockSizeBytes !== blockSizeBytes) {
    return `has blocks of ${record.blockSizeBytes} bytes, and the records before it of ${blockSizeBytes}`;
  }
  return undefined;
}
