import { resolve } from "node:path";
import { formatAddress } from "../base/address.ts";
import { parseMacAddress } from "../base/mac-address.ts";
import type { TomlValue } from "smol-toml";
import { asCasTable, readCas } from "./cas.ts";
import { blobStoreKey } from "./blob-store-key.ts";
import type { BackendConfig, SyncConfig, TargetConfig } from "./config.ts";
import {
  asFlag,
  asInteger,
  asListOf,
  asOneOf,
  asParsed,
  asTable,
  asText,
  choice,
  fail,
  failType,
  inside,
  isWrong,
  lineAt,
  type Place,
  quote,
  type Reader,
  requireKey,
  type Table,
} from "./reader.ts";
import { asDiskSize, asDuration, asName, asPath } from "./values.ts";

const CONFIG_STRING_MAX_BYTES = 1024;
/** The directive count of an AoE mask list is one byte. */
const ALLOW_MACS_MAX = 255;
const SYNC_WANTED = '"always", "none", or a duration such as "1s"';

const asConfigString: Reader<string> = (value, place) => {
  const text = asText(value, place);
  if (text === undefined || Buffer.byteLength(text) <= CONFIG_STRING_MAX_BYTES) return text;
  return fail(place, `is ${Buffer.byteLength(text)} bytes long; shorten it to ${CONFIG_STRING_MAX_BYTES} at most`);
};

const asMacs: Reader<readonly string[]> = (value, place) => {
  const macs = asListOf(asParsed("a MAC address in quotes", parseMacAddress))(value, place);
  const unique = macs && [...new Set(macs)];
  if (unique === undefined || unique.length <= ALLOW_MACS_MAX) return unique;
  return fail(place, `has ${unique.length} addresses; keep ${ALLOW_MACS_MAX} at most`);
};

const asSync: Reader<SyncConfig> = (value, place) => {
  if (value === "always" || value === "none") return { kind: value };
  if (typeof value !== "string") return failType(place, value, SYNC_WANTED);
  if (!/^\s*\d/.test(value)) return fail(place, `${quote(value)} is not known; write ${SYNC_WANTED}`);
  const intervalMs = asDuration("1ms", "1d")(value, place);
  return intervalMs === undefined ? undefined : { kind: "interval", intervalMs };
};

export const fileKeys = { path: asPath, size: asDiskSize };
export const deviceKeys = { path: asPath, direct: asFlag };

export const targetKeys = {
  shelf: asInteger(0, 65534, " (65535 is every shelf)"),
  slot: asInteger(0, 254, " (255 is every slot)"),
  backend: asOneOf(["cas", "file", "device"]),
  config_string: asConfigString,
  read_only: asFlag,
  allow_macs: asMacs,
  allow_clients: asListOf(asName),
  sync: asSync,
  path: asPath,
  size: asDiskSize,
  direct: asFlag,
  file: asTable(fileKeys),
  device: asTable(deviceKeys),
  cas: asCasTable,
};

type TargetTable = Table<typeof targetKeys>;
type Kind = BackendConfig["kind"];

const asTargetTable = asTable(targetKeys);

/** What [[target]] may say about its backend, and which backends have a use for it. */
const BACKENDS_OF_KEY = {
  path: ["file", "device"],
  size: ["file"],
  direct: ["device"],
  file: ["file"],
  device: ["device"],
  cas: ["cas"],
} as const satisfies Partial<Record<keyof typeof targetKeys, readonly Kind[]>>;

const failForeignKeys = (table: TargetTable, kind: Kind): void => {
  for (const [key, kinds] of Object.entries(BACKENDS_OF_KEY)) {
    if (!table.has(key as keyof typeof targetKeys) || (kinds as readonly Kind[]).includes(kind)) continue;
    const casTable = { path: "[target.cas.blob_store]", size: "[target.cas]" }[key];
    fail(
      inside(table.place, key),
      kind === "cas" && casTable !== undefined
        ? `has no meaning here with backend = "cas"; move it into ${casTable}`
        : `has no meaning with backend = "${kind}"; remove it, or set backend = ${choice(kinds.map(quote))}`,
    );
  }
};

/**
 * The table that has a key which may be written in the backend's own table or, to the same effect, under [[target]];
 * where it is in neither, the latter.
 */
const tableWith = <K extends "path" | "size" | "direct">(
  key: K,
  target: TargetTable,
  own: Table<Pick<typeof targetKeys, K>> | undefined,
): Table<Pick<typeof targetKeys, K>> => {
  if (!own?.has(key)) return target;
  if (target.has(key)) {
    fail(inside(own.place, key), `is in line ${lineAt(inside(target.place, key))} too; keep one of the two`);
  }
  return own;
};

