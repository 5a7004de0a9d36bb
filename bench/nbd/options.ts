import { tmpdir } from "node:os";
import { parseArgs } from "node:util";
import { oneOf, positive } from "../testbed/options.ts";
import { PEER_NAMES, type PeerName } from "./peers.ts";

const MIB = 2 ** 20;

export const USAGE = `usage: npm run bench -- nbd [options]
  --quick             one round of 0.3 s with disks of 64 MiB: shows that everything runs, and little else
  --rounds N          rounds, of which the table has the medians                              (5)
  --seconds S         measured time of one run                                                (2)
  --rows PATTERN      only rows, and images, whose name matches this regular expression; may be repeated
  --peers NAME,...    of ${PEER_NAMES.join(" ")} (those that are installed)
  --size MIB          size of disks and images                                                (1024)
  --directory DIR     where the disks are                                                     (${tmpdir()})
  --json              JSON instead of Markdown
  --output FILE       into FILE instead of standard output
Needs root, iproute2, util-linux, gcc, fio and nbdcopy (package libnbd-bin); images are compared with borg and restic
where these are installed. Drops the page cache of the whole machine. VOE_BINARY names the voe to measure; otherwise
dist/voe, otherwise src/main.ts.`;

export interface Options {
  readonly rounds: number;
  readonly seconds: number;
  /** Empty: all of them. */
  readonly rows: readonly RegExp[];
  /** Null: those that are installed. */
  readonly peers: readonly PeerName[] | null;
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
      peers: { type: "string" },
      size: { type: "string" },
      directory: { type: "string", default: tmpdir() },
      json: { type: "boolean", default: false },
      output: { type: "string" },
    },
  });
  const usual = values.quick
    ? { rounds: "1", seconds: "0.3", size: "64" }
    : { rounds: "5", seconds: "2", size: "1024" };
  return {
    rounds: Math.ceil(positive("rounds", values.rounds ?? usual.rounds)),
    seconds: positive("seconds", values.seconds ?? usual.seconds),
    rows: values.rows.map((pattern) => new RegExp(pattern, "i")),
    peers: values.peers?.split(",").map((name) => oneOf("peers", name, PEER_NAMES)) ?? null,
    sizeBytes: Math.ceil(positive("size", values.size ?? usual.size)) * MIB,
    directory: values.directory,
    json: values.json,
    output: values.output ?? null,
  };
}
