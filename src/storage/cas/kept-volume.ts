/** A volume of an archive, with its records in the blob store. */
import type { Hasher } from "../../base/hash.ts";
import type { BlobStore } from "../../blob/blob-store.ts";
import { SECTOR_BYTES } from "../block-storage.ts";
import type { BlockSource } from "./sector-source.ts";
import { encodeRootRecord, parseRootRecord, type RootRecord, type StoredRecord } from "./root-record.ts";
import { contradiction, rootRefName, type VolumeRoots } from "./root-refs.ts";
import type { NodeReader } from "./tree/node-reader.ts";
import type { TreeRoot } from "./tree/walk.ts";
import { VolumeTree } from "./tree/volume-tree.ts";
import type { Volume } from "./volume.ts";
import type { VolumeDisk } from "./volume-disk.ts";
import type { WriterClaim } from "./writer-claim.ts";

/** Records of checkpoints that are kept: the newest is the volume, the others are for people who look for a mistake. */
const CHECKPOINTS_KEPT = 8;

export interface KeptVolume {
  readonly name: string;
  /** 128 bits in hexadecimal. */
  readonly volumeId: string;
  readonly volume: Volume;
  /** Undefined until the first record of a new volume is published. */
  newest: StoredRecord | undefined;
  /** Oldest first. */
  snapshots: StoredRecord[];
  /** Numbers of the records of checkpoints that the store has, oldest first. */
  checkpoints: number[];
  nextSequence: number;
  /** The last record of the journal that what was set apart holds; -1: nothing is set apart. */
  frozenSequence: number;
  /** When it was set apart, in milliseconds since 1970. */
  frozenMs: number;
  /** The last record of the journal that the volume does not need any more. */
  coveredSequence: number;
  /** What a target serves, where one does. */
  disk: VolumeDisk | undefined;
}

/** A volume that has no record yet. */
export const newlyKept = (name: string, volumeId: string, volume: Volume): KeptVolume => ({
  name,
  volumeId,
  volume,
  newest: undefined,
  snapshots: [],
  checkpoints: [],
  nextSequence: 1,
  frozenSequence: -1,
  frozenMs: 0,
  coveredSequence: -1,
  disk: undefined,
});

/** The volume's number in the journal's records: the first 32 bits of its id. */
export const volumeNumber = (volumeId: string): number => Number.parseInt(volumeId.slice(0, 8), 16);

export const blockCountFor = (sectorCount: number, blockBytes: number): number =>
  Math.ceil((sectorCount * SECTOR_BYTES) / blockBytes);

/** The tree of a record, at rest. */
export const rootOf = ({ root, sectorCount, blockSizeBytes }: RootRecord): TreeRoot => ({
  root: Uint8Array.fromHex(root),
  blockCount: blockCountFor(sectorCount, blockSizeBytes),
});

/** The tree of a record. */
export function treeOf(reader: NodeReader, { record }: StoredRecord): VolumeTree {
  return new VolumeTree(
    reader,
    blockCountFor(record.sectorCount, record.blockSizeBytes),
    Uint8Array.fromHex(record.root),
  );
}

/** What is told of a volume by its records, before it is opened. Throws where they do not say what it is. */
export function newestOf(roots: VolumeRoots): StoredRecord {
  const { volumeId, newest, refused, refusedNewer } = roots;
  if (newest === undefined) {
    throw new Error(`volume ${volumeId} has no record that can be read: ${refused[0]?.reason ?? "there is none"}`);
  }
  if (refusedNewer.length > 0) {
    const { name, reason } = refusedNewer[0]!;
    throw new Error(
      `the newest record of volume ${newest.record.volumeName}, ${name}, ${reason}. Restore it from a copy of the ` +
        `store; without it the volume would fall back to an older state`,
    );
  }
  return newest;
}

/** What a new record says, besides what follows from the volume. */
export type NewRecord = Pick<
  RootRecord,
  "kind" | "root" | "journalSequence" | "description" | "logicalBytes" | "uniqueBytes" | "sectorCount"
> & {
  /** Checksum of the record that the first one of a volume follows on. */
  readonly parent?: string;
  /** When the volume was what it says, in milliseconds since 1970: now unless given. */
  readonly createdMs?: number;
};

export interface RecordStore {
  /**
   * Publishes a record of the volume: it is the volume from then on, and no other host has claimed the store until then.
   * Rejects where one has, and where it is not known whether the record is there: then it may be published again.
   */
  publish(kept: KeptVolume, next: NewRecord): Promise<StoredRecord>;
}

/** Publishes records in a blob store, and removes those of old checkpoints. */
export function recordStore(
  blobs: BlobStore,
  hasher: Hasher,
  claim: Pick<WriterClaim, "check" | "failure">,
  nowMs: () => number,
  report: BlockSource["report"],
): RecordStore {
  const prune = async (kept: KeptVolume): Promise<void> => {
    while (kept.checkpoints.length > CHECKPOINTS_KEPT) {
      const sequence = kept.checkpoints[0]!;
      await blobs.deleteRef(rootRefName({ volumeId: kept.volumeId, sequence }));
      kept.checkpoints.shift();
    }
  };

  return {
    async publish(kept, { parent, createdMs = nowMs(), ...next }) {
      if (claim.failure !== undefined) throw claim.failure;
      /** The records that are there from the next number on; the last one is to be ours. */
      const published: StoredRecord[] = [];
      for (let isOurs = false; !isOurs;) {
        const before = published.at(-1) ?? kept.newest;
        const present = await createRecord(blobs, {
          ...next,
          parent: before?.checksum ?? parent ?? null,
          volumeId: kept.volumeId,
          volumeName: kept.name,
          sequence: kept.nextSequence + published.length,
          hash: hasher.algorithm,
          blockSizeBytes: kept.volume.blockBytes,
          createdMs,
        });
        // After it was created: whoever claims the store from now on finds it when it lists the roots.
        await claim.check();
        published.push(present.stored);
        // What is not ours is of this writer too, or of one before: of a request that was given up, or whose answer was
        // lost.
        isOurs = present.isOurs;
      }
      for (const stored of published) take(kept, stored);
      const stored = published.at(-1)!;
      kept.coveredSequence = Math.max(kept.coveredSequence, stored.record.journalSequence);
      await prune(kept).catch((error: Error) =>
        report("prune", `an old record could not be removed: ${error.message}`),
      );
      return stored;
    },
  };
}

/**
 * Creates a record; where its name is taken, yields the record that has it. Rejects where that is damaged, and where the
 * store cannot be asked.
 */
export async function createRecord(
  blobs: BlobStore,
  record: RootRecord,
): Promise<{ stored: StoredRecord; isOurs: boolean }> {
  const name = rootRefName(record);
  const bytes = encodeRootRecord(record);
  const present = (await blobs.createRef(name, bytes)) === "created" ? bytes : await blobs.readRef(name);
  const stored = parseRootRecord(present);
  const reason = "reason" in stored ? stored.reason : contradiction(stored.record, record);
  if (reason !== undefined) throw new Error(`${name} of ${blobs.description} ${reason}: restore it from a copy`);
  return { stored: stored as StoredRecord, isOurs: Buffer.compare(present, bytes) === 0 };
}

/** The volume is what a record of it says, the next in order. */
function take(kept: KeptVolume, stored: StoredRecord): void {
  kept.newest = stored;
  kept.nextSequence = stored.record.sequence + 1;
  if (stored.record.kind === "snapshot") kept.snapshots.push(stored);
  else kept.checkpoints.push(stored.record.sequence);
}
