/** An NBD server on sockets of this process, with targets in memory. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseAddress } from "../../src/base/address.ts";
import type { NbdConfig, TargetConfig } from "../../src/config/config.ts";
import { openNbdServer, type NbdServer } from "../../src/server/nbd/nbd-server.ts";
import { serveBackend, type ServedTarget } from "../../src/server/served-target.ts";
import type { BlockStorage } from "../../src/storage/block-storage.ts";
import { memoryStorage } from "../../src/storage/memory-storage.ts";
import { nbdSocket, type NbdSocket } from "./nbd-socket.ts";

export interface NbdBed extends AsyncDisposable {
  readonly server: NbdServer;
  readonly port: number;
  readonly directory: string;
  /** What was reported to the operator. */
  readonly reports: readonly string[];
  /** Connects to the port, or to the unix socket. Ends with the bed. */
  connect(to?: string): Promise<NbdSocket>;
}

/** A target on memory. */
export function memoryTarget(
  name: string,
  directory: string,
  over: Partial<TargetConfig> = {},
  storage: BlockStorage = memoryStorage(2048, { readOnly: over.readOnly ?? false }),
): ServedTarget {
  const config: TargetConfig = {
    ...parseAddress(name),
    configString: "",
    readOnly: false,
    allowMacs: [],
    allowClients: [],
    sync: { kind: "none" },
    backend: { kind: "file", path: name, sizeBytes: undefined },
    ...over,
  };
  const backend = {
    kind: "file",
    path: name,
    storage,
    failure: () => undefined,
    allocatedBytes: () => 0,
    grow: () => Promise.resolve(),
    close: () => storage.close(),
  };
  return serveBackend(config, backend, directory, () => {});
}

export async function openNbdBed(
  options: {
    readonly config?: Partial<NbdConfig>;
    /** By default e1.0, described as `scratch`. */
    readonly targets?: (directory: string) => ServedTarget[];
    readonly handshakeMs?: number;
    /** Whether there is a unix socket, `nbd.sock` in the directory, as well. */
    readonly unix?: boolean;
  } = {},
): Promise<NbdBed> {
  const directory = mkdtempSync(join(tmpdir(), "voe-nbd-"));
  const reports: string[] = [];
  const sockets: NbdSocket[] = [];
  const targets = options.targets?.(directory) ?? [memoryTarget("e1.0", directory, { configString: "scratch" })];
  const server = await openNbdServer(
    {
      bind: { host: "127.0.0.1", port: 0 },
      socket: options.unix === true ? join(directory, "nbd.sock") : undefined,
      maxConnections: 100,
      allow: [],
      tls: undefined,
      ...options.config,
    },
    targets,
    (_, message) => void reports.push(message),
    options.handshakeMs,
  );
  const port = server.address!.port;
  return {
    server,
    port,
    directory,
    reports,
    async connect(to) {
      const socket = await nbdSocket(to ?? port);
      sockets.push(socket);
      return socket;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.end();
      await server.close(1000);
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
