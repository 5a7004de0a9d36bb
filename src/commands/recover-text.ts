/** What `voe recover` prints for people, and for programs. */
import { formatBytes, formatCount } from "../base/human.ts";
import { printable } from "../base/printable.ts";
import type { RecoveredArchive, RecoveredVolume } from "../storage/cas/recover-archive.ts";
import { count, tableLines, text } from "./table.ts";
import { formatTime } from "./snapshot-text.ts";

const time = (ms: number): string => formatTime(new Date(ms).toISOString());

const columns = [
  text<RecoveredVolume>("VOLUME", ({ name }) => name),
  count<RecoveredVolume>("SIZE", ({ sizeBytes }) => formatBytes(sizeBytes)),
  text<RecoveredVolume>("AS OF", ({ asOfMs }) => time(asOfMs)),
  count<RecoveredVolume>("SNAPSHOTS", ({ snapshots }) => formatCount(snapshots.length)),
  text<RecoveredVolume>("NEWEST SNAPSHOT", ({ snapshots }) => {
    const newest = snapshots.at(-1);
    return newest === undefined ? "-" : `${newest.id} of ${time(newest.createdMs)}`;
  }),
];

/** What was recovered of a store; `wanted` are the volumes that the configuration has in it. */
export function renderRecovered(
  { store, epoch, before, packCount, storedBytes, volumes }: RecoveredArchive,
  wanted: readonly string[],
): string {
  const from = before === undefined ? "" : `, taken over from ${printable(before.host)}`;
  const names = new Set(volumes.map(({ name }) => name));
  const absent = wanted.filter((name) => !names.has(name));
  return [
    `${printable(store)}: recovered as epoch ${epoch}${from}. ${formatCount(packCount)} packs, ${formatBytes(storedBytes)}`,
    ...tableLines(columns, volumes).map((line) => `  ${line}`),
    "  Everything written up to AS OF is there. What was answered after it is lost at most: it was in the journal alone",
    ...absent.map((name) => `  The store has no volume ${printable(name)}: voe serve will make it, empty`),
  ].join("\n");
}

/** The same for programs. Times are UTC. */
export const recoveredJson = ({ before, volumes, ...rest }: RecoveredArchive): object => ({
  ...rest,
  takenOverFrom:
    before === undefined
      ? null
      : { host: before.host, epoch: before.epoch, claimedAt: new Date(before.claimedMs).toISOString() },
  volumes: volumes.map(({ name, sizeBytes, asOfMs, snapshots }) => ({
    name,
    sizeBytes,
    asOf: new Date(asOfMs).toISOString(),
    snapshots: snapshots.map(({ id, createdMs, description, sizeBytes: bytes }) => ({
      id,
      createdAt: new Date(createdMs).toISOString(),
      description,
      sizeBytes: bytes,
    })),
  })),
});
