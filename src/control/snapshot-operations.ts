/** What the control socket lets one do with snapshots: documents of plain JSON, and the operations behind them. */

export interface SnapshotReport {
  /** 16 hexadecimal digits. */
  readonly id: string;
  /** The volume that it is of, by its name in the store. */
  readonly volume: string;
  /** ISO 8601, UTC. */
  readonly createdAt: string;
  readonly description: string;
  /** Hash of the volume's tree, in hexadecimal: two snapshots of one content have the same. */
  readonly root: string;
  /** Of the disk. */
  readonly sizeBytes: number;
  /** What of it is not holes. */
  readonly logicalBytes: number;
  /** What was new to the store since the snapshot before, before compression. */
  readonly uniqueBytes: number;
}

/** A target that was added to a running server, beside those of its configuration. */
export interface ExposedReport {
  readonly target: string;
  /** `snapshot`: read-only, as it was then; `clone`: a disk of its own, on a volume that began as the snapshot. */
  readonly kind: "snapshot" | "clone";
  /** The volume of the snapshot, or the clone's own. */
  readonly volume: string;
  readonly snapshotId: string;
  /** The target that the snapshot is of. */
  readonly origin: string;
  /** The store that the volume is in. */
  readonly store: string;
  readonly sizeBytes: number;
}

export interface SectorRange {
  readonly sector: number;
  readonly sectorCount: number;
}

/**
 * Targets are named by their addresses, `e1.0`; snapshots by their ids or any prefix of one that no other snapshot of the
 * volume shares. All reject with an error whose message says what to do.
 */
export interface SnapshotOperations {
  create(target: string, description: string): Promise<SnapshotReport>;
  /** Oldest first. */
  list(target: string): readonly SnapshotReport[];
  /** The target reads as the snapshot from then on; `before` is the present, which was kept first. */
  restore(target: string, id: string): Promise<{ readonly restored: SnapshotReport; readonly before: SnapshotReport }>;
  expose(target: string, id: string, as: string): Promise<ExposedReport>;
  /** `volume` names the new volume; undefined: it is named like the new target. */
  clone(target: string, id: string, as: string, volume: string | undefined): Promise<ExposedReport>;
  /** Takes away a target that `expose` or `clone` has added. The volume of a clone stays. */
  unexpose(target: string): Promise<ExposedReport>;
  /** Both snapshots, and the sectors that are not the same in them, in ascending order. */
  diff(
    target: string,
    from: string,
    to: string,
  ): {
    readonly from: SnapshotReport;
    readonly to: SnapshotReport;
    readonly ranges: AsyncGenerator<SectorRange, void, undefined>;
  };
}

export const DESCRIPTION_MOST_BYTES = 1024;
export const VOLUME_MOST_BYTES = 255;

/** An id or the beginning of one, in small letters. Throws RangeError with what is wrong. */
export function parseSnapshotId(text: string): string {
  if (/^[0-9a-f]{1,16}$/i.test(text)) return text.toLowerCase();
  throw new RangeError(
    `${JSON.stringify(text)} is no snapshot id, which is up to 16 digits 0 to 9 and a to f: voe snapshot list shows them`,
  );
}

const textOf =
  (what: string, leastBytes: number, mostBytes: number) =>
  (text: string): string => {
    const bytes = Buffer.byteLength(text);
    if (text.isWellFormed() && bytes >= leastBytes && bytes <= mostBytes) return text;
    throw new RangeError(`the ${what} has ${bytes} bytes: write text of ${leastBytes} to ${mostBytes} bytes of UTF-8`);
  };

export const parseDescription = textOf("description", 0, DESCRIPTION_MOST_BYTES);
export const parseVolumeName = textOf("volume's name", 1, VOLUME_MOST_BYTES);
