import { tmpdir } from "node:os";
import { parseArgs } from "node:util";
import { positive } from "../testbed/options.ts";

const MIB = 2 ** 20;

export const USAGE = `usage: npm run bench -- archive [options]
  --quick             one round of 0.3 s with disks of 128 MiB: shows that everything runs, and little else
  --rounds N          rounds, of which the table has the medians                              (5)
  --seconds S         measured time of one run, after a fifth of it as warm-up                 (1)
  --rows PATTERN      only rows whose section and name, "Cached reads: random read 8 KiB", match this
                      regular expression; may be repeated
  --size MIB          size of disks and images, and of what snapshots find changed in volumes
                      eight times as large                                                    (1024)
  --directory DIR     where the disks are                                                     (${tmpdir()})
  --json              JSON instead of Markdown
  --output FILE       into FILE instead of standard output
Needs root, iproute2, util-linux, gcc and vblade; images are compared with borg (package borgbackup) where it is
installed. Drops the page cache of the whole machine. VOE_BINARY names the voe to measure; otherwise dist/voe, otherwise
src/main.ts.`;

/** A journal has at least 64 MiB, and the sustained loads write several times its size. */
const LEAST_MIB = 64;

export interface Options {
  readonly rounds: number;
  readonly seconds: number;
  /** Empty: all of them. */
  readonly rows: readonly RegExp[];
  readonly sizeBytes: number;
  readonly directory: string;
  readonly json: boolean;
  readonly output: string | null;
}

/** Reads the command line. Throws with what is wrong and what would be right. */
export function parseOptions(args: string[]): Options {
  const { values } = parseArgs({
    args,
    options: {
      quick: { type: "boolean", default: false },
      rounds: { type: "string" },
      seconds: { type: "string" },
      rows: { type: "string", multiple: true, default: [] },
      size: { type: "string" },
      directory: { type: "string", default: tmpdir() },
      json: { type: "boolean", default: false },
      output: { type: "string" },
    },
  });
  const usual = values.quick
    ? { rounds: "1", seconds: "0.3", size: "128" }
    : { rounds: "5", seconds: "1", size: "1024" };
  const sizeMib = Math.ceil(positive("size", values.size ?? usual.size));
  if (sizeMib < LEAST_MIB) throw new Error(`--size takes at least ${LEAST_MIB}, not ${sizeMib}`);
  return {
    rounds: Math.ceil(positive("rounds", values.rounds ?? usual.rounds)),
    seconds: positive("seconds", values.seconds ?? usual.seconds),
    rows: values.rows.map((pattern) => new RegExp(pattern, "i")),
    sizeBytes: sizeMib * MIB,
    directory: values.directory,
    json: values.json,
    output: values.output ?? null,
  };
}
