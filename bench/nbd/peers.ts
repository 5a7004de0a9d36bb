/** The servers that are measured beside each other. */
import { join } from "node:path";
import type { Launch } from "../testbed/server.ts";
import { nbdTable, voeCommand, voeName, writeVoeConfig } from "../testbed/voe.ts";

export interface PeerPlace {
  /** Of the peer alone. */
  readonly directory: string;
  readonly port: number;
  /** A disk of the peer alone, where it uses one. */
  readonly disk: string;
  readonly sizeBytes: number;
}

export interface Peer {
  readonly name: string;
  /** What it is called with, for the table. */
  readonly description: string;
  readonly usesDisk: boolean;
  /** The name that it exports its disk by. */
  readonly export: string;
  launch(place: PeerPlace): Launch;
}

export const PEER_NAMES = ["voe", "nbdkit", "qemu-nbd", "nbdkit-memory"] as const;
export type PeerName = (typeof PEER_NAMES)[number];

const HOST = "127.0.0.1";

const peers: Readonly<Record<PeerName, Peer>> = {
  voe: {
    name: "voe",
    description: `${voeName()}, backend = "file", sync = "none": as the others, it syncs when it is asked to`,
    usesDisk: true,
    export: "e1.0",
    launch({ directory, port, disk }) {
      const target = `[[target]]\nshelf = 1\nslot = 0\nbackend = "file"\npath = ${JSON.stringify(disk)}\nsync = "none"\n`;
      const config = writeVoeConfig(directory, undefined, `${target}\n${nbdTable(`${HOST}:${port}`)}`);
      return { command: [...voeCommand(), "serve", config], readyLine: "voe ready" };
    },
  },
  nbdkit: {
    name: "nbdkit",
    description: "nbdkit file DISK",
    usesDisk: true,
    export: "",
    launch: ({ directory, port, disk }) => nbdkit(directory, port, "file", disk),
  },
  "qemu-nbd": {
    name: "qemu-nbd",
    description: "qemu-nbd --format=raw --persistent --shared=0 DISK, which writes back as it does unasked",
    usesDisk: true,
    export: "",
    launch({ directory, port, disk }) {
      const pidFile = join(directory, "pid");
      const words = ["--format=raw", "--persistent", "--shared=0", `--bind=${HOST}`, `--port=${port}`];
      return { command: ["qemu-nbd", ...words, `--pid-file=${pidFile}`, disk], pidFile };
    },
  },
  "nbdkit-memory": {
    name: "nbdkit-memory",
    description: "nbdkit memory SIZE: a disk in its memory",
    usesDisk: false,
    export: "",
    launch: ({ directory, port, sizeBytes }) => nbdkit(directory, port, "memory", String(sizeBytes)),
  },
};

function nbdkit(directory: string, port: number, ...plugin: string[]): Launch {
  const pidFile = join(directory, "pid");
  const words = ["--foreground", `--ipaddr=${HOST}`, `--port=${port}`, `--pidfile=${pidFile}`];
  return { command: ["nbdkit", ...words, ...plugin], pidFile };
}

export const uriOf = (peer: Peer, port: number): string => `nbd://${HOST}:${port}/${peer.export}`;

/** The peers of these names; without names, those that are installed. Throws where one is asked for that is not. */
export function findPeers(names: readonly PeerName[] | null): Peer[] {
  const isInstalled = (name: PeerName): boolean => name === "voe" || Bun.which(name.replace("-memory", "")) !== null;
  const absent = names?.find((name) => !isInstalled(name));
  if (absent !== undefined) throw new Error(`--peers names ${absent}, which is not installed`);
  return (names ?? PEER_NAMES.filter(isInstalled)).map((name) => peers[name]);
}
