/** A server process on cables of its own, for tests with the project's initiator at the other ends. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { openInitiator, type Initiator } from "../../src/initiator/initiator.ts";
import { addressOf, parseConfigReply, tagOf, type ConfigReply } from "../../src/initiator/replies.ts";
import { writeServerConfig, type ArchiveTarget, type FileTarget, type ServerSettings } from "./server-config.ts";
import { startServer, type ServerProcess } from "./server-process.ts";
import { addCable, createCable } from "./test-network.ts";

export interface BedTarget extends Omit<FileTarget, "path"> {
  /** In the bed's directory, where it is no absolute path; by default `e1.0.img`. */
  file?: string;
}

export interface BedArchive extends Omit<ArchiveTarget, "store"> {
  /** Its blob store, in the bed's directory, where it is no absolute path; by default `blobs`. */
  store?: string;
}

export interface ServerBed extends AsyncDisposable {
  readonly directory: string;
  readonly namespace: string;
  /** Interfaces of the server, and those beside the tests that they are connected with. */
  readonly serverInterfaces: readonly string[];
  readonly initiatorInterfaces: readonly string[];
  readonly controlSocket: string;
  pathOf(target: BedTarget): string;
  /** Writes the configuration and returns its path; a running server does not look at it before SIGHUP. */
  configure(targets: readonly (BedTarget | BedArchive)[], settings?: ServerSettings): Promise<string>;
  /** Starts a server with what was configured last. It ends with the bed, at the latest. */
  start(): Promise<ServerProcess>;
  /** An initiator on the cable of this number, which is closed with the bed. */
  initiator(cable?: number): Initiator;
}

/** Creates a directory and a cable of each MTU. Needs root. */
export async function createBed(mtus: readonly number[]): Promise<ServerBed> {
  const directory = await mkdtemp(join(tmpdir(), "voe-bed-"));
  const cable = await createCable({ mtu: mtus[0]! });
  const serverInterfaces = [cable.serverInterface];
  const initiatorInterfaces = [cable.initiatorInterface];
  const servers: ServerProcess[] = [];
  const initiators: Initiator[] = [];
  const dispose = async (): Promise<void> => {
    for (const initiator of initiators) initiator.close();
    for (const server of servers) await server[Symbol.asyncDispose]();
    await cable[Symbol.asyncDispose]();
    await rm(directory, { recursive: true, force: true });
  };
  try {
    for (const [i, mtu] of mtus.entries()) {
      if (i === 0) continue;
      const more = {
        serverInterface: `${cable.serverInterface}${i}`,
        initiatorInterface: `${cable.initiatorInterface}x${i}`,
      };
      await addCable(cable.namespace, { ...more, mtu });
      serverInterfaces.push(more.serverInterface);
      initiatorInterfaces.push(more.initiatorInterface);
    }
  } catch (error) {
    await dispose();
    throw error;
  }
  const pathOf = (target: BedTarget): string =>
    resolve(directory, target.file ?? `e${target.shelf}.${target.slot}.img`);
  return {
    directory,
    namespace: cable.namespace,
    serverInterfaces,
    initiatorInterfaces,
    controlSocket: join(directory, "voe.sock"),
    pathOf,
    configure: (targets, settings = {}) =>
      writeServerConfig(directory, {
        ...settings,
        interfaces: serverInterfaces,
        targets: targets.map((target) =>
          target.backend === "cas"
            ? { ...target, store: resolve(directory, target.store ?? "blobs") }
            : { ...target, path: pathOf(target) },
        ),
      }),
    async start() {
      const config = join(directory, "voe.toml");
      const server = await startServer({ arguments: [config], directory, namespace: cable.namespace });
      servers.push(server);
      return server;
    },
    initiator(number = 0) {
      const initiator = openInitiator(initiatorInterfaces[number]!);
      initiators.push(initiator);
      return initiator;
    },
    [Symbol.asyncDispose]: dispose,
  };
}

/** Waits until something is so, looked at every few milliseconds. Rejects with `what` when it takes too long. */
export async function until(what: string, isSo: () => boolean | Promise<boolean>, timeoutMs = 10_000): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  while (!(await isSo())) {
    if (performance.now() > endMs) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await Bun.sleep(5);
  }
}

export interface AnnouncementLog {
  readonly seen: ConfigReply[];
  /** Waits for one of a target seen since `forget`, or since the log began. */
  of(shelf: number, slot: number, isWanted?: (announcement: ConfigReply) => boolean): Promise<ConfigReply>;
  forget(): void;
}

/** Notes the announcements, which are config replies with tag 0, that arrive at an initiator from now on. */
export function logAnnouncements(initiator: Initiator): AnnouncementLog {
  const seen: ConfigReply[] = [];
  initiator.listen((frame) => {
    const reply = tagOf(frame) === 0 ? parseConfigReply(frame) : undefined;
    if (reply) seen.push({ ...reply, address: addressOf(frame) });
  });
  return {
    seen,
    async of(shelf, slot, isWanted = () => true) {
      const find = (): ConfigReply | undefined =>
        seen.find((reply) => reply.address.shelf === shelf && reply.address.slot === slot && isWanted(reply));
      await until(`an announcement of e${shelf}.${slot}`, () => find() !== undefined);
      return find()!;
    },
    forget: () => void (seen.length = 0),
  };
}
