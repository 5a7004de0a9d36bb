/** What `voe snapshot` prints for people. */
import { formatBytes, formatCount } from "../base/human.ts";
import { printable } from "../base/printable.ts";
import type { ExposedReport, SectorRange, SnapshotReport } from "../control/snapshot-operations.ts";
import { SECTOR_BYTES } from "../storage/block-storage.ts";
import { formatTable } from "./table.ts";

const HEAD = ["ID", "TIME", "SIZE", "LOGICAL", "NEW", "DESCRIPTION"];
const RIGHT = new Set([2, 3, 4]);

/** The snapshots of a target, times in the time zone of this process. */
export function renderSnapshots(target: string, snapshots: readonly SnapshotReport[]): string {
  if (snapshots.length === 0) return `${target} has no snapshots. Make one with: voe snapshot create ${target}`;
  const rows = snapshots.map((snapshot) => [
    snapshot.id,
    formatTime(snapshot.createdAt),
    formatBytes(snapshot.sizeBytes),
    formatBytes(snapshot.logicalBytes),
    formatBytes(snapshot.uniqueBytes),
    snapshot.description,
  ]);
  return formatTable([HEAD, ...rows], RIGHT);
}

const two = (value: number): string => String(value).padStart(2, "0");

/** `2026-01-31 12:00:00`, local time. */
export function formatTime(iso: string): string {
  const time = new Date(iso);
  const date = [time.getFullYear(), two(time.getMonth() + 1), two(time.getDate())].join("-");
  return `${date} ${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
}

export const renderCreated = (target: string, snapshot: SnapshotReport): string =>
  `snapshot ${snapshot.id} of ${target}: ${formatBytes(snapshot.uniqueBytes)} of ` +
  `${formatBytes(snapshot.logicalBytes)} are new since the snapshot before`;

export const renderRestored = (target: string, restored: SnapshotReport, before: SnapshotReport): string =>
  `${target} reads as the snapshot ${restored.id} of ${formatTime(restored.createdAt)}${named(restored)}. ` +
  `What it was before is the snapshot ${before.id}.\n` +
  `A client that had it mounted meanwhile may spoil it with what it had yet to write: unmount it there and restore again.`;

const named = ({ description }: SnapshotReport): string => (description === "" ? "" : ` (${printable(description)})`);

export const renderExposed = ({ target, kind, origin, snapshotId, volume }: ExposedReport): string =>
  kind === "snapshot"
    ? `${target} shows the snapshot ${snapshotId} of ${origin}, read-only. Take it away with: voe snapshot unexpose ${target}`
    : `${target} is a disk of its own that begins as the snapshot ${snapshotId} of ${origin}, on the volume ${printable(volume)}`;

export function renderUnexposed({ target, kind, origin, volume, store, sizeBytes }: ExposedReport): string {
  if (kind === "snapshot") return `${target} is no longer served; the snapshot stays`;
  return (
    `${target} is no longer served; its volume ${printable(volume)} stays in the store (${printable(store)}). To serve it ` +
    `again, add to the configuration a [[target]] with the [target.cas] of ${origin}, changed to ` +
    `volume = ${JSON.stringify(volume)} and size = ${sizeBytes}`
  );
}

const DIFF_COLUMNS = [
  ["OFFSET", 16],
  ["BYTES", 16],
  ["SECTOR", 14],
  ["SECTORS", 14],
] as const;

/** A line of columns of fixed width, since what is to come is not known. */
const diffLine = (cells: readonly string[]): string =>
  cells.map((cell, i) => cell.padStart(DIFF_COLUMNS[i]![1])).join("  ");

export const DIFF_HEAD = diffLine(DIFF_COLUMNS.map(([title]) => title));

export const renderRange = ({ sector, sectorCount }: SectorRange): string =>
  diffLine([sector * SECTOR_BYTES, sectorCount * SECTOR_BYTES, sector, sectorCount].map(String));

export const renderDiffTotal = (ranges: number, sectors: number): string =>
  ranges === 0
    ? "nothing has changed"
    : `${formatBytes(sectors * SECTOR_BYTES)} in ${formatCount(ranges)} range${ranges === 1 ? "" : "s"}`;
