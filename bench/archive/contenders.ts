/** The servers that loads are measured on, each with a disk of its own. */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { vblade, voe, type Peer } from "../aoe/peers.ts";
import { prepareDisk, settleDisk } from "../testbed/disk.ts";
import { awaitTarget, load, measure, type Client } from "../testbed/load.ts";
import type { Network } from "../testbed/network.ts";
import { startServer, type Launch, type Server } from "../testbed/server.ts";
import { voeName } from "../testbed/voe.ts";
import { launchArchive, SHELF, snapshotMs } from "./archive-server.ts";
import type { ContenderName, LoadSection } from "./load-sections.ts";

/** What a frame carries in whole KiB, at the MTUs that there are. */
const FRAME_KIB: Readonly<Record<LoadSection["mtu"], number>> = { 9000: 8, 1500: 1 };
const LEAST_JOURNAL_BYTES = 64 * 2 ** 20;

export interface Place {
  /** Where everything is that a contender makes. */
  readonly directory: string;
  readonly network: Network;
  /** Its interface, at both ends of the cable. */
  readonly interface: string;
  readonly sizeBytes: number;
  /** Path of the compiled load generator. */
  readonly program: string;
  readonly signal: AbortSignal;
}

export interface Contender extends AsyncDisposable {
  readonly name: ContenderName;
  /** What it is called with, for the table. */
  readonly description: string;
  /** Of the server that runs now. */
  readonly client: Client;
  /** Waits until what was written is where it is to stay: on the medium; in packs. Resolves to the seconds it took. */
  settle(): Promise<number>;
  stop(): Promise<void>;
  /** Starts the server again after `stop`. */
  start(): Promise<void>;
}

/** A server of a kind that is not running yet. */
interface Kind {
  readonly description: string;
  readonly launch: Launch;
  settle(): Promise<void> | void;
  /** Brings content onto the disk once it runs; files have it before. */
  fill?(client: Client): Promise<void>;
}

const mib = (bytes: number): string => `${bytes / 2 ** 20} MiB`;

function archive(section: LoadSection, place: Place): Kind {
  const { directory, sizeBytes } = place;
  const { sync } = section;
  const frameKib = FRAME_KIB[section.mtu];
  const journal = section.kind === "sustained" ? { journalBytes: Math.max(LEAST_JOURNAL_BYTES, sizeBytes / 4) } : {};
  // Tree nodes and directories of packs have their part of it.
  const cacheBytes = sizeBytes * 2;
  const settle = async (): Promise<void> => void (await snapshotMs(directory));
  const settings = [
    `sync = "${sync}"`,
    `cache_size = "${mib(cacheBytes)}"`,
    `journal_size = ${journal.journalBytes === undefined ? "the default" : `"${mib(journal.journalBytes)}"`}`,
  ];
  return {
    description: `${voeName()}, backend = "cas" in a directory, ${settings.join(", ")}`,
    launch: launchArchive({
      directory,
      interface: place.interface,
      volumes: 1,
      sizeBytes,
      sync,
      cacheBytes,
      ...journal,
    }),
    settle,
    async fill(client) {
      await measure(client, load("seqwrite", frameKib, 64), { requests: sizeBytes / 1024 / frameKib });
      await settle();
    },
  };
}

function ofPeer(peer: Peer, sync: LoadSection["sync"], place: Place): Kind {
  const disk = join(place.directory, "disk");
  prepareDisk(disk, place.sizeBytes, "written");
  const launch = peer.launch({ ...place, shelf: SHELF, slot: 0, disk, floor: "" }, sync);
  if (launch === null) throw new Error(`${peer.name} cannot be started with sync = "${sync}"`);
  return { description: peer.describe(sync), launch, settle: () => settleDisk(disk) };
}

const kinds: Readonly<Record<ContenderName, (section: LoadSection, place: Place) => Kind>> = {
  archive,
  file: (section, place) => ({
    ...ofPeer(voe, section.sync, place),
    description: `${voeName()}, backend = "file", sync = "${section.sync}"`,
  }),
  vblade: (section, place) => ofPeer(vblade, section.sync, place),
};

/** Starts one with a disk that was written from end to end. */
export async function startContender(name: ContenderName, section: LoadSection, place: Place): Promise<Contender> {
  const { directory, network, program, signal } = place;
  mkdirSync(directory);
  const kind = kinds[name](section, place);
  const at = { namespace: network.clientNamespace, interface: place.interface, shelf: SHELF, slot: 0 };
  let server: Server | undefined;
  const client = (): Client => ({ program, server: server!, at, signal });
  const contender: Contender = {
    name,
    description: kind.description,
    get client() {
      return client();
    },
    async settle() {
      const began = performance.now();
      await kind.settle();
      return (performance.now() - began) / 1000;
    },
    async stop() {
      await server?.[Symbol.asyncDispose]();
      server = undefined;
    },
    async start() {
      server = await startServer(name, kind.launch, network.serverNamespace);
      await awaitTarget(client());
    },
    async [Symbol.asyncDispose]() {
      await contender.stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
  try {
    await contender.start();
    await kind.fill?.(client());
  } catch (error) {
    await contender[Symbol.asyncDispose]();
    throw error;
  }
  return contender;
}
