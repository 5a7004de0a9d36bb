import { tmpdir } from "node:os";
import { parseArgs } from "node:util";
import type { Preparation } from "../testbed/disk.ts";
import { oneOf, positive } from "../testbed/options.ts";
import { PEER_NAMES } from "./peers.ts";

export const USAGE = `usage: npm run bench -- aoe [options]
  --rounds N          rounds, after one that is not counted; the table has their medians          (5)
  --seconds S         measured time of one run, after a fifth of it as warm-up                 (1)
  --rows PATTERN      only rows whose name matches this regular expression; may be repeated
  --mtu BYTES         only this MTU, 9000 or 1500; may be repeated
  --sync NAME         only "1s" or only "always"; may be repeated
  --peers NAME,...    of ${PEER_NAMES.join(" ")}
                      (voe,vblade,ggaoed,floor as far as they are installed)
  --prepare HOW       sparse: every disk is a hole; written: every disk was filled once      (written)
  --size MIB          size of every disk                                                      (1024)
  --directory DIR     where the disks are                                                     (${tmpdir()})
  --json              JSON instead of Markdown
  --output FILE       into FILE instead of standard output
Needs root, iproute2, util-linux and gcc. VOE_BINARY names the voe to measure; otherwise dist/voe, otherwise src/main.ts.`;

const SYNC_MODES = ["1s", "always"] as const;
/** When a write is answered: at once with a sync every second, or when it is durable. */
export type Sync = (typeof SYNC_MODES)[number];

export interface Options {
  readonly rounds: number;
  readonly seconds: number;
  /** Empty: all of them, as with `mtus` and `syncs`. */
  readonly rows: readonly RegExp[];
  readonly mtus: readonly number[];
  readonly syncs: readonly Sync[];
  /** Null: those that are installed. */
  readonly peers: readonly string[] | null;
  readonly preparation: Preparation;
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
      rounds: { type: "string", default: "5" },
      seconds: { type: "string", default: "1" },
      rows: { type: "string", multiple: true, default: [] },
      mtu: { type: "string", multiple: true, default: [] },
      sync: { type: "string", multiple: true, default: [] },
      peers: { type: "string" },
      prepare: { type: "string", default: "written" },
      size: { type: "string", default: "1024" },
      directory: { type: "string", default: tmpdir() },
      json: { type: "boolean", default: false },
      output: { type: "string" },
    },
  });
  const peers = values.peers?.split(",").map((name) => oneOf("peers", name, PEER_NAMES)) ?? null;
  return {
    rounds: Math.ceil(positive("rounds", values.rounds)),
    seconds: positive("seconds", values.seconds),
    rows: values.rows.map((pattern) => new RegExp(pattern, "i")),
    mtus: values.mtu.map((mtu) => Number(oneOf("mtu", mtu, ["9000", "1500"]))),
    syncs: values.sync.map((sync) => oneOf("sync", sync, SYNC_MODES)),
    peers,
    preparation: oneOf("prepare", values.prepare, ["sparse", "written"]),
    sizeBytes: Math.ceil(positive("size", values.size)) * 2 ** 20,
    directory: values.directory,
    json: values.json,
    output: values.output ?? null,
  };
}
