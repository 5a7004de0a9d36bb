/** Finds the volumes of a store by their records, and brings them up to date from the journal. */
import { join } from "node:path";
import type { Hasher } from "../../base/hash.ts";
import { BlobStoreError, type BlobStore } from "../../blob/blob-store.ts";
import { SECTOR_BYTES } from "../block-storage.ts";
import { readCheckpointFile } from "./checkpoint-file.ts";
import { dirtyBlocks, type DirtyBlocks } from "./dirty-blocks.ts";
import type { Disk } from "./disk.ts";
import { DISCARD, WRITE } from "./journal-format.ts";
import type { Journal } from "./journal.ts";
import { newestOf, volumeNumber } from "./kept-volume.ts";
import { openJournal } from "./open-journal.ts";
import type { StoredRecord } from "./root-record.ts";
import type { WriterClaim } from "./writer-claim.ts";
import { findRoots, rootRefName, ROOTS_PREFIX, type RootsFound, type VolumeRoots } from "./root-refs.ts";

export interface RecoverOptions {
  readonly disk: Disk;
  readonly stateDirectory: string;
  readonly blobs: BlobStore;
  readonly hasher: Hasher;
  readonly claim: Pick<WriterClaim, "hold">;
  readonly journalLimitBytes: number;
  readonly journalSegmentBytes?: number;
  readonly random: (bytes: Uint8Array) => void;
  readonly report: (key: string, message: string) => void;
}

export interface FoundVolume {
  readonly roots: VolumeRoots;
  readonly newest: StoredRecord;
  /** What the journal holds of it that its records do not. */
  readonly dirty: DirtyBlocks;
}

async function readRef(blobs: BlobStore, name: string): Promise<Uint8Array | undefined> {
  try {
    return await blobs.readRef(name);
  } catch (error) {
    if (error instanceof BlobStoreError && error.failure === "missing") return undefined;
    throw error;
  }
}

export interface RecoveredVolumes {
  readonly journal: Journal;
  readonly volumes: readonly FoundVolume[];
  /** The last record of the journal that no volume needs any more. */
  readonly coveredSequence: number;
}

/** What volumes and snapshots a store has, by its records. */
export const rootsIn = async (blobs: BlobStore): Promise<RootsFound> =>
  findRoots(await blobs.listRefs(ROOTS_PREFIX), (name) => readRef(blobs, name));

/** Rejects where anything is missing or damaged that cannot be rebuilt. */
export async function recoverVolumes(options: RecoverOptions): Promise<RecoveredVolumes> {
  const { disk, stateDirectory, blobs, hasher, report } = options;
  const found = await rootsIn(blobs);
  for (const { name, reason } of found.foreign) report(`ref:${name}`, `${name} of ${blobs.description} ${reason}`);
  const byNumber = new Map<number, FoundVolume>();
  const names = new Set<string>();
  for (const roots of found.volumes.values()) {
    const newest = newestOf(roots);
    for (const { name, reason } of roots.refused) {
      const what = `${name} of ${blobs.description} ${reason}: restore it from a copy`;
      report(`ref:${name}`, `${what}. If it is a snapshot of ${newest.record.volumeName}, that cannot be found`);
    }
    const { volumeName, volumeId, blockSizeBytes, hash } = newest.record;
    if (hash !== hasher.algorithm) {
      throw new Error(`volume ${volumeName} of ${blobs.description} is hashed with ${hash}: set hash = "${hash}"`);
    }
    if (names.has(volumeName)) throw new Error(`${blobs.description} has two volumes named ${volumeName}`);
    names.add(volumeName);
    const number = volumeNumber(volumeId);
    const other = byNumber.get(number);
    if (other !== undefined) {
      throw new Error(`volumes ${other.newest.record.volumeName} and ${volumeName} have one number in the journal`);
    }
    byNumber.set(number, { roots, newest, dirty: dirtyBlocks(blockSizeBytes / SECTOR_BYTES) });
  }

  const expected = await readCheckpointFile(disk, stateDirectory);
  for (const [volumeId, sequence] of Object.entries(expected?.volumes ?? {})) {
    const there = found.volumes.get(volumeId)?.newest;
    if (there !== undefined && there.record.sequence >= sequence) continue;
    const what = there === undefined ? "the volume" : `record ${sequence} of volume ${there.record.volumeName}`;
    throw new Error(
      `${blobs.description} lacks ${what} (${rootRefName({ volumeId, sequence })}), which was there at the last ` +
        `checkpoint: is it the right store, is its filesystem mounted, or is it a copy that was made earlier?`,
    );
  }
  const directory = join(stateDirectory, "journal");
  disk.makeDirectory(directory);
  // There is a journal before there is a volume.
  if (byNumber.size > 0 && (await disk.list(directory)).length === 0) {
    // A journal that began anew would count from 1, and its records would be taken for those that the roots cover.
    throw new Error(
      `${directory} holds no journal, and ${blobs.description} has volumes that were written through one: the state ` +
        `directory is another one, or is lost, and with it what was answered since the last checkpoint. If it is lost, or ` +
        `the store is a copy, voe recover makes one from the store`,
    );
  }
  // After the roots were read: none of them is then of a later writer.
  await options.claim.hold();
  const { journal, recovery } = await openJournal(
    disk,
    directory,
    {
      limitBytes: options.journalLimitBytes,
      ...(options.journalSegmentBytes === undefined ? {} : { segmentBytes: options.journalSegmentBytes }),
      ...(expected === undefined ? {} : { expected }),
      // A volume that another writer left may count by the numbers of that one's journal.
      aboveSequence: Math.max(0, ...Array.from(byNumber.values(), ({ newest }) => newest.record.journalSequence)),
      random: options.random,
      report,
    },
    (record) => {
      if (record.kind !== WRITE && record.kind !== DISCARD) return;
      const volume = byNumber.get(record.volume);
      if (volume === undefined) {
        throw new Error(`the journal in ${directory} has writes to a volume that ${blobs.description} does not have`);
      }
      if (record.sequence <= volume.newest.record.journalSequence) return;
      if (record.kind === WRITE) volume.dirty.write(record.firstSector, record.sectorCount, record.place, 1);
      else volume.dirty.discard(record.firstSector, record.sectorCount);
    },
  );
  if (recovery.lostCount > 0) {
    const records = recovery.lostCount === 1 ? "a record" : `${recovery.lostCount} records`;
    report(
      "journal:torn",
      `${directory}: the journal ended in ${records} that no sync had covered and that a crash has damaged; what was not ` +
        `whole was cut off. ${recovery.recordCount} records before that are intact`,
    );
  }
  return { journal, volumes: [...byNumber.values()], coveredSequence: (expected?.fromSequence ?? 0) - 1 };
}
