import type { Options, Sync } from "./options.ts";

/** One kind of load: a line of the table. */
export interface Row {
  readonly name: string;
  readonly mode: "read" | "write" | "seqread" | "seqwrite";
  readonly sectors: number;
  /** Requests outstanding at any time. */
  readonly window: number;
}

/** Rows that are measured together, with the same servers running. */
export interface Section {
  readonly mtu: number;
  readonly sync: Sync;
  readonly rows: readonly Row[];
}

const MODE_NAMES = {
  read: "random read",
  write: "random write",
  seqread: "sequential read",
  seqwrite: "sequential write",
};

const row = (mode: Row["mode"], kib: number, window: number): Row => ({
  name: `${MODE_NAMES[mode]} ${kib} KiB, ${window} outstanding`,
  mode,
  sectors: kib * 2,
  window,
});

const sections: readonly Section[] = [
  {
    mtu: 9000,
    sync: "1s",
    rows: [
      row("read", 1, 16),
      row("read", 8, 16),
      row("seqread", 8, 64),
      row("write", 1, 16),
      row("write", 8, 16),
      row("seqwrite", 8, 64),
      row("read", 1, 1),
      row("read", 8, 1),
      row("write", 1, 1),
      row("write", 8, 1),
    ],
  },
  // Two sectors are all that fits.
  {
    mtu: 1500,
    sync: "1s",
    rows: [
      row("read", 1, 16),
      row("seqread", 1, 64),
      row("write", 1, 16),
      row("seqwrite", 1, 64),
      row("read", 1, 1),
      row("write", 1, 1),
    ],
  },
  {
    mtu: 9000,
    sync: "always",
    rows: [row("write", 1, 16), row("write", 8, 16), row("seqwrite", 8, 64), row("write", 1, 1), row("write", 8, 1)],
  },
  { mtu: 1500, sync: "always", rows: [row("write", 1, 16), row("seqwrite", 1, 64), row("write", 1, 1)] },
];

const chosen = <T>(filter: readonly T[], value: T): boolean => filter.length === 0 || filter.includes(value);

/** What the options leave of the table, in its order. Sections without a row are left out. */
export function chosenSections(options: Pick<Options, "rows" | "mtus" | "syncs">): Section[] {
  return sections
    .filter((section) => chosen(options.mtus, section.mtu) && chosen(options.syncs, section.sync))
    .map((section) => ({
      ...section,
      rows: section.rows.filter(
        ({ name }) => options.rows.length === 0 || options.rows.some((pattern) => pattern.test(name)),
      ),
    }))
    .filter((section) => section.rows.length > 0);
}
