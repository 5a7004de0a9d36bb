import { defineCommand } from "citty";
import { formatAddress } from "../base/address.ts";
import { formatCidr } from "../base/cidr.ts";
import { formatDuration } from "../base/duration.ts";
import { formatListenAddress } from "../base/listen-address.ts";
import { printable } from "../base/printable.ts";
import { formatSize } from "../base/size.ts";
import type { BackendConfig, BlobStoreConfig, Config, NbdConfig, TargetConfig } from "../config/config.ts";
import { ConfigError } from "../config/config-error.ts";
import { loadConfig } from "../config/parse.ts";
import { holdsSecret } from "../config/secret.ts";
import { exposureOf } from "../server/secret-file.ts";

/** Exit status of bad usage and bad configuration. */
const EXIT_BAD_CONFIG = 2;

const describeStore = (store: BlobStoreConfig): string => {
  switch (store.type) {
    case "file":
      return store.path;
    case "azure":
      return `azure ${store.account}/${store.container}/${store.prefix}`;
    case "cas":
      return `cas ${store.endpoint}`;
    default:
      return `${store.type} ${store.bucket}/${store.prefix}`;
  }
};

/** What a store far away uses of this host and its network. */
const describeMeans = (store: BlobStoreConfig): string => {
  if (store.type === "file") return "";
  const { cache, transfers } = store;
  const { atOnce, uploadBytesPerSecond: up, downloadBytesPerSecond: down } = transfers;
  const limits = [
    ...(up === undefined ? [] : [`uploads at most ${formatSize(up)}/s`]),
    ...(down === undefined ? [] : [`downloads at most ${formatSize(down)}/s`]),
  ].join(", ");
  return ` (cache ${formatSize(cache.sizeBytes)} in ${cache.path}, ${atOnce} uploads at once${limits === "" ? "" : `, ${limits}`})`;
};

const describeBackend = (backend: BackendConfig, address: string): string => {
  if (backend.kind === "cas") {
    const volume = backend.volume === address ? "" : `volume ${printable(backend.volume)}, `;
    const every =
      backend.snapshotEveryMs === undefined ? "" : `, a snapshot every ${formatDuration(backend.snapshotEveryMs)}`;
    return (
      `archive, ${volume}${formatSize(backend.sizeBytes)} in ${describeStore(backend.blobStore)}` +
      `${describeMeans(backend.blobStore)}${every}`
    );
  }
  if (backend.kind === "device") return `device ${backend.path}`;
  const size = backend.sizeBytes === undefined ? "" : `, ${formatSize(backend.sizeBytes)}`;
  return `file ${backend.path}${size}`;
};

const describeTarget = ({ shelf, slot, backend, sync, readOnly }: TargetConfig): string => {
  const syncText = sync.kind === "interval" ? formatDuration(sync.intervalMs) : sync.kind;
  const address = formatAddress({ shelf, slot });
  return `${address}: ${describeBackend(backend, address)}, ${readOnly ? "read-only" : `sync ${syncText}`}`;
};

const describeNbd = ({ bind, socket, allow, tls }: NbdConfig): string => {
  const local = socket === undefined ? "" : `the unix socket ${socket}`;
  if (bind === undefined) return local;
  const from = allow.length === 0 ? "anywhere" : allow.map(formatCidr).join(", ");
  const tcp = `${formatListenAddress(bind)}, from ${from}, TLS ${tls === undefined ? "off" : "required"}`;
  return local === "" ? tcp : `${tcp}; ${local}`;
};

const summarize = ({ server, nbd, targets }: Config, file: string): string =>
  [
    `${file} is good`,
    `  AoE: ${server.interfaces.join(", ") || "off"}`,
    `  NBD: ${nbd === undefined ? "off" : describeNbd(nbd)}`,
    `  HTTP: ${server.http === undefined ? "off" : formatListenAddress(server.http)}`,
    ...targets.map((target) => `  ${describeTarget(target)}`),
  ].join("\n");

/** `voe check CONFIG`: exit status 0, or 2 with every problem on stderr (with --json, in the document on stdout). */
export const check = defineCommand({
  meta: { name: "check", description: "Check a configuration file and do nothing else" },
  args: {
    config: { type: "positional", description: "The configuration file", valueHint: "CONFIG", required: true },
    json: { type: "boolean", description: "Print one JSON document on stdout", default: false },
  },
  run({ args }) {
    if (args._.length > 1) {
      process.exitCode = EXIT_BAD_CONFIG;
      console.error(`voe check takes one CONFIG and was given ${args._.length}; check them one by one`);
      return;
    }
    try {
      const config = loadConfig(args.config);
      const exposure = holdsSecret(config) ? exposureOf(args.config) : undefined;
      if (exposure !== undefined) console.error(`warning: ${exposure}`);
      console.log(args.json ? JSON.stringify({ ok: true, file: args.config, config }) : summarize(config, args.config));
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      process.exitCode = EXIT_BAD_CONFIG;
      if (args.json) console.log(JSON.stringify({ ok: false, file: args.config, problems: error.problems }));
      else console.error(error.message);
    }
  },
});
