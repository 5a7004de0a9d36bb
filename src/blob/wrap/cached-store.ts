/**
 * A blob store far away, with packs on the local disk: what is put goes into the cache too, what is read is fetched in
 * ranges, and as a whole pack once that pays. The cache never makes an operation fail that the store would do.
 *
 * What is in the cache is not verified here: whoever reads a pack verifies what it reads, each time, by the hash of the
 * block or the checksum of the directory, and says `forgetCached` where that fails. See docs/decisions/0007.
 */
import { assertBlobName, assertTarget, BlobStoreError, type BlobStore } from "../blob-store.ts";
import type { CacheDirectory } from "./cache-directory.ts";
import { cachedPacks, type PackCacheStatistics } from "./cached-packs.ts";
import { packFetches } from "./pack-fetches.ts";

export interface CachedStoreOptions {
  readonly directory: CacheDirectory;
  readonly limitBytes: number;
  /** The store for what nobody waits for. */
  readonly background: BlobStore;
  /** Requests ahead of clients at a time. */
  readonly aheadMost: number;
  readonly report: (key: string, message: string) => void;
}

export interface CacheStatistics extends PackCacheStatistics {
  /** Reads that the cache had all of, and others. */
  readonly hits: number;
  readonly misses: number;
}

export interface CachedStore {
  readonly store: BlobStore;
  statistics(): CacheStatistics;
}

/** What is read in one piece beyond that is a whole pack, for a verification or a copy: it pushes nothing out. */
const THROUGH_BYTES = 2 ** 20;
/** Packs that were forgotten and are kept again when they are read as a whole. */
const REFILLS_MOST = 1024;

export function withCache(store: BlobStore, options: CachedStoreOptions): CachedStore {
  const packs = cachedPacks(options);
  const fetches = packFetches({ ...options, packs, store });
  const sizes = new Map<string, number>();
  const refills = new Set<string>();
  let hits = 0;
  let misses = 0;

  const sizeOf = async (name: string, signal: AbortSignal | undefined): Promise<number> => {
    const known = sizes.get(name);
    if (known !== undefined) return known;
    const sizeBytes = await store.size(name, signal);
    sizes.set(name, sizeBytes);
    return sizeBytes;
  };

  const forget = (name: string): void => {
    sizes.delete(name);
    if (!packs.drop(name)) return;
    refills.add(name);
    if (refills.size > REFILLS_MOST) refills.delete(refills.keys().next().value!);
  };

  const keepWhole = async (name: string, bytes: Uint8Array): Promise<void> => {
    const pack = await packs.saveWhole(name, bytes);
    if (pack !== undefined) packs.keep(pack);
  };

  /** Where the range is not kept, as it is asked for. */
  const getThrough: BlobStore["get"] = async (name, offsetBytes, lengthBytes, target, at, signal) => {
    await store.get(name, offsetBytes, lengthBytes, target, at, signal);
    if (offsetBytes > 0 || lengthBytes !== sizes.get(name) || !refills.delete(name)) return;
    await keepWhole(name, target.bytes.subarray(at, at + lengthBytes));
  };

  const get: BlobStore["get"] = async (name, offsetBytes, lengthBytes, target, at, signal) => {
    let pack = packs.get(name);
    const isHit = pack !== undefined && packs.has(pack, offsetBytes, lengthBytes);
    if (!isHit && (lengthBytes > THROUGH_BYTES || lengthBytes === 0)) {
      return getThrough(name, offsetBytes, lengthBytes, target, at, signal);
    }
    const sizeBytes = pack?.sizeBytes ?? (await sizeOf(name, signal));
    // Another read may have made it meanwhile.
    pack = packs.get(name) ?? packs.create(name, sizeBytes);
    if (pack === undefined || offsetBytes + lengthBytes > pack.sizeBytes) {
      return getThrough(name, offsetBytes, lengthBytes, target, at, signal);
    }
    if (isHit) hits++;
    else misses++;
    try {
      await fetches.read(pack, offsetBytes, lengthBytes, target, at, signal);
    } catch (error) {
      if (!(error instanceof BlobStoreError) || (error.failure !== "missing" && error.failure !== "truncated")) {
        throw error;
      }
      // More was asked for than the caller did, by what was known of the size.
      sizes.delete(name);
      packs.drop(name);
      await store.get(name, offsetBytes, lengthBytes, target, at, signal);
    }
  };

  return {
    store: {
      ...store,
      async put(name, bytes, signal) {
        assertBlobName(name);
        signal?.throwIfAborted();
        const saving = packs.saveWhole(name, bytes);
        try {
          await store.put(name, bytes, signal);
        } catch (error) {
          const saved = await saving;
          if (saved !== undefined) packs.discard(saved);
          throw error;
        }
        const saved = await saving;
        sizes.set(name, bytes.length);
        if (saved === undefined) packs.drop(name);
        else packs.keep(saved);
      },
      async get(name, offsetBytes, lengthBytes, target, at, signal) {
        assertBlobName(name);
        assertTarget(offsetBytes, lengthBytes, target, at);
        signal?.throwIfAborted();
        await get(name, offsetBytes, lengthBytes, target, at, signal);
      },
      tryGet(name, offsetBytes, lengthBytes, target, at) {
        assertTarget(offsetBytes, lengthBytes, target, at);
        const pack = packs.get(name);
        if (pack === undefined || !packs.tryRead(pack, offsetBytes, lengthBytes, target, at)) return false;
        hits++;
        return true;
      },
      willRead(name, offsetBytes, lengthBytes) {
        const sizeBytes = packs.get(name)?.sizeBytes ?? sizes.get(name);
        if (sizeBytes === undefined || offsetBytes >= sizeBytes) return;
        const pack = packs.get(name) ?? packs.create(name, sizeBytes);
        if (pack === undefined) return;
        const toBytes = Math.min(sizeBytes, offsetBytes + lengthBytes);
        if (packs.has(pack, offsetBytes, toBytes - offsetBytes)) {
          packs.willRead(pack, offsetBytes, toBytes - offsetBytes);
        } else {
          fetches.ahead(pack, { fromBytes: offsetBytes, toBytes });
        }
      },
      async forgetCached(name, signal) {
        assertBlobName(name);
        signal?.throwIfAborted();
        forget(name);
        await store.forgetCached(name, signal);
      },
      async size(name, signal) {
        assertBlobName(name);
        signal?.throwIfAborted();
        return sizeOf(name, signal);
      },
      async *list(signal) {
        for await (const blob of store.list(signal)) {
          sizes.set(blob.name, blob.sizeBytes);
          yield blob;
        }
      },
      async delete(name, signal) {
        assertBlobName(name);
        signal?.throwIfAborted();
        sizes.delete(name);
        packs.drop(name);
        await store.delete(name, signal);
        // A read that came meanwhile may have fetched it once more.
        sizes.delete(name);
        packs.drop(name);
      },
      async close() {
        await fetches.close();
        await packs.close();
        await store.close();
      },
    },
    statistics: () => ({ ...packs.statistics(), hits, misses }),
  };
}
