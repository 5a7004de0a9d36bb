import { tmpdir } from "node:os";
import { parseArgs } from "node:util";
import { positive } from "../testbed/options.ts";

const MIB = 2 ** 20;
/** The OSD of the gateway keeps 4 GiB, of the plain client's objects and of voe's. */
const MOST_MIB = 1024;
const LEAST_MIB = 64;

export const USAGE = `usage: npm run bench -- blobs [options]
  --quick             one round with 128 MiB: shows that everything runs, and little else
  --rounds N          rounds, of which the table has the medians                              (3)
  --size MIB          what is written and read, ${LEAST_MIB} to ${MOST_MIB}                                       (${MOST_MIB})
  --directory DIR     where journal and cache are                                             (${tmpdir()})
  --json              JSON instead of Markdown
  --output FILE       into FILE instead of standard output
Starts a radosgw of Ceph with its objects in memory for each round (packages radosgw, ceph-mon, ceph-osd), and measures
an archive on it beside plain clients. Needs root, since it drops the page cache of the whole machine. VOE_BINARY names
the voe to measure; otherwise dist/voe, otherwise src/main.ts.`;

export interface Options {
  readonly rounds: number;
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
      size: { type: "string" },
      directory: { type: "string", default: tmpdir() },
      json: { type: "boolean", default: false },
      output: { type: "string" },
    },
  });
  const sizeMib = Math.ceil(positive("size", values.size ?? (values.quick ? "128" : `${MOST_MIB}`)));
  if (sizeMib < LEAST_MIB || sizeMib > MOST_MIB) {
    throw new Error(`--size takes ${LEAST_MIB} to ${MOST_MIB}, not ${sizeMib}`);
  }
  return {
    rounds: Math.ceil(positive("rounds", values.rounds ?? (values.quick ? "1" : "3"))),
    sizeBytes: sizeMib * MIB,
    directory: values.directory,
    json: values.json,
    output: values.output ?? null,
  };
}
