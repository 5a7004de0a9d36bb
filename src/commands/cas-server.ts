/** `voe cas-server`: blobs and refs of other hosts, over HTTP. */
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { defineCommand } from "citty";
import { notifyReady, notifyStopping, notifyWatchdog, watchdogIntervalMs } from "../../ffi/notify.ts";
import { HASH_ALGORITHMS } from "../base/hash.ts";
import { isLoopback, parseListenAddress, type ListenAddress } from "../base/listen-address.ts";
import { log } from "../base/log.ts";
import { openCasServer } from "../server/cas/cas-server.ts";
import { exposureOf, readNamedFile } from "../server/secret-file.ts";
import { UsageError } from "./usage-error.ts";

const BIND_DEFAULT = "127.0.0.1:3000";
const TOKEN_VARIABLE = "VOE_CAS_TOKEN";
/** Of 64 letters and digits each: 95 bits. */
const TOKEN_LEAST_LENGTH = 16;
/** How long requests that were taken may go on after SIGTERM. */
const DRAIN_MS = 10_000;

export const casServerCommand = defineCommand({
  meta: {
    name: "cas-server",
    description:
      "Keep the packs of archives on other hosts: a content-addressed store over HTTP, which checks the hash of what it " +
      "receives. Several hosts share and deduplicate the blobs; each has its own refs under http://HOST:PORT/NAME",
  },
  args: {
    storage: { type: "string", valueHint: "DIR", required: true, description: "Where the store is kept, or is made" },
    bind: { type: "string", valueHint: "HOST:PORT", description: `Where to listen, by default ${BIND_DEFAULT}` },
    "token-file": {
      type: "string",
      valueHint: "FILE",
      description:
        `A file with the token that clients must send, at least ${TOKEN_LEAST_LENGTH} characters; or ${TOKEN_VARIABLE} in ` +
        "the environment. Needed where other hosts can connect",
    },
    cert: { type: "string", valueHint: "FILE", description: "Certificate for TLS, in PEM, with --key" },
    key: { type: "string", valueHint: "FILE", description: "Its key" },
    hash: {
      type: "string",
      valueHint: HASH_ALGORITHMS.join("|"),
      description:
        "Take only blobs that are named by this hash, that of all hosts: what others store is of no use to them",
    },
    "allow-delete": {
      type: "boolean",
      description: "Let clients delete blobs. Nothing tells whether another host still needs them",
    },
    json: { type: "boolean", description: "Print one JSON document on stdout when ready, instead of text" },
  },
  run: ({ rawArgs }) => casServer(rawArgs),
});

async function casServer(rawArgs: readonly string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args: [...rawArgs],
    options: {
      storage: { type: "string" },
      bind: { type: "string", default: BIND_DEFAULT },
      "token-file": { type: "string" },
      cert: { type: "string" },
      key: { type: "string" },
      hash: { type: "string" },
      "allow-delete": { type: "boolean", default: false },
      json: { type: "boolean", default: false },
    },
    allowPositionals: true,
  });
  if (positionals.length > 0) throw new UsageError(`voe cas-server takes only options, not also "${positionals[0]}"`);
  if (values.storage === undefined) throw new UsageError("--storage DIR is missing: the directory of the store");
  if ((values.cert === undefined) !== (values.key === undefined)) {
    throw new UsageError("--cert and --key belong together: give both for TLS, or neither");
  }
  const hash = HASH_ALGORITHMS.find((algorithm) => algorithm === values.hash);
  if (values.hash !== undefined && hash === undefined) {
    throw new UsageError(`--hash ${values.hash} is not known: write ${HASH_ALGORITHMS.join(" or ")}`);
  }
  const bind = addressOf(values.bind);
  const token = tokenFrom(values["token-file"], process.env[TOKEN_VARIABLE]);
  const tls =
    values.cert === undefined || values.key === undefined
      ? undefined
      : { cert: readText("--cert", values.cert), key: readText("--key", values.key) };
  if (tls === undefined && !isLoopback(bind) && token !== undefined) {
    log.warn(
      `the token and all blobs travel readable over the network: use --cert and --key, or a network that is yours`,
    );
  }
  const server = await openCasServer({
    storage: resolve(values.storage),
    bind,
    token,
    tls,
    ...(hash === undefined ? {} : { hashes: [hash] }),
    allowsDelete: values["allow-delete"],
  }).catch((error: unknown) => {
    throw error instanceof RangeError ? new UsageError(error.message, { cause: error }) : error;
  });

  const watchdogMs = watchdogIntervalMs();
  if (watchdogMs !== undefined) setInterval(() => notifyWatchdog(), watchdogMs);
  let stopping = false;
  const stop = async (signal: string): Promise<void> => {
    if (stopping) process.exit(1);
    stopping = true;
    log.info(`${signal}: finishing what is under way`);
    notifyStopping();
    try {
      await server.close(DRAIN_MS);
    } catch (error) {
      log.error(`the store could not be closed: ${(error as Error).message}`);
      process.exit(1);
    }
    process.exit(0);
  };
  process.on("SIGTERM", () => void stop("SIGTERM"));
  process.on("SIGINT", () => void stop("SIGINT"));

  const { url, description } = server;
  if (values.json) console.log(JSON.stringify({ ready: true, url, storage: resolve(values.storage) }, undefined, 2));
  else console.log(`voe ready: ${description} on ${url}`);
  notifyReady("serving");
}

function addressOf(text: string): ListenAddress {
  try {
    return parseListenAddress(text);
  } catch (error) {
    throw new UsageError(`--bind ${text} ${(error as Error).message}`, { cause: error });
  }
}

/** The token of the file, or else of the environment; undefined: there is none. */
function tokenFrom(path: string | undefined, fromEnvironment: string | undefined): string | undefined {
  const token = (path === undefined ? fromEnvironment : readText("--token-file", path))?.trim();
  const source = path ?? TOKEN_VARIABLE;
  if (token === undefined || (path === undefined && token === "")) return undefined;
  const exposure = path === undefined ? undefined : exposureOf(path);
  if (exposure !== undefined) log.warn(exposure);
  if (token.length < TOKEN_LEAST_LENGTH || !/^[\x21-\x7e]+$/.test(token)) {
    throw new UsageError(
      `the token of ${source} is no good: write at least ${TOKEN_LEAST_LENGTH} characters without spaces, for example ` +
        `those of openssl rand -hex 32`,
    );
  }
  return token;
}

function readText(option: string, path: string): string {
  try {
    return readNamedFile(option, path);
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error });
  }
}
