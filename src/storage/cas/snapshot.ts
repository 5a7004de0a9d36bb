/** Snapshots as people and programs see them. */
import { SECTOR_BYTES } from "../block-storage.ts";
import type { StoredRecord } from "./root-record.ts";
import { resolvePrefix, snapshotId } from "./snapshot-id.ts";

export interface Snapshot {
  /** 16 hexadecimal digits, of which any prefix that is unambiguous will do. */
  readonly id: string;
  readonly volume: string;
  /** Milliseconds since 1970, UTC. */
  readonly createdMs: number;
  readonly description: string;
  /** Root of the tree, in hexadecimal. */
  readonly root: string;
  readonly sizeBytes: number;
  /** Bytes of the blocks that are not holes. */
  readonly logicalBytes: number;
  /** Bytes of the blocks that were new to the store since the snapshot before, before compression. */
  readonly uniqueBytes: number;
  /** Number of the record among those of the volume. */
  readonly sequence: number;
}

export const toSnapshot = ({ record, checksum }: StoredRecord): Snapshot => ({
  id: snapshotId(checksum),
  volume: record.volumeName,
  createdMs: record.createdMs,
  description: record.description,
  root: record.root,
  sizeBytes: record.sectorCount * SECTOR_BYTES,
  logicalBytes: record.logicalBytes,
  uniqueBytes: record.uniqueBytes,
  sequence: record.sequence,
});

/** The snapshot whose id begins with `prefix`. Throws RangeError where there is none, or more than one. */
export function findSnapshot(snapshots: readonly StoredRecord[], prefix: string): StoredRecord {
  const id = resolvePrefix(
    snapshots.map(({ checksum }) => snapshotId(checksum)),
    prefix,
  );
  return snapshots.find(({ checksum }) => snapshotId(checksum) === id)!;
}
