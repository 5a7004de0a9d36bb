/**
 * Snapshots and clones that are served beside the targets of the configuration: opened again after a restart, and kept
 * in line with the configuration, which wins where both want one address.
 */
import { formatAddress, parseAddress } from "../base/address.ts";
import { blobStoreKey } from "../config/blob-store-key.ts";
import type { CasBackendConfig, TargetConfig } from "../config/config.ts";
import { forgetState } from "./aoe/state-store.ts";
import { exposedDirectory, loadExposed, saveExposed, type ExposedEntry } from "./exposed-file.ts";
import type { TargetSet } from "./target-set.ts";

export interface ExposedTargets {
  /** All of them, also those that cannot be served at present. */
  readonly entries: readonly ExposedEntry[];
  /** Why some are not served, for people. */
  readonly warnings: readonly string[];
  /** Serves one more, from now on and after restarts. Rejects where that cannot be, and then nothing has changed. */
  add(entry: ExposedEntry): Promise<void>;
  /** Serves one no longer. Rejects where there is none of that name. */
  remove(name: string): Promise<ExposedEntry>;
  /**
   * Brings all targets to a new configuration, these included. Returns what has changed, a sentence each; rejects, with
   * everything as it was, where a target cannot be opened.
   */
  follow(configured: readonly TargetConfig[]): Promise<string[]>;
}

export interface ExposedTargetsOptions {
  readonly targets: TargetSet;
  readonly configured: readonly TargetConfig[];
  readonly stateDirectory: string;
  /** Told of each that cannot be served. */
  readonly warn: (message: string) => void;
}

/** Opens those that were served before; one that cannot be opened is left out, with a warning. */
export async function openExposedTargets(options: ExposedTargetsOptions): Promise<ExposedTargets> {
  const { targets, stateDirectory } = options;
  let { configured } = options;
  let entries: readonly ExposedEntry[] = [];
  /** Why the list on disk must not be written. */
  let damage: string | undefined;
  const unserved = new Map<string, string>();

  /** Whether what is served at its address is it, and no target of the configuration. */
  const isServed = ({ target }: ExposedEntry): boolean =>
    targets.list.some(({ name, config }) => name === target && config.exposed !== undefined);

  const note = ({ target, kind }: ExposedEntry, reason: string): void => {
    const message = `${target}, an exposed ${kind}, is not served: ${reason}`;
    if (unserved.get(target) !== message) options.warn(message);
    unserved.set(target, message);
  };

  const open = async (entry: ExposedEntry): Promise<void> => {
    const config = configOf(entry, configured);
    if (typeof config === "string") throw new Error(config);
    await targets.add(config);
  };

  /** Opens what is not served and can be. */
  const openRest = async (): Promise<string[]> => {
    const opened: string[] = [];
    for (const entry of entries) {
      try {
        if (!isServed(entry)) {
          await open(entry);
          opened.push(entry.target);
        }
        unserved.delete(entry.target);
      } catch (error) {
        note(entry, (error as Error).message);
      }
    }
    return opened;
  };

  const assertUndamaged = (): void => {
    if (damage !== undefined) throw new Error(damage);
  };

  const save = async (next: readonly ExposedEntry[]): Promise<void> => {
    await saveExposed(stateDirectory, next);
    entries = next;
  };

  try {
    entries = loadExposed(stateDirectory);
  } catch (error) {
    damage = (error as Error).message;
    options.warn(damage);
  }
  await openRest();

  return {
    get entries() {
      return entries;
    },
    get warnings() {
      return [...(damage === undefined ? [] : [damage]), ...unserved.values()];
    },
    async add(entry) {
      assertUndamaged();
      await forgetState(exposedDirectory(stateDirectory), entry.target);
      await open(entry);
      try {
        await save([...entries, entry]);
      } catch (error) {
        await targets.remove(entry.target);
        throw error;
      }
    },
    async remove(name) {
      assertUndamaged();
      const entry = entries.find(({ target }) => target === name);
      if (entry === undefined) throw new Error(notExposed(name, configured));
      await save(entries.filter((other) => other !== entry));
      unserved.delete(name);
      if (isServed(entry)) await targets.remove(name);
      // What it says must not be that of the next one here; where this fails, `add` does it.
      await forgetState(exposedDirectory(stateDirectory), name).catch(() => {});
      return entry;
    },
    async follow(next) {
      const kept = entries
        .filter(isServed)
        .map((entry) => configOf(entry, next))
        .filter((config) => typeof config !== "string");
      const changes = await targets.follow([...next, ...kept]);
      configured = next;
      const opened = await openRest();
      return [...changes, ...opened.map((name) => `${name} exposed`)];
    },
  };
}

const ADDRESS_TAKEN =
  "the configuration has a target of this address, which wins. Expose it at another address, or change that of the " +
  "other target";

const isConfigured = (name: string, configured: readonly TargetConfig[]): boolean =>
  configured.some((config) => formatAddress(config) === name);

function notExposed(name: string, configured: readonly TargetConfig[]): string {
  return isConfigured(name, configured)
    ? `${name} is a target of the configuration: take it out there, and reload`
    : `${name} is no exposed snapshot or clone: voe status lists the targets`;
}

/** How the store is reached, as the target says from which this was made, or another one of the store. */
function storeOf({ store, origin }: ExposedEntry, configured: readonly TargetConfig[]): CasBackendConfig | undefined {
  const backends = new Map<string, CasBackendConfig>();
  for (const config of configured) {
    const { backend } = config;
    if (backend.kind === "cas" && blobStoreKey(backend.blobStore) === store)
      backends.set(formatAddress(config), backend);
  }
  return backends.get(origin) ?? backends.values().next().value;
}

/** What is to be served; or why it cannot be beside this configuration. */
function configOf(entry: ExposedEntry, configured: readonly TargetConfig[]): TargetConfig | string {
  const { target, kind, origin, snapshotId, volume, sizeBytes, blockSizeBytes, sync, allowMacs } = entry;
  if (isConfigured(target, configured)) return ADDRESS_TAKEN;
  const backend = storeOf(entry, configured);
  if (backend === undefined) {
    return `no target of the configuration is in its store (${entry.store}). Configure one, or give it up with voe snapshot unexpose ${target}`;
  }
  const other = kind === "clone" && configured.find((config) => isVolume(config.backend, entry));
  if (other) return `the configuration serves its volume ${volume} as ${formatAddress(other)}`;
  return {
    ...parseAddress(target),
    configString: kind === "snapshot" ? `${origin}@${snapshotId}` : "",
    readOnly: kind === "snapshot",
    allowMacs,
    allowClients: configured.find((config) => formatAddress(config) === origin)?.allowClients ?? entry.allowClients,
    sync,
    backend: { ...backend, volume, sizeBytes, blockSizeBytes, snapshotEveryMs: undefined },
    exposed: { kind, origin, snapshotId },
  };
}

const isVolume = (backend: TargetConfig["backend"], { store, volume }: ExposedEntry): boolean =>
  backend.kind === "cas" && backend.volume === volume && blobStoreKey(backend.blobStore) === store;
