/** The report as Markdown: figures, and beside them what is asked of them. */
import type { Measurement } from "../testbed/load.ts";
import type { LoadFigures, LoadResult } from "./measure-loads.ts";
import { imagesTable } from "./image-table.ts";
import type { ImageResult } from "./measure-images.ts";
import type { SnapshotResult } from "./measure-snapshots.ts";
import { figure, table, verdict } from "./markdown.ts";
import type { Options } from "./options.ts";

export interface Report {
  readonly date: string;
  /** Kernel, processor and the like, one sentence each. */
  readonly machine: readonly string[];
  readonly options: Pick<Options, "rounds" | "seconds" | "sizeBytes">;
  readonly loads: readonly LoadResult[];
  readonly snapshots: SnapshotResult | null;
  readonly images: readonly ImageResult[];
}

const MIB = 2 ** 20;
/** Below this share of idle time the client was the limit, and the server could have done more. */
const CLIENT_BOUND = 0.05;

/** Thousand requests a second · median/99th percentile in microseconds · CPU in microseconds. */
function loadCell(figures: LoadFigures | undefined): string {
  if (figures === undefined) return "";
  const { iops, p50Us, p99Us, cpuUs, clientIdle, retransmits }: Measurement = figures.median;
  const marks = [clientIdle < CLIENT_BOUND ? "†" : "", retransmits > 0 ? ` (${retransmits} sent again)` : ""];
  return `${figure(iops / 1000)}${marks.join("")} · ${figure(p50Us)}/${figure(p99Us)} · ${cpuUs.toFixed(2)}`;
}

function loadsTable({ title, about, mtu, sync, contenders, rows }: LoadResult): string {
  const names = Object.keys(contenders);
  const settles = rows.some(({ figures }) => figures["archive"]?.settling !== undefined);
  const lines = rows.map(({ row, figures }) => {
    const others = names.filter((name) => name !== "archive");
    const ratioTo = (name: string): number => figures["archive"]!.median.iops / figures[name]!.median.iops;
    const settling = figures["archive"]?.settling;
    const longest = `${figure(figures["archive"]!.median.longestUs / 1000)} ms`;
    const { target } = row;
    return [
      row.name,
      ...names.map((name) => loadCell(figures[name])),
      ...(settles && settling ? [longest, `${settling.seconds.toFixed(1)} s · ${settling.cpuUs.toFixed(1)}`] : []),
      ...others.map((name) => {
        const isAsked = target?.of === name;
        return isAsked ? verdict(ratioTo(name).toFixed(2), ratioTo(name) >= target.times) : ratioTo(name).toFixed(2);
      }),
      target === undefined ? "" : `${target.times} x ${target.of}`,
    ];
  });
  const ratios = names.filter((name) => name !== "archive").map((name) => `archive/${name}`);
  const header = ["work", ...names, ...(settles ? ["longest", "in packs after"] : []), ...ratios, "target"];
  const commands = Object.entries(contenders).map(([name, description]) => `- ${name}: ${description}`);
  return `### ${title} (MTU ${mtu}, sync = "${sync}")\n\n${about}\n\n${commands.join("\n")}\n\n${table(header, lines)}`;
}

/** Most milliseconds: of a snapshot of a changed volume, of a request meanwhile, of a snapshot of an unchanged one. */
const SNAPSHOT_MS = 2000;
const REQUEST_MS = 250;
const UNCHANGED_MS = 50;

const ms = (value: number, most: number): string => verdict(`${figure(value)} ms`, value <= most);

function snapshotsTable({ volumeBytes, changedBytes, writesPerSecond, median, unchanged }: SnapshotResult): string {
  const lines = [
    ["snapshot of what has changed, from request to answer", ms(median.snapshotMs, SNAPSHOT_MS), `${SNAPSHOT_MS} ms`],
    ["longest request meanwhile", ms(median.longestMs, REQUEST_MS), `${REQUEST_MS} ms`],
    ["longest request in as much time without a snapshot", `${figure(median.longestWithoutMs)} ms`, ""],
    [
      `snapshot of an unchanged volume, median of ${unchanged.count}`,
      ms(unchanged.medianMs, UNCHANGED_MS),
      `${UNCHANGED_MS} ms`,
    ],
    [`the longest of those`, `${figure(unchanged.longestMs)} ms`, ""],
  ];
  return `### Snapshots

A volume of ${volumeBytes / MIB} MiB in which ${changedBytes / MIB} MiB were changed at random places, 8 KiB of random data each, as fast as they were
taken. Then, while a client goes on with ${writesPerSecond} random writes of 8 KiB a second, a snapshot; ${figure(median.journalBytes / MIB)} MiB of the changes were
still in the journal when it was asked for.

${table(["work", "median", "at most"], lines)}`;
}

const howToRead = ({ rounds, seconds, sizeBytes }: Report["options"]): string => {
  const mib = sizeBytes / MIB;
  return `Made by \`npm run build && npm run bench -- archive --output docs/benchmark-archive.md\` as root; here with
\`--rounds ${rounds} --seconds ${seconds} --size ${mib}\`. \`--rows\` measures a part of it, \`--quick\` all of it in a few minutes without much meaning.
Figures are medians of ${rounds} round${rounds === 1 ? "" : "s"}; whatever else the machine does makes noise of them. Ratios compare between runs and
machines, absolute figures do not. **Bold** is what does not reach its target.

**Loads.** A cell is thousand requests a second · median/99th percentile latency in us · server CPU per request in us (user
and system time of all its threads). † the client was the limit (idle less than ${CLIENT_BOUND * 100} % of the time). The servers took turns,
each pinned to one core, worker threads included, with the client on the other; each has a veth pair and a disk of
${mib} MiB of its own, which was written from end to end before. One round of each is not counted before the others, since
code is compiled while it first runs.

**What a write costs later.** A write to the archive is a record of the journal; blocks are hashed, compressed and put
into packs by checkpoints, which begin when the journal is half full, or earlier while clients write little. *In packs after* says how long
that took when a run was over, and the CPU per request of both together; *longest* is how long a request to the archive took at most:
where the journal is full, requests wait for a checkpoint. The rows of "Writes" are *bursts*: the journal absorbs a run, and
the next one begins when everything is in packs. "Sustained writes" are as long as it takes to write several times what the
journal holds: what is left of the speed when packing has to keep up.

**Images.** A cell is seconds · MiB/s, or MiB stored · bytes brought in to bytes stored. *Durable* is the end of
\`voe import\`: everything is in the journal, and synced. *In packs* is when a snapshot of it is answered as well. The same
image comes again under another name, so nothing of it is new. Before it goes out, the server is started anew and the page
cache dropped. Nothing is pinned here, nor for snapshots.

What a block costs in the index is measured by \`npm run bench -- index\`, appends to the journal by
\`npm run bench -- journal\`, the file backend beside its peers by \`npm run bench -- aoe\` ([benchmark-aoe.md](benchmark-aoe.md)).`;
};

/** The report as Markdown. */
export function markdown({ date, machine, options, loads, snapshots, images }: Report): string {
  const parts = [
    ...loads.map(loadsTable),
    ...(snapshots ? [snapshotsTable(snapshots)] : []),
    ...images.map(imagesTable),
  ];
  return `## The archive beside files, vblade, borg and cp

${date}. ${machine.join(" ")}

${howToRead(options)}

${parts.join("\n")}`;
}
