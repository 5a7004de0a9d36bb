/** Which stores a copy is between, from the targets of two configurations. */
import { formatAddress } from "../base/address.ts";
import { blobStoreKey } from "../config/blob-store-key.ts";
import type { CasBackendConfig, Config } from "../config/config.ts";
import type { StoreCopy } from "../server/copy-stores.ts";
import type { Wanted } from "../storage/cas/copy/copy-plan.ts";
import { UsageError } from "./usage-error.ts";

/** A target from the command line, with the beginning of a snapshot's id, and its name where the copy is to be. */
export interface CopyChoice {
  readonly target: string;
  readonly snapshot?: string;
  readonly as?: string;
}

/**
 * The copies that are to be made, one for each pair of stores; of all archives where none is chosen. Throws UsageError
 * where a target is missing or is no archive, or where the two do not go together.
 */
export function copiesOf(
  source: Config,
  sourcePath: string,
  destination: Config,
  destinationPath: string,
  chosen: readonly CopyChoice[],
): StoreCopy[] {
  const from = archivesOf(source);
  const to = archivesOf(destination);
  if (from.size === 0) throw new UsageError(`${sourcePath} has no archive (backend = "cas"): there is nothing to copy`);
  const choices = chosen.length > 0 ? chosen : Array.from(from.keys(), (target): CopyChoice => ({ target }));
  const copies = new Map<string, StoreCopy & { wanted: Wanted[] }>();
  for (const { target, snapshot, as = target } of choices) {
    const backend = archiveNamed(from, target, sourcePath);
    const replica = archiveNamed(to, as, destinationPath);
    refuseMismatch(target, backend, as, replica, destinationPath);
    const key = `${blobStoreKey(backend.blobStore)}\n${blobStoreKey(replica.blobStore)}`;
    const copy = copies.get(key) ?? {
      source: backend.blobStore,
      destination: replica.blobStore,
      compression: replica.compression,
      wanted: [],
    };
    copies.set(key, copy);
    copy.wanted.push({ volume: backend.volume, ...(snapshot === undefined ? {} : { snapshot }) });
  }
  return [...copies.values()];
}

function archivesOf({ targets }: Config): Map<string, CasBackendConfig> {
  const found = new Map<string, CasBackendConfig>();
  for (const { shelf, slot, backend } of targets) {
    if (backend.kind === "cas") found.set(formatAddress({ shelf, slot }), backend);
  }
  return found;
}

function archiveNamed(archives: ReadonlyMap<string, CasBackendConfig>, name: string, path: string): CasBackendConfig {
  const backend = archives.get(name);
  if (backend !== undefined) return backend;
  const has = archives.size === 0 ? "it has none" : `it has ${[...archives.keys()].join(", ")}`;
  throw new UsageError(`${path} has no archive ${name}, ${has}`);
}

/** A replica has the records of its source, with the names and settings in them. */
function refuseMismatch(
  target: string,
  backend: CasBackendConfig,
  as: string,
  replica: CasBackendConfig,
  path: string,
): void {
  if (blobStoreKey(backend.blobStore) === blobStoreKey(replica.blobStore)) {
    throw new UsageError(`${target} is in the same store in both configurations: ${path} has to name another one`);
  }
  if (replica.volume !== backend.volume) {
    throw new UsageError(
      `${as} of ${path} is volume "${replica.volume}", and a copy keeps the name of ${target}: set volume = ` +
        `"${backend.volume}" in its [target.cas]`,
    );
  }
  for (const [key, ours, theirs] of [
    ["hash", `"${backend.hash}"`, `"${replica.hash}"`],
    ["block_size", backend.blockSizeBytes, replica.blockSizeBytes],
  ]) {
    if (ours === theirs) continue;
    throw new UsageError(
      `${as} of ${path} has ${key} = ${theirs}, and a copy of ${target} has ${ours}: set that there`,
    );
  }
}
