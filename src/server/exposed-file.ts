/**
 * The targets that were added to a running server, in `state_dir/exposed/targets.json`, so that a restart has them
 * again. docs/format.md has the format.
 */
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { formatAddress, parseAddress } from "../base/address.ts";
import { parseMacAddress } from "../base/mac-address.ts";
import type { SyncConfig } from "../config/config.ts";
import { replaceFile, syncDirectory } from "./replace-file.ts";

const FORMAT_VERSION = 1;

export interface ExposedEntry {
  readonly target: string;
  readonly kind: "snapshot" | "clone";
  /** The target that it was made from. */
  readonly origin: string;
  readonly snapshotId: string;
  /** `blobStoreKey` of the store. */
  readonly store: string;
  /** The volume of the snapshot, or the clone's own. */
  readonly volume: string;
  readonly sizeBytes: number;
  readonly blockSizeBytes: number;
  readonly sync: SyncConfig;
  /** Who might use the origin when it was made; empty: everyone. */
  readonly allowMacs: readonly string[];
  /** The same of NBD; what the configuration says of the origin comes first, where it is still there. */
  readonly allowClients: readonly string[];
}

/** Where what belongs to exposed targets is kept. */
export const exposedDirectory = (stateDirectory: string): string => join(stateDirectory, "exposed");

/** Throws where the file is there and cannot be read, with what to do. */
export function loadExposed(stateDirectory: string): readonly ExposedEntry[] {
  const path = join(exposedDirectory(stateDirectory), "targets.json");
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
  try {
    return decode(JSON.parse(text));
  } catch (error) {
    throw new Error(
      `${path} is damaged (${(error as Error).message}). It says which snapshots and clones are served beside the ` +
        `targets of the configuration: restore it from a backup, or delete it, restart, and expose them again`,
      { cause: error },
    );
  }
}

/** Replaces the list, durably. */
export async function saveExposed(stateDirectory: string, entries: readonly ExposedEntry[]): Promise<void> {
  const directory = exposedDirectory(stateDirectory);
  if (mkdirSync(directory, { recursive: true }) !== undefined) await syncDirectory(stateDirectory);
  const document = { version: FORMAT_VERSION, targets: entries };
  await replaceFile(join(directory, "targets.json"), `${JSON.stringify(document, undefined, 2)}\n`);
}

function decode(json: unknown): readonly ExposedEntry[] {
  const { version, targets } = asObject(json, "it");
  if (version !== FORMAT_VERSION) throw new Error(`version ${String(version)}, known is ${FORMAT_VERSION}`);
  if (!Array.isArray(targets)) throw new Error('no list "targets"');
  const entries = targets.map(decodeEntry);
  const twice = entries.find((entry, index) => entries.findIndex(({ target }) => target === entry.target) !== index);
  if (twice !== undefined) throw new Error(`${twice.target} is there twice`);
  return entries;
}

function decodeEntry(json: unknown): ExposedEntry {
  const fields = asObject(json, "a target");
  const text = (key: keyof ExposedEntry): string => {
    const value = fields[key];
    if (typeof value !== "string") throw new Error(`"${key}" is no text`);
    return value;
  };
  const count = (key: keyof ExposedEntry): number => {
    const value = fields[key];
    if (!Number.isSafeInteger(value) || (value as number) < 1) throw new Error(`"${key}" is no number of bytes`);
    return value as number;
  };
  const kind = text("kind");
  if (kind !== "snapshot" && kind !== "clone") throw new Error(`"kind" is neither snapshot nor clone`);
  // Before voe served NBD there were no names of clients.
  const { allowMacs, allowClients = [] } = fields;
  if (!Array.isArray(allowMacs)) throw new Error('no list "allowMacs"');
  if (!Array.isArray(allowClients)) throw new Error('"allowClients" is no list');
  return {
    target: formatAddress(parseAddress(text("target"))),
    kind,
    origin: text("origin"),
    snapshotId: text("snapshotId"),
    store: text("store"),
    volume: text("volume"),
    sizeBytes: count("sizeBytes"),
    blockSizeBytes: count("blockSizeBytes"),
    sync: decodeSync(fields["sync"]),
    allowMacs: allowMacs.map((mac: unknown) => parseMacAddress(String(mac))),
    allowClients: allowClients.map(String),
  };
}

function decodeSync(json: unknown): SyncConfig {
  const { kind, intervalMs } = asObject(json, '"sync"');
  if (kind === "always" || kind === "none") return { kind };
  if (kind === "interval" && Number.isSafeInteger(intervalMs) && (intervalMs as number) >= 1) {
    return { kind, intervalMs: intervalMs as number };
  }
  throw new Error('"sync" is not known');
}

function asObject(json: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof json !== "object" || json === null || Array.isArray(json)) throw new Error(`${what} is no object`);
  return json as Record<string, unknown>;
}
