import { join } from "node:path";
import type { Config } from "./config.ts";
import { deepFreeze } from "./deep-freeze.ts";
import { NBD_CONNECTIONS_DEFAULT } from "./nbd.ts";
import { CACHE_DEFAULT_BYTES, JOURNAL_DEFAULT_BYTES } from "./server.ts";

/**
 * What is served where no configuration file is named: one archive of 8 GiB, e1.0, with everything it
 * keeps under `dataDir`. Nothing in it reaches beyond this machine: AoE is on the loopback interface, the status page on
 * a loopback address.
 */
export const embeddedDefault = (dataDir: string): Config =>
  deepFreeze<Config>({
    server: {
      interfaces: ["lo"],
      logLevel: "info",
      stateDir: join(dataDir, "state"),
      controlSocket: join(dataDir, "voe.sock"),
      cacheBytes: CACHE_DEFAULT_BYTES,
      journalBytes: JOURNAL_DEFAULT_BYTES,
      http: { host: "127.0.0.1", port: 9464 },
    },
    nbd: {
      bind: { host: "127.0.0.1", port: 10809 },
      socket: undefined,
      maxConnections: NBD_CONNECTIONS_DEFAULT,
      allow: [],
      tls: undefined,
    },
    targets: [
      {
        shelf: 1,
        slot: 0,
        configString: "archive",
        readOnly: false,
        allowMacs: [],
        allowClients: [],
        sync: { kind: "always" },
        backend: {
          kind: "cas",
          volume: "e1.0",
          blockSizeBytes: 4096,
          sizeBytes: 8 * 2 ** 30,
          hash: "blake3",
          compression: "lz4",
          snapshotEveryMs: undefined,
          blobStore: { type: "file", path: join(dataDir, "blobs") },
        },
      },
    ],
  });
