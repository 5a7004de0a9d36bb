/** What `voe copy` prints at the end of a copy between two stores. */
import { formatBytes } from "../base/human.ts";
import { printable } from "../base/printable.ts";
import type { StoreCopyResult } from "../server/copy-stores.ts";
import type { StoredRecord } from "../storage/cas/root-record.ts";
import { snapshotId } from "../storage/cas/snapshot-id.ts";

const plural = (count: number, one: string): string => `${count} ${one}${count === 1 ? "" : "s"}`;

const kinds = (copied: readonly StoredRecord[]): string => {
  const snapshots = copied.filter(({ record }) => record.kind === "snapshot").length;
  const parts = snapshots > 0 ? [plural(snapshots, "snapshot")] : [];
  if (snapshots < copied.length) parts.push("its present");
  return parts.join(" and ");
};

/** A line for each volume, and one for what it took. */
export function renderCopied(result: StoreCopyResult): string[] {
  const lines = result.volumes.map(({ name, copied, presentCount }) => {
    if (copied.length === 0) return `${printable(name)}: nothing is missing at the destination`;
    const newest = new Date(copied.at(-1)!.record.createdMs).toISOString();
    const were = presentCount === 0 ? "" : `, ${presentCount} there already`;
    return `${printable(name)}: ${kinds(copied)} copied${were}; as of ${newest}`;
  });
  const { broughtBytes, packBytes, source, destination } = result;
  const brought = `${formatBytes(broughtBytes)} of blocks brought, ${formatBytes(packBytes)} of packs stored`;
  return [...lines, `copied ${printable(source)} to ${printable(destination)}: ${brought}`];
}

export const copiedJson = ({ source, destination, volumes, broughtBytes, packBytes }: StoreCopyResult): object => ({
  source,
  destination,
  broughtBytes,
  packBytes,
  volumes: volumes.map(({ name, volumeId, copied, presentCount }) => ({
    name,
    volumeId,
    presentCount,
    copied: copied.map(({ record, checksum }) => ({
      kind: record.kind,
      sequence: record.sequence,
      createdMs: record.createdMs,
      description: record.description,
      ...(record.kind === "snapshot" ? { id: snapshotId(checksum) } : {}),
    })),
  })),
});
