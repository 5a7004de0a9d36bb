/** `voe nbd-server`: one disk over NBD, kept by a CAS server, without a configuration file. */
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { defineCommand } from "citty";
import { isLoopback, parseListenAddress } from "../base/listen-address.ts";
import { ConfigError } from "../config/config-error.ts";
import type { Config } from "../config/config.ts";
import { parseConfig } from "../config/parse.ts";
import { serveConfiguration } from "./serve.ts";
import { UsageError } from "./usage-error.ts";

const BIND_DEFAULT = "127.0.0.1:10809";
const CAS_SERVER_DEFAULT = "127.0.0.1:3000";

const args = {
  "cas-server": {
    type: "string",
    valueHint: "HOST:PORT",
    description: `The voe cas-server that keeps the disk, by default ${CAS_SERVER_DEFAULT}. Each disk needs a namespace of its own there: HOST:PORT/NAME, or https://HOST:PORT/NAME`,
  },
  size: {
    type: "string",
    valueHint: "MB",
    required: true,
    description: 'Size of the disk in MiB, or with a unit, such as "8GiB". A disk that is there already grows to it',
  },
  state: {
    type: "string",
    valueHint: "DIR",
    required: true,
    description: "Where the journal of the disk is kept, which has what is not in the store yet, and the cache",
  },
  bind: { type: "string", valueHint: "HOST:PORT", description: `Where to listen, by default ${BIND_DEFAULT}` },
  allow: {
    type: "string",
    valueHint: "CIDR",
    description: "Who may connect, such as 192.168.1.0/24; may be repeated. Needed where other hosts can connect",
  },
  sync: {
    type: "string",
    valueHint: "MODE",
    description: "always (a write is answered when it survives power loss), a duration such as 1s, or none",
  },
  "token-file": {
    type: "string",
    valueHint: "FILE",
    description: "A file with the token of the CAS server; or VOE_CAS_TOKEN in the environment",
  },
  ca: { type: "string", valueHint: "FILE", description: "The authority of its certificate, in PEM" },
} as const;

export const nbdServerCommand = defineCommand({
  meta: {
    name: "nbd-server",
    description:
      "Serve one disk over NBD, deduplicated and compressed in a voe cas-server, without a configuration file. Snapshots, " +
      "status and verification are asked for with --control DIR/voe.sock",
  },
  args,
  run: ({ rawArgs }) => nbdServer(rawArgs),
});

async function nbdServer(rawArgs: readonly string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args: [...rawArgs],
    options: {
      "cas-server": { type: "string", default: CAS_SERVER_DEFAULT },
      size: { type: "string" },
      state: { type: "string" },
      bind: { type: "string", default: BIND_DEFAULT },
      allow: { type: "string", multiple: true, default: [] },
      sync: { type: "string", default: "always" },
      "token-file": { type: "string" },
      ca: { type: "string" },
    },
    allowPositionals: true,
  });
  if (positionals.length > 0) throw new UsageError(`voe nbd-server takes only options, not also "${positionals[0]}"`);
  const { size, state } = values;
  if (size === undefined) throw new UsageError("--size MB is missing: the size of the disk in MiB");
  if (state === undefined) throw new UsageError("--state DIR is missing: where the journal of the disk is kept");
  const config = configurationOf({ ...values, size, state: resolve(state) });
  await serveConfiguration({
    readConfig: () => config,
    unasked: { aoe: false, nbd: false },
    warnings: () => [],
  });
}

/** Whether other hosts can connect. What is no address is told when it is read. */
function isOpen(bind: string): boolean {
  try {
    return !isLoopback(parseListenAddress(bind));
  } catch {
    return false;
  }
}

export interface NbdServerOptions {
  readonly "cas-server": string;
  readonly size: string;
  readonly state: string;
  readonly bind: string;
  readonly allow: readonly string[];
  readonly sync: string;
  readonly "token-file"?: string | undefined;
  readonly ca?: string | undefined;
}

/** Where the value of a key came from. */
const OPTION_OF_KEY: Readonly<Record<string, string>> = {
  "nbd.bind": "bind",
  "nbd.allow": "allow",
  "target.sync": "sync",
  "target.cas.size": "size",
  "target.cas.blob_store.endpoint": "cas-server",
};

/**
 * What a configuration file would say: then everything is checked, and has its defaults, as in one. Throws UsageError
 * that names options.
 */
export function configurationOf(options: NbdServerOptions): Config {
  const { state, bind } = options;
  if (options.allow.length === 0 && isOpen(bind)) {
    throw new UsageError(
      `--bind ${bind} is open to everyone who can reach it: say who may connect, --allow 192.168.1.0/24 for example, or ` +
        `bind to ${BIND_DEFAULT}; voe serve has TLS`,
    );
  }
  const casServer = options["cas-server"];
  // A string of JSON is one of TOML.
  const text = JSON.stringify;
  const line = (key: string, value: string | undefined): string =>
    value === undefined ? "" : `${key} = ${text(value)}\n`;
  const tokenFile = options["token-file"];
  try {
    return parseConfig(
      `[server]
interfaces = []
state_dir = ${text(state)}
control_socket = ${text(join(state, "voe.sock"))}
[nbd]
bind = ${text(options.bind)}
allow = ${text(options.allow)}
[[target]]
shelf = 1
slot = 0
backend = "cas"
sync = ${text(options.sync)}
[target.cas]
size = ${text(/^\d+$/.test(options.size) ? `${options.size}MiB` : options.size)}
[target.cas.blob_store]
type = "cas"
endpoint = ${text(casServer.includes("://") ? casServer : `http://${casServer}`)}
${line("token_file", tokenFile && resolve(tokenFile))}${line("ca", options.ca && resolve(options.ca))}`,
      "options",
    );
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const lines = error.problems.map(({ key, reason }) => `--${OPTION_OF_KEY[key] ?? key} ${reason}`);
    throw new UsageError(lines.join("\n"), { cause: error });
  }
}
