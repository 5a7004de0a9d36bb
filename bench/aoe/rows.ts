import { load, type Load } from "../testbed/load.ts";
import { isWanted } from "../testbed/options.ts";
import type { Options, Sync } from "./options.ts";

/** Rows that are measured together, with the same servers running. */
export interface Section {
  readonly mtu: number;
  readonly sync: Sync;
  readonly rows: readonly Load[];
}

const sections: readonly Section[] = [
  {
    mtu: 9000,
    sync: "1s",
    rows: [
      load("read", 1, 16),
      load("read", 8, 16),
      load("seqread", 8, 64),
      load("write", 1, 16),
      load("write", 8, 16),
      load("seqwrite", 8, 64),
      load("read", 1, 1),
      load("read", 8, 1),
      load("write", 1, 1),
      load("write", 8, 1),
    ],
  },
  // Two sectors are all that fits.
  {
    mtu: 1500,
    sync: "1s",
    rows: [
      load("read", 1, 16),
      load("seqread", 1, 64),
      load("write", 1, 16),
      load("seqwrite", 1, 64),
      load("read", 1, 1),
      load("write", 1, 1),
    ],
  },
  {
    mtu: 9000,
    sync: "always",
    rows: [
      load("write", 1, 16),
      load("write", 8, 16),
      load("seqwrite", 8, 64),
      load("write", 1, 1),
      load("write", 8, 1),
    ],
  },
  { mtu: 1500, sync: "always", rows: [load("write", 1, 16), load("seqwrite", 1, 64), load("write", 1, 1)] },
];

const chosen = <T>(filter: readonly T[], value: T): boolean => filter.length === 0 || filter.includes(value);

/** What the options leave of the table, in its order. Sections without a row are left out. */
export function chosenSections(options: Pick<Options, "rows" | "mtus" | "syncs">): Section[] {
  return sections
    .filter((section) => chosen(options.mtus, section.mtu) && chosen(options.syncs, section.sync))
    .map((section) => ({
      ...section,
      rows: section.rows.filter(({ name }) => isWanted(options.rows, name)),
    }))
    .filter((section) => section.rows.length > 0);
}
