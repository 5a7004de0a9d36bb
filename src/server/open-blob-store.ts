/** The one place where blob stores are made of what the configuration says: the store, and what stands before it. */
import { join } from "node:path";
import { eventLoop } from "../base/event-loop.ts";
import type { BlobStore } from "../blob/blob-store.ts";
import { openFileStore } from "../blob/file-store.ts";
import { openCacheDirectory, type CacheDirectory } from "../blob/wrap/cache-directory.ts";
import { withCache, type CachedStore, type CacheStatistics } from "../blob/wrap/cached-store.ts";
import { withCounters, type RequestStatistics } from "../blob/wrap/counted.ts";
import { withLimit, type TransferStatistics } from "../blob/wrap/limit.ts";
import { RETRY_DEFAULTS, withRetry, type RetryOptions } from "../blob/wrap/retry.ts";
import { blobStoreKey } from "../config/blob-store-key.ts";
import type { BlobStoreConfig, RemoteConfig } from "../config/config.ts";
import { openRemoteStore } from "./open-remote-store.ts";

/** How long a store that is not away is given for the end. */
const HURRY_MS = 10_000;

export interface OpenBlobStore {
  readonly blobs: BlobStore;
  /** Packs that may be filled or uploaded at a time; undefined: as many as suit a local store. */
  readonly packsAtOnce: number | undefined;
  /** Whether nothing has succeeded since it failed. */
  isAway(): boolean;
  /** How a store that is far away fares; undefined: it is local. */
  remote(): RemoteStatistics | undefined;
  /**
   * Says that somebody waits for the end: what fails is tried again for some seconds more, and not at all where the
   * store is away. Returns what takes that back.
   */
  hurry(): () => void;
}

export interface RemoteStatistics extends RequestStatistics {
  readonly transfers: TransferStatistics;
  /** Undefined: nothing is cached. */
  readonly cache: CacheStatistics | undefined;
}

export interface OpenBlobStoreOptions {
  /** Whether the store may be created where there is nothing yet. */
  readonly create: boolean;
  /** Reads beside the process that writes: a local store is not locked, and refuses what would change it. */
  readonly readOnly?: boolean;
  /** Without the cache, which a server may have open, and which a copy of everything would only empty. */
  readonly uncached?: boolean;
  readonly report: (key: string, message: string) => void;
}

/** Rejects with BlobStoreError where the store cannot be opened, saying what to check; nothing is changed then. */
export async function openBlobStore(config: BlobStoreConfig, options: OpenBlobStoreOptions): Promise<OpenBlobStore> {
  if (config.type === "file") {
    const blobs = await openFileStore(config.path, options);
    return { blobs, packsAtOnce: undefined, isAway: () => false, remote: () => undefined, hurry: () => () => {} };
  }
  const wrapped = options.uncached === true ? { transfers: config.transfers } : config;
  return withWrappers(await openRemoteStore(config, options), wrapped, blobStoreKey(config), options.report);
}

/**
 * Puts counters, retries, limits and a cache, where there is one, before a store that is far away. `key` tells it from
 * other stores that have their cache in the same place.
 */
export async function withWrappers(
  store: BlobStore,
  { cache, transfers }: Pick<RemoteConfig, "transfers"> & Partial<Pick<RemoteConfig, "cache">>,
  key: string,
  report: (key: string, message: string) => void,
  retry: RetryOptions = RETRY_DEFAULTS,
): Promise<OpenBlobStore> {
  const hurry = new AbortController();
  const counted = withCounters(store, Date.now);
  const retried = withRetry(counted.store, { ...retry, hurry: hurry.signal });
  const limited = withLimit(retried, { ...transfers, transfers: transfers.atOnce });
  const directory =
    cache === undefined ? undefined : await openCache(join(cache.path, cacheName(key)), store.description, report);
  let cached: CachedStore | undefined;
  if (cache !== undefined && directory !== undefined) {
    cached = withCache(limited.store, {
      directory,
      limitBytes: cache.sizeBytes,
      background: limited.background,
      aheadMost: transfers.atOnce,
      report,
    });
  }
  return {
    blobs: cached?.store ?? limited.store,
    packsAtOnce: transfers.atOnce + 1,
    isAway: () => counted.isAway(),
    remote: () => ({ ...counted.statistics(), transfers: limited.statistics(), cache: cached?.statistics() }),
    hurry: () => eventLoop.after(counted.isAway() ? 0 : HURRY_MS, () => hurry.abort()),
  };
}

/** The directory of a store's cache: the same at every start. */
const cacheName = (key: string): string => new Bun.CryptoHasher("sha256").update(key).digest("hex").slice(0, 16);

/** Without its cache a store is slow, and works. */
async function openCache(
  path: string,
  store: string,
  report: (key: string, message: string) => void,
): Promise<CacheDirectory | undefined> {
  const warn = (why: string): void =>
    report("cache", `${store} is used without a cache, each read goes to it: ${why}, or set another cache_path`);
  try {
    const directory = await openCacheDirectory(path);
    if (directory === undefined) warn(`another process has ${path}: stop that one`);
    return directory;
  } catch (error) {
    warn(`${path} cannot be used (${(error as Error).message}): see that it can be written`);
    return undefined;
  }
}
