import type { Load, Measurement } from "../testbed/load.ts";
import type { Options, Sync } from "./options.ts";

interface RowResult {
  readonly row: Load;
  /** By the peer's name: the medians, and the rounds in their order. */
  readonly figures: Readonly<Record<string, { readonly median: Measurement; readonly rounds: readonly Measurement[] }>>;
}

export interface SectionResult {
  readonly mtu: number;
  readonly sync: Sync;
  /** What each peer was called with, by its name, in the order of the columns. */
  readonly peers: Readonly<Record<string, string>>;
  readonly rows: readonly RowResult[];
}

export interface Report {
  readonly date: string;
  /** Kernel, processor and the like, one sentence each. */
  readonly machine: readonly string[];
  readonly options: Pick<Options, "rounds" | "seconds" | "preparation" | "sizeBytes">;
  readonly sections: readonly SectionResult[];
}

/** Below this share of idle time the client was the limit, and the server could have done more. */
const CLIENT_BOUND = 0.05;

const figure = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toPrecision(value >= 10 ? 3 : 2));

/** Thousand requests a second · median/99th percentile in microseconds · CPU in microseconds. */
function cell(row: Load, measured: Measurement | undefined): string {
  if (!measured) return "";
  const { iops, p50Us, p99Us, cpuUs, clientIdle, retransmits, window } = measured;
  const marks = [
    clientIdle < CLIENT_BOUND ? "†" : "",
    window < row.window ? ` (${window} outstanding)` : "",
    retransmits > 0 ? ` (${retransmits} sent again)` : "",
  ];
  return `${figure(iops / 1000)}${marks.join("")} · ${figure(p50Us)}/${figure(p99Us)} · ${cpuUs.toFixed(2)}`;
}

const ratio = (a: number | undefined, b: number | undefined): string => (a && b ? (a / b).toFixed(2) : "");

function sectionTable({ mtu, sync, peers, rows }: SectionResult): string {
  const names = Object.keys(peers);
  const others = names.includes("voe") ? names.filter((name) => name !== "voe") : [];
  const ratios = [
    ...others.map((name) => ({ title: `voe/${name}`, other: name, of: "iops" as const })),
    ...others.map((name) => ({ title: `CPU voe/${name}`, other: name, of: "cpuUs" as const })),
  ];
  const lines = rows.map(({ row, figures }) => [
    row.name,
    ...names.map((name) => cell(row, figures[name]?.median)),
    ...ratios.map(({ other, of }) => ratio(figures["voe"]?.median[of], figures[other]?.median[of])),
  ]);
  const header = ["work", ...names, ...ratios.map(({ title }) => title)];
  const rule = header.map((_, i) => (i === 0 ? "---" : "---:"));
  const table = [header, rule, ...lines].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
  const commands = names.map((name) => `- ${name}: ${peers[name]}`).join("\n");
  const durability = sync === "always" ? "writes answered when they are durable" : "writes answered at once";
  return `### MTU ${mtu}, ${durability}\n\n${commands}\n\n${table}\n`;
}

/** The report as Markdown. */
export function markdown({ date, machine, options, sections }: Report): string {
  const { rounds, seconds, preparation, sizeBytes } = options;
  const how =
    preparation === "sparse"
      ? "created sparse and never written before"
      : "created sparse, then filled once in order, 8 KiB at a time, and synced";
  return `## AoE file backend beside its peers

${date}. ${machine.join(" ")}

A cell is thousand requests a second · median/99th percentile latency in us · server CPU per request in us (user and
system time of all its threads). Medians of ${rounds} round${rounds === 1 ? "" : "s"} of ${seconds} s, after one that is not counted. The servers took
turns, each pinned to one core with the client on another, each with a veth pair and a disk file of its own of
${sizeBytes / 2 ** 20} MiB: ${how}. Files are synced after each run of
writes, outside of the measured time. Ratios compare between runs and machines; absolute figures do not. † the client was the limit (idle less than ${CLIENT_BOUND * 100} % of the time).

${sections.map(sectionTable).join("\n")}`;
}
