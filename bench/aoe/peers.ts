import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Launch } from "../testbed/server.ts";
import { voeCommand, voeName, writeVoeConfig } from "../testbed/voe.ts";
import type { Sync } from "./options.ts";

/** Where a server is to serve, and from what. */
export interface Place {
  readonly interface: string;
  readonly shelf: number;
  readonly slot: number;
  readonly disk: string;
  readonly sizeBytes: number;
  /** An empty directory for configuration and state. */
  readonly directory: string;
  /** The compiled floor.c, where it is measured. */
  readonly floor: string;
}

/** A server to measure. */
export interface Peer {
  readonly name: string;
  /** What it is called with, for the table. */
  describe(sync: Sync): string;
  readonly usesDisk: boolean;
  isInstalled(): boolean;
  /** How to start it, or null where it has nothing like this mode. */
  launch(place: Place, sync: Sync): Launch | null;
}

/** voe with its file backend. */
export const voe: Peer = {
  name: "voe",
  describe: (sync) => `${voeName()}, sync = "${sync}"`,
  usesDisk: true,
  isInstalled: () => existsSync(voeCommand().at(-1) ?? ""),
  launch(place, sync) {
    const target = `[[target]]
shelf = ${place.shelf}
slot = ${place.slot}
backend = "file"
path = ${JSON.stringify(place.disk)}
sync = "${sync}"
`;
    const config = writeVoeConfig(place.directory, place.interface, target);
    return { command: [...voeCommand(), "serve", config], readyLine: "voe ready" };
  },
};

const vbladeOptions = (sync: Sync): string[] => [...(sync === "always" ? ["-s"] : []), "-b", "64"];

export const vblade: Peer = {
  name: "vblade",
  describe: (sync) => `vblade ${vbladeOptions(sync).join(" ")}`,
  usesDisk: true,
  isInstalled: () => Bun.which("vblade") !== null,
  launch: (place, sync) => ({
    command: ["vblade", ...vbladeOptions(sync), `${place.shelf}`, `${place.slot}`, place.interface, place.disk],
  }),
};

const ggaoed: Peer = {
  name: "ggaoed",
  describe: () => "ggaoed, queue-length = 64, direct-io = false",
  usesDisk: true,
  isInstalled: () => Bun.which("ggaoed") !== null,
  launch(place, sync) {
    // It has no option to sync before it answers.
    if (sync === "always") return null;
    const config = join(place.directory, "ggaoed.conf");
    const pidFile = join(place.directory, "ggaoed.pid");
    writeFileSync(
      config,
      `[defaults]
queue-length = 64
direct-io = false
interfaces = ${place.interface}
pid-file = ${pidFile}
control-socket = ${join(place.directory, "ggaoed.sock")}
state-directory = ${place.directory}

[disk]
path = ${place.disk}
shelf = ${place.shelf}
slot = ${place.slot}
`,
    );
    return { command: ["ggaoed", "-c", config], pidFile };
  },
};

const floor = (name: string, transport: string, ...options: string[]): Peer => ({
  name,
  describe: () => `floor.c -t ${[transport, ...options].join(" ")}: answers without any storage`,
  usesDisk: false,
  isInstalled: () => true,
  launch: (place, sync) => {
    // Nothing is ever durable there.
    if (sync === "always") return null;
    const size = ["-n", `${place.sizeBytes / 512}`];
    const address = [place.interface, `${place.shelf}`, `${place.slot}`];
    return { command: [place.floor, "-t", transport, ...options, ...size, ...address], readyLine: "floor ready" };
  },
});

const peers: readonly Peer[] = [
  voe,
  vblade,
  ggaoed,
  // The floor has voe's own packet path: see docs/decisions/0002-packet-path.md, which the others are for.
  floor("floor", "ring-mmsg"),
  floor("floor-bypass", "ring-mmsg", "-b"),
  floor("floor-mmsg", "mmsg"),
  floor("floor-mmsg-bypass", "mmsg", "-b"),
  floor("floor-ring", "ring"),
  floor("floor-ring-bypass", "ring", "-b"),
  floor("floor-xdp", "xdp"),
  floor("floor-xdp-native", "xdp-native"),
];

export const PEER_NAMES: readonly string[] = peers.map(({ name }) => name);

const DEFAULT_PEERS = ["voe", "vblade", "ggaoed", "floor"];

/** The peers of these names, in this order, or the usual ones as far as they are installed. Throws when one is missing. */
export function findPeers(names: readonly string[] | null): Peer[] {
  const found = peers.filter(({ name }) => (names ?? DEFAULT_PEERS).includes(name));
  const installed = found.filter((peer) => peer.isInstalled());
  const missing = found.filter((peer) => !installed.includes(peer));
  if (names && missing.length > 0) {
    throw new Error(`not installed: ${missing.map(({ name }) => name).join(", ")}; leave it out of --peers`);
  }
  return installed;
}