interface ReadBackend {
  readonly config: BackendConfig | undefined;
  /** Where the path of a file or device is written. */
  readonly pathPlace?: Place;
  /** Where the volume of an archive is written, or would be. */
  readonly volumePlace?: Place;
}

const readBackend = (table: TargetTable, stateDir: string): ReadBackend => {
  const { values } = table;
  const kind = requireKey(table, "backend", 'write backend = "cas", "file" or "device"');
  if (kind === undefined) return { config: undefined };
  failForeignKeys(table, kind);
  if (isWrong(table, kind)) return { config: undefined };
  if (kind === "cas") {
    const cas = requireKey(table, "cas", "write a table [target.cas] with size and blob_store");
    if (cas === undefined) return { config: undefined };
    const { shelf = 0, slot = 0 } = values;
    return {
      config: readCas(cas, stateDir, formatAddress({ shelf, slot })),
      volumePlace: cas.has("volume") ? inside(cas.place, "volume") : cas.place,
    };
  }
  const pathTable = tableWith("path", table, values[kind]);
  const path = requireKey(pathTable, "path", `write the path of the ${kind} to serve`);
  const pathPlace = inside(pathTable.place, "path");
  if (kind === "file") {
    const sizeBytes = tableWith("size", table, values.file).values.size;
    return { config: path === undefined ? undefined : { kind, path, sizeBytes }, pathPlace };
  }
  const { direct = false } = tableWith("direct", table, values.device).values;
  return { config: path === undefined ? undefined : { kind, path, direct }, pathPlace };
};

/** What targets must not share, with the place of the target that was the first to have it. */
interface Taken {
  readonly addresses: Map<string, Place>;
  readonly paths: Map<string, Place>;
  readonly volumes: Map<string, Place>;
}

/** The place that has this already, or undefined, and then it is taken. */
const take = (taken: Map<string, Place>, what: string, place: Place): Place | undefined => {
  const first = taken.get(what);
  if (first === undefined) taken.set(what, place);
  return first;
};

const readTarget = (value: TomlValue, place: Place, stateDir: string, taken: Taken): TargetConfig | undefined => {
  const table = asTargetTable(value, place);
  if (table === undefined) return undefined;
  const shelf = requireKey(table, "shelf", "write the first number of the target's address, for example shelf = 1");
  const slot = requireKey(table, "slot", "write the second number of the target's address, for example slot = 0");
  const backend = readBackend(table, stateDir);
  if (shelf !== undefined && slot !== undefined) {
    const first = take(taken.addresses, `${shelf}.${slot}`, place);
    if (first !== undefined) {
      fail(
        inside(place, "shelf"),
        `the target in line ${lineAt(place)} has the address e${shelf}.${slot}, which the target in line ` +
          `${lineAt(first)} has already; change the shelf or the slot of one`,
      );
    }
  }
  const { config, pathPlace, volumePlace } = backend;
  if (config !== undefined && config.kind !== "cas" && pathPlace !== undefined) {
    const first = take(taken.paths, resolve(config.path), pathPlace);
    if (first !== undefined) {
      fail(
        pathPlace,
        `${quote(config.path)} is the path in line ${lineAt(first)} too; two targets would overwrite each other: change one`,
      );
    }
  }
  if (shelf === undefined || slot === undefined || config === undefined) return undefined;
  if (config.kind === "cas" && volumePlace !== undefined) {
    const first = take(taken.volumes, `${blobStoreKey(config.blobStore)} ${config.volume}`, volumePlace);
    if (first !== undefined) {
      fail(
        volumePlace,
        `the volume ${quote(config.volume)} of this store is that of the target in line ${lineAt(first)} too; two ` +
          `targets would overwrite each other: write another volume for one`,
      );
    }
  }
  const { values } = table;
  return {
    shelf,
    slot,
    configString: values.config_string ?? "",
    readOnly: values.read_only ?? false,
    allowMacs: values.allow_macs ?? [],
    allowClients: values.allow_clients ?? [],
    sync: values.sync ?? { kind: "always" },
    backend: config,
  };
};

/** Every [[target]]. `stateDir` is where caches are unless a target says otherwise. */
export const readTargets = (value: TomlValue | undefined, place: Place, stateDir: string): readonly TargetConfig[] => {
  if (value === undefined || (Array.isArray(value) && value.length === 0)) {
    fail(place, "there is none, so there is no disk to serve; add a table [[target]]");
  } else if (!Array.isArray(value)) {
    failType(place, value, "[[target]] with two brackets, once for every disk");
  } else {
    const taken: Taken = { addresses: new Map(), paths: new Map(), volumes: new Map() };
    return value
      .map((element, index) => readTarget(element, inside(place, index), stateDir, taken))
      .filter((target) => target !== undefined);
  }
  return [];
};
