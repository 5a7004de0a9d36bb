/** The archives of a status report, for a terminal of 100 columns. */
import { formatBytes, formatCount, formatDuration } from "../base/human.ts";
import { printable } from "../base/printable.ts";
import type { ArchiveStatus, RemoteStatus, StatusReport, VolumeStatus } from "../control/status.ts";
import { count, tableLines, text, type Column } from "./table.ts";

/** A name may have 255 bytes, which no terminal has columns for. */
const NAME_COLUMNS = 11;
const INDENT = "  ";

/** With an earlier report of the same server, `seconds` before this one, the figures that count are rates. */
export function archiveLines(report: StatusReport, earlier?: StatusReport, seconds = 0): readonly string[] {
  const nowMs = Date.parse(report.reportedAt);
  return report.archives.flatMap((archive) => {
    const before = earlier?.archives.find(({ store }) => store === archive.store);
    const rates = before === undefined ? undefined : { before, seconds };
    const lines = [
      ...tableLines([...SPACE, ...(rates === undefined ? TOTALS : ratesOf(rates.before, seconds))], [archive]),
      `packs     ${packsText(archive)}`,
      `cache     ${cacheText(archive, rates?.before)}`,
      `journal   ${journalText(archive)}`,
      ...(archive.remote === null ? [] : remoteLines(archive, archive.remote, nowMs)),
      `verified  ${verificationText(archive, nowMs)}`,
      ...(archive.volumes.length === 0 ? [] : tableLines(volumeColumns(nowMs, rates), archive.volumes)),
    ];
    return ["", `ARCHIVE ${printable(archive.store)}`, ...lines.map((line) => INDENT + line)];
  });
}

const ratio = (value: number | null): string => (value === null ? "-" : `${value.toFixed(2)}x`);
const perSecond = (change: number, seconds: number): number => Math.max(0, change) / seconds;

const SPACE: readonly Column<ArchiveStatus>[] = [
  count("LOGICAL", ({ logicalBytes }) => formatBytes(logicalBytes)),
  count("SNAPSHOTS", ({ snapshotLogicalBytes }) => formatBytes(snapshotLogicalBytes)),
  count("UNIQUE", ({ uniqueBytes }) => formatBytes(uniqueBytes)),
  count("STORED", ({ storedBytes }) => formatBytes(storedBytes)),
  count("DEDUP", ({ dedupRatio }) => ratio(dedupRatio)),
  count("COMPRESSION", ({ compressionRatio }) => ratio(compressionRatio)),
];

const TOTALS: readonly Column<ArchiveStatus>[] = [
  count("WRITTEN", ({ writtenBytes }) => formatBytes(writtenBytes)),
  count("NEW", ({ newBlocks }) => formatCount(newBlocks)),
  count("KNOWN", ({ knownBlocks }) => formatCount(knownBlocks)),
];

function ratesOf(before: ArchiveStatus, seconds: number): readonly Column<ArchiveStatus>[] {
  type Counter = "writtenBytes" | "newBlocks" | "knownBlocks" | "packedBytes";
  const rate = (archive: ArchiveStatus, counter: Counter): number =>
    perSecond(archive[counter] - before[counter], seconds);
  const bytes = (counter: Counter) => (archive: ArchiveStatus) => `${formatBytes(rate(archive, counter))}/s`;
  const blocks = (counter: Counter) => (archive: ArchiveStatus) => formatCount(Math.round(rate(archive, counter)));
  return [
    count("WRITTEN", bytes("writtenBytes")),
    count("NEW/S", blocks("newBlocks")),
    count("KNOWN/S", blocks("knownBlocks")),
    count("TO PACKS", bytes("packedBytes")),
  ];
}

const percent = (part: number, whole: number): string => `${Number(((part / whole) * 100).toFixed(1))} %`;

/** Of the reads since the server started, or since the report before. */
function cacheText({ cache }: ArchiveStatus, before?: ArchiveStatus): string {
  const hits = Math.max(0, cache.hits - (before?.cache.hits ?? 0));
  const reads = hits + Math.max(0, cache.misses - (before?.cache.misses ?? 0));
  const share = reads > 0 ? `${percent(hits, reads)} of ${formatCount(reads)} reads` : "no reads";
  return `${share}; ${formatBytes(cache.usedBytes)} of ${formatBytes(cache.limitBytes)} memory`;
}

/** Short ones with the digits that matter: `0.42 s`. */
const duration = (seconds: number): string =>
  seconds < 9.95 ? `${Number(seconds.toFixed(2))} s` : formatDuration(seconds);

const packsText = (archive: ArchiveStatus): string =>
  `${formatCount(archive.packs)} with ${formatCount(archive.blocks)} blocks, ${formatBytes(archive.compressedBytes)} ` +
  `compressed; index: ${formatBytes(archive.indexMemoryBytes)} memory, ${formatBytes(archive.indexDiskBytes)} disk`;

