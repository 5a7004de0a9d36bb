/** The loads of the table, and what is asked of them: issue "The archive", Speed. */
import { load, type Load } from "../testbed/load.ts";
import { isWanted } from "../testbed/options.ts";
import type { Options } from "./options.ts";

export type ContenderName = "archive" | "file" | "vblade";

export interface LoadRow extends Load {
  /** The archive is to have at least so many times the requests per second of this one. */
  readonly target?: { readonly times: number; readonly of: ContenderName };
}

/** Loads that are measured together, with the same servers running. */
export interface LoadSection {
  readonly title: string;
  /** What the figures are of, for readers. */
  readonly about: string;
  readonly mtu: 9000 | 1500;
  readonly sync: "1s" | "always";
  readonly contenders: readonly ContenderName[];
  /**
   * `warm`: everything was read once. `cold`: page cache dropped and server started anew for every run, which is one
   * pass over the disk. `burst`: runs of `--seconds`, each of which begins when everything is in packs. `sustained`:
   * runs that write as much as the disk has, with a journal of a quarter of it where that is not too small for one.
   */
  readonly kind: "warm" | "cold" | "burst" | "sustained";
  readonly rows: readonly LoadRow[];
}

const atLeast = (times: number, of: ContenderName, row: Load): LoadRow => ({ ...row, target: { times, of } });

const duplicates = (row: Load): Load => ({ ...row, name: `${row.name}, duplicates`, data: "dup4096" });

const sections: readonly LoadSection[] = [
  {
    title: "Writes",
    about:
      "Unique data unless it says duplicates: those are of 4096 different blocks (16 MiB), all known to the store.",
    mtu: 9000,
    sync: "1s",
    contenders: ["archive", "file", "vblade"],
    kind: "burst",
    rows: [
      atLeast(0.6, "vblade", load("write", 8, 16)),
      atLeast(0.6, "vblade", load("seqwrite", 8, 64)),
      atLeast(0.9, "file", duplicates(load("write", 8, 16))),
      atLeast(0.9, "file", duplicates(load("seqwrite", 8, 64))),
    ],
  },
  {
    title: "Sustained writes",
    about: "Unique data, as much as the disk has: several times what the journal holds, so packing has to keep up.",
    mtu: 9000,
    sync: "1s",
    contenders: ["archive", "file", "vblade"],
    kind: "sustained",
    rows: [load("write", 8, 16), load("seqwrite", 8, 64)],
  },
  {
    title: "Durable writes",
    about: "Every write is durable when it is answered; `vblade -s` opens its file with O_SYNC.",
    mtu: 9000,
    sync: "always",
    contenders: ["archive", "file", "vblade"],
    kind: "burst",
    rows: [
      atLeast(3, "vblade", load("write", 8, 16)),
      atLeast(3, "vblade", load("seqwrite", 8, 64)),
      load("write", 8, 1),
    ],
  },
  {
    title: "Small frames",
    about: "Two sectors are all that fits into a frame: four requests to a block.",
    mtu: 1500,
    sync: "1s",
    contenders: ["archive", "file", "vblade"],
    kind: "burst",
    rows: [atLeast(0.5, "file", load("seqwrite", 1, 64))],
  },
  {
    title: "Cached reads",
    about: "Every disk was filled, brought into packs and read once; cache_size is twice the disk.",
    mtu: 9000,
    sync: "1s",
    contenders: ["archive", "file", "vblade"],
    kind: "warm",
    rows: [
      atLeast(0.9, "file", load("read", 8, 16)),
      atLeast(0.9, "file", load("read", 1, 16)),
      atLeast(0.9, "file", load("seqread", 8, 64)),
    ],
  },
  {
    title: "Cold reads",
    about: "Page cache dropped and server started anew before each run, which is one pass over the disk.",
    mtu: 9000,
    sync: "1s",
    contenders: ["archive", "file", "vblade"],
    kind: "cold",
    rows: [atLeast(0.6, "file", load("seqread", 8, 64))],
  },
];

/** What the options leave of the table, in its order. Sections without a row are left out. */
export const chosenLoads = ({ rows }: Pick<Options, "rows">): LoadSection[] =>
  sections
    .map((section) => ({
      ...section,
      rows: section.rows.filter(({ name }) => isWanted(rows, `${section.title}: ${name}`)),
    }))
    .filter((section) => section.rows.length > 0);
