import { imagesTable } from "../archive/image-table.ts";
import { figure, table, verdict } from "../archive/markdown.ts";
import type { ImageResult } from "../archive/measure-images.ts";
import type { Measurement } from "./fio.ts";
import type { Options } from "./options.ts";
import type { FioRow } from "./rows.ts";

export interface RowResult {
  readonly row: FioRow;
  /** By the peer's name: the medians, and the rounds in their order. */
  readonly figures: Readonly<Record<string, { readonly median: Measurement; readonly rounds: readonly Measurement[] }>>;
}

export interface Report {
  readonly date: string;
  /** Kernel, processor and the like, one sentence each. */
  readonly machine: readonly string[];
  readonly options: Pick<Options, "rounds" | "seconds" | "sizeBytes">;
  /** What each peer was called with, by its name, in the order of the columns. */
  readonly peers: Readonly<Record<string, string>>;
  readonly rows: readonly RowResult[];
  readonly images: readonly ImageResult[];
}

/** Below this share of idle time the client was the limit, and the server could have done more. */
const CLIENT_BOUND = 0.05;

/** Those that keep their disk in a file, as voe does: the better of them is what voe is measured by. */
const RIVALS = ["nbdkit", "qemu-nbd"];

function cell(measured: Measurement | undefined): string {
  if (measured === undefined) return "";
  const { iops, p50Us, p99Us, cpuUs, clientIdle } = measured;
  const mark = clientIdle < CLIENT_BOUND ? "†" : "";
  return `${figure(iops / 1000)}${mark} · ${figure(p50Us)}/${figure(p99Us)} · ${figure(cpuUs)}`;
}

function loadsTable({ peers, rows, options }: Report): string {
  const names = Object.keys(peers);
  const lines = rows.map(({ row, figures }) => {
    const rivals = RIVALS.flatMap((name) => figures[name]?.median ?? []);
    const voe = figures["voe"]?.median;
    const better = Math.max(...rivals.map(({ iops }) => iops));
    const cheaper = Math.min(...rivals.map(({ cpuUs }) => cpuUs));
    const isCompared = voe !== undefined && rivals.length > 0;
    return [
      row.name,
      ...names.map((name) => cell(figures[name]?.median)),
      isCompared ? verdict((voe.iops / better).toFixed(2), voe.iops >= better) : "",
      isCompared ? (voe.cpuUs / cheaper).toFixed(2) : "",
    ];
  });
  const commands = names.map((name) => `- ${name}: ${peers[name]}`).join("\n");
  const header = ["work", ...names, "voe/better", "CPU voe/less"];
  return `### fio on a file

${commands}

A cell is thousand requests a second · median/99th percentile latency in us · server CPU per request in us (user and
system time of all its threads). Medians of ${options.rounds} round${options.rounds === 1 ? "" : "s"} of ${options.seconds} s, after one that is not counted. The servers took
turns, each pinned to one core with fio on another, over TCP on a loopback interface, each with a file of its own of
${options.sizeBytes / 2 ** 20} MiB, filled once. Files are synced after each run of writes, outside of the measured
time. "Better" is the better of nbdkit's file plugin and qemu-nbd in that row, "less" the one that takes less CPU. Bold:
less than the better one. † the client was the limit (idle less than ${CLIENT_BOUND * 100} % of the time).

${table(header, lines)}`;
}

/** The report as Markdown. */
export function markdown(report: Report): string {
  const parts = [`## NBD beside its peers\n\n${report.date}. ${report.machine.join(" ")}\n`];
  if (report.rows.length > 0) parts.push(loadsTable(report));
  parts.push(...report.images.map(imagesTable));
  return parts.join("\n");
}