function journalText({ journalBytes, journalLimitBytes, checkpoint }: ArchiveStatus): string {
  const percent = Math.round((journalBytes / journalLimitBytes) * 100);
  const { runningSeconds, lastSeconds, completed, failed, failure } = checkpoint;
  const checkpoints = [
    ...(runningSeconds === null ? [] : [`one runs for ${duration(runningSeconds)}`]),
    ...(failure === "" ? [] : ["the last one FAILED"]),
    ...(lastSeconds === null ? [] : [`${formatCount(completed)} done, the last in ${duration(lastSeconds)}`]),
    ...(failed === 0 ? [] : [`${formatCount(failed)} failed`]),
  ];
  return (
    `${formatBytes(journalBytes)} of ${formatBytes(journalLimitBytes)} (${percent} %); ` +
    `checkpoints: ${checkpoints.join(", ") || "none yet"}`
  );
}

/** Of a store that is far away: what waits for it, how it fares, and what of it is on this host's disk. */
function remoteLines({ backlog }: ArchiveStatus, remote: RemoteStatus, nowMs: number): readonly string[] {
  const { uploads, downloads, waiting, requests, awaySince, lastError, lastErrorAt, cache } = remote;
  const waits =
    backlog.bytes === 0
      ? "nothing: the store has everything"
      : `${formatBytes(backlog.bytes)}, the oldest written ${age(backlog.since, nowMs)}`;
  const errors = Object.values(requests).reduce((sum, kind) => sum + kind.errors, 0);
  const state = awaySince === "" ? "there" : `AWAY since ${age(awaySince, nowMs)}`;
  const lines = [
    `backlog   ${waits}${backlog.slowsWrites ? "; WRITES ARE SLOWED" : ""}`,
    `store     ${state}; ${uploads} uploads, ${downloads} downloads, ${waiting} waiting`,
    `requests  put ${formatCount(requests.put.requests)} (${formatBytes(requests.put.bytes)}), ` +
      `get ${formatCount(requests.get.requests)} (${formatBytes(requests.get.bytes)}), ` +
      `others ${formatCount(requests.ref.requests + requests.other.requests)}; ${formatCount(errors)} failed`,
  ];
  if (lastError !== "") lines.push(`failed    ${age(lastErrorAt, nowMs)}: ${printable(lastError)}`);
  lines.push(`on disk   ${cache === null ? "no cache, see the log" : packCacheText(cache)}`);
  return lines;
}

function packCacheText({ hits, misses, packs, usedBytes, limitBytes }: NonNullable<RemoteStatus["cache"]>): string {
  const reads = hits + misses;
  const share = reads > 0 ? `${percent(hits, reads)} of ${formatCount(reads)} reads` : "no reads";
  return `${share}; ${formatCount(packs)} packs, ${formatBytes(usedBytes)} of ${formatBytes(limitBytes)}`;
}

function verificationText({ packs, verification }: ArchiveStatus, nowMs: number): string {
  const { running, lastRunAt, verifiedPacks, oldestAt, damagedPacks, damagedParts } = verification;
  const told = [
    lastRunAt === ""
      ? "never: run voe verify"
      : `${formatCount(verifiedPacks)} of ${formatCount(packs)} packs, last run ${age(lastRunAt, nowMs)}` +
        (oldestAt === "" ? "" : `, oldest pack ${age(oldestAt, nowMs)}`),
  ];
  if (damagedPacks + damagedParts > 0) told.push(`DAMAGED: ${damagedPacks} packs, ${damagedParts} parts of trees`);
  if (running !== null) {
    told.push(`one runs, ${formatBytes(running.bytesDone)} of ${formatBytes(running.bytesTotal)}`);
  }
  return told.join("; ");
}

const age = (moment: string, nowMs: number): string =>
  moment === "" ? "-" : `${formatDuration((nowMs - Date.parse(moment)) / 1000)} ago`;

function shortened(name: string): string {
  const shown = printable(name);
  return shown.length > NAME_COLUMNS ? `${shown.slice(0, NAME_COLUMNS - 1)}…` : shown;
}

function volumeColumns(
  nowMs: number,
  rates: { readonly before: ArchiveStatus; readonly seconds: number } | undefined,
): readonly Column<VolumeStatus>[] {
  const written = ({ name, writtenBytes }: VolumeStatus): string => {
    if (rates === undefined) return formatBytes(writtenBytes);
    const earlier = rates.before.volumes.find((volume) => volume.name === name);
    return `${formatBytes(perSecond(writtenBytes - (earlier?.writtenBytes ?? writtenBytes), rates.seconds))}/s`;
  };
  return [
    text("VOLUME", ({ name }) => shortened(name)),
    text("TARGETS", ({ targets }) => shortened(targets.map(({ name }) => name).join(" ") || "-")),
    count("SIZE", ({ sizeBytes }) => formatBytes(sizeBytes)),
    count("LOGICAL", ({ logicalBytes }) => formatBytes(logicalBytes)),
    count("WRITTEN", written),
    count("UNIQUE", ({ uniqueBytes }) => formatBytes(uniqueBytes)),
    count("DIRTY", ({ dirtyBlocks }) => formatCount(dirtyBlocks)),
    count("SNAPSHOTS", ({ snapshots }) => formatCount(snapshots)),
    text("NEWEST", ({ recentSnapshots }) => age(recentSnapshots.at(-1)?.createdAt ?? "", nowMs)),
  ];
}
