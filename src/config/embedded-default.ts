import { join } from "node:path";
import type { Config } from "./config.ts";
import { deepFreeze } from "./deep-freeze.ts";

/**
 * What is served where no configuration file is named: one disk of 8 GiB, e1.0, in a sparse file, with everything it
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
      http: { host: "127.0.0.1", port: 9464 },
    },
    nbd: undefined,
    targets: [
      {
        shelf: 1,
        slot: 0,
        configString: "archive",
        readOnly: false,
        allowMacs: [],
        sync: { kind: "always" },
        backend: { kind: "file", path: join(dataDir, "e1.0.img"), sizeBytes: 8 * 2 ** 30 },
      },
    ],
  });
