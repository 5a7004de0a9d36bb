import { figure, table, verdict } from "../archive/markdown.ts";
import { median } from "../testbed/median.ts";
import type { ArchiveFigures } from "./measure-archive.ts";
import { plainClients, type PlainClientName, type PlainFigures } from "./plain-clients.ts";

const MIB = 2 ** 20;
const GIB = 2 ** 30;
/** What is asked for: MiB a second of uploads where the store does as much, the part of a plain client's reads, and
 * requests for a GiB. */
const UPLOAD_MIB = 100;
const READ_PART = 0.7;
const PUTS_PER_GIB = 80;

export interface Round {
  readonly plain: Readonly<Record<PlainClientName, PlainFigures>>;
  readonly archive: ArchiveFigures;
  /** One reader, all packs, through what stands before the store. */
  readonly wrapperSeconds: number;
}

export interface Report {
  readonly date: string;
  readonly machine: readonly string[];
  readonly voe: string;
  readonly sizeBytes: number;
  readonly rounds: readonly Round[];
}

/** The report as a page of Markdown. */
export function markdown({ date, machine, voe, sizeBytes, rounds }: Report): string {
  const names = Object.keys(plainClients) as PlainClientName[];
  const rate = (seconds: (round: Round) => number): number => sizeBytes / MIB / median(rounds.map(seconds));
  const of = (value: (figures: ArchiveFigures) => number): number =>
    median(rounds.map(({ archive }) => value(archive)));
  const puts = names.map((name) => rate(({ plain }) => plain[name].putSeconds));
  const gets = names.map((name) => rate(({ plain }) => plain[name].getSeconds));
  const uploaded = rate(({ archive }) => archive.uploadedSeconds);
  const out = rate(({ archive }) => archive.outSeconds);
  const putsPerGib = (of((figures) => figures.puts) * GIB) / sizeBytes;
  const getsPerGib = (of((figures) => figures.gets) * GIB) / sizeBytes;
  const wanted = Math.min(UPLOAD_MIB, ...puts);
  const wantedRead = READ_PART * Math.max(...gets);
  const wrapper = rate(({ wrapperSeconds }) => wrapperSeconds);
  const lines = [
    ["in, durable in the journal", "", "", "", figure(rate(({ archive }) => archive.inSeconds)), ""],
    [
      "in, all of it in the store",
      ...puts.map(figure),
      "",
      verdict(figure(uploaded), uploaded >= wanted),
      figure(wanted),
    ],
    [
      "out, nothing cached",
      ...gets.map(figure),
      verdict(figure(wrapper), wrapper >= wantedRead),
      figure(out),
      figure(wantedRead),
    ],
  ];
  return `# Packs in an object store

${date}. ${machine.join(" ")}

${figure(sizeBytes / MIB)} MiB of random data, to and from a radosgw of Ceph on loopback whose objects are in memory, anew for each round; medians of
${rounds.length}. The plain clients put and get objects of 16 MiB, four at a time, as the archive does with its packs. The archive is
\`${voe}\` with what it has unless configured: \`voe import\`, \`voe snapshot create\`, a restart without its cache,
\`voe export\`. *Cache of packs* is what stands between the archive and the store, alone and empty at first: one
reader, who reads all packs from front to back.

MiB a second:

${table(["work", ...names, "cache of packs", "archive", "at least"], lines)}
Requests for a GiB: ${verdict(`${figure(putsPerGib)} that put (packs and refs; at most ${PUTS_PER_GIB})`, putsPerGib <= PUTS_PER_GIB)}, ${figure(getsPerGib)} that read it again. CPU
time of the server for both directions: ${figure((of(({ cpuSeconds }) => cpuSeconds) * GIB) / sizeBytes)} s.
`;
}
