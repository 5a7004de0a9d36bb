/** A volume of an archive, with its records in the blob store. */
import type { Hasher } from "../../base/hash.ts";
import type { BlobStore } from "../../blob/blob-store.ts";
import { SECTOR_BYTES } from "../block-storage.ts";
import type { BlockSource } from "./sector-source.ts";
import { encodeRootRecord, parseRootRecord, type RootRecord, type StoredRecord } from "./root-record.ts";
import { rootRefName, type VolumeRoots } from "./root-refs.ts";
import type { NodeReader } from "./tree/node-reader.ts";
import { VolumeTree } from "./tree/volume-tree.ts";
import type { Volume } from "./volume.ts";
import type { VolumeDisk } from "./volume-disk.ts";

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
  /** The last record of the journal that the volume does not need any more. */
  coveredSequence: number;
  /** What a target serves, where one does. */
  disk: VolumeDisk | undefined;
}

/** The volume's number in the journal's records: the first 32 bits of its id. */
export const volumeNumber = (volumeId: string): number => Number.parseInt(volumeId.slice(0, 8), 16);

export const blockCountFor = (sectorCount: number, blockBytes: number): number =>
  Math.ceil((sectorCount * SECTOR_BYTES) / blockBytes);

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
  /** Checksum of the record that it follows on, where that is not the volume's newest. */
  readonly parent?: string;
};

export interface RecordStore {
  /** Publishes a record of the volume: it is the volume from then on. Rejects where another server wrote one. */
  publish(kept: KeptVolume, next: NewRecord): Promise<StoredRecord>;
}

/** Publishes records in a blob store, and removes those of old checkpoints. */
export function recordStore(
  blobs: BlobStore,
  hasher: Hasher,
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
    async publish(kept, next) {
      const { parent = kept.newest?.checksum ?? null, ...rest } = next;
      const record: RootRecord = {
        ...rest,
        parent,
        volumeId: kept.volumeId,
        volumeName: kept.name,
        sequence: kept.nextSequence,
        hash: hasher.algorithm,
        blockSizeBytes: kept.volume.blockBytes,
        createdMs: nowMs(),
      };
      const bytes = encodeRootRecord(record);
      const name = rootRefName(record);
      // A name that is there may be ours, of an answer that was lost.
      if ((await blobs.createRef(name, bytes)) === "exists" && Buffer.compare(await blobs.readRef(name), bytes) !== 0) {
        throw new Error(
          `${name} of ${blobs.description} was written by another server: this one must not go on writing`,
        );
      }
      const stored = parseRootRecord(bytes);
      if ("reason" in stored) throw new Error(`a root record that was just written ${stored.reason}`);
      kept.newest = stored;
      kept.nextSequence++;
      kept.coveredSequence = Math.max(kept.coveredSequence, record.journalSequence);
      if (record.kind === "snapshot") kept.snapshots.push(stored);
      else kept.checkpoints.push(record.sequence);
      await prune(kept).catch((error: Error) =>
        report("prune", `an old record could not be removed: ${error.message}`),
      );
      return stored;
    },
  };
}
