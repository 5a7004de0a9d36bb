/**
 * Fetches of parts of packs into memory and from there into the cache: shared by all who wait for one of them, and
 * bounded in memory. What a client waits for goes before what is fetched ahead of it.
 */
import { allocateMemory, freeMemory } from "../../../ffi/memory.ts";
import type { Memory } from "../../base/memory.ts";
import type { BlobStore } from "../blob-store.ts";
import {
  ABSENT,
  COMING,
  mark,
  nextAbsent,
  PRESENT,
  rangeToFetch,
  runAt,
  type CachedPack,
  type PackRange,
} from "./cached-pack.ts";
import type { CachedPacks } from "./cached-packs.ts";
import { turnstile } from "./turnstile.ts";

/** The least that is fetched for a client: at 50 ms and 100 MiB/s a request takes as long as 5 MiB of its content. */
const LEAST_BYTES = 256 * 1024;
/** What is fetched ahead in one request: a client that comes to want a part of it waits for no more than that. */
const AHEAD_BYTES = 4 * 2 ** 20;
/**
 * After so many requests for parts of a pack the rest of it is fetched too: three take as long as the 16 MiB of a pack.
 */
const TOUCHES = 3;
/** Memory for what is fetched and not yet in the cache. */
const MEMORY_MOST_BYTES = 64 * 2 ** 20;
/** Ranges that wait to be fetched ahead. They are hints: the oldest goes when there are more. */
const PLANS_MOST = 256;

export interface PackFetchesOptions {
  readonly packs: CachedPacks;
  /** What a client waits for, and what nobody waits for. */
  readonly store: BlobStore;
  readonly background: BlobStore;
  /** Requests ahead at a time. */
  readonly aheadMost: number;
}

export interface PackFetches {
  /** Fills the target with a range of a pack, from the cache and, where that lacks it, from the store. */
  read(
    pack: CachedPack,
    offsetBytes: number,
    lengthBytes: number,
    target: Memory,
    at: number,
    signal?: AbortSignal,
  ): Promise<void>;
  /** Has what is absent of a range fetched when there is time. */
  ahead(pack: CachedPack, range: PackRange): void;
  close(): Promise<void>;
}

interface Fetch {
  readonly pack: CachedPack;
  readonly range: PackRange;
  /** Resolves when the memory holds the range. */
  readonly arrived: Promise<Memory>;
  /** Those who have not copied theirs yet, the cache among them. */
  users: number;
}

export function packFetches({ packs, store, background, aheadMost }: PackFetchesOptions): PackFetches {
  const memoryGate = turnstile(MEMORY_MOST_BYTES);
  const fetches = new Map<CachedPack, Set<Fetch>>();
  const underWay = new Set<Promise<void>>();
  const closing = new AbortController();
  /** What of each range was not asked for yet: nothing is twice, also where it is not kept. */
  const plans: { readonly pack: CachedPack; rest: PackRange }[] = [];
  let aheadCount = 0;

  const load = async ({ name }: CachedPack, { fromBytes, toBytes }: PackRange, urgent: boolean): Promise<Memory> => {
    const lengthBytes = toBytes - fromBytes;
    await memoryGate.enter(lengthBytes, urgent, closing.signal);
    const memory = allocateMemory(lengthBytes);
    try {
      await (urgent ? store : background).get(name, fromBytes, lengthBytes, memory, 0, closing.signal);
      return memory;
    } catch (error) {
      freeMemory(memory);
      memoryGate.leave(lengthBytes);
      throw error;
    }
  };

  const leave = (fetch: Fetch, memory: Memory): void => {
    if (--fetch.users > 0) return;
    freeMemory(memory);
    memoryGate.leave(fetch.range.toBytes - fetch.range.fromBytes);
  };

  /** Keeps what arrives in the cache. Never rejects. */
  const keep = async (fetch: Fetch): Promise<void> => {
    const { pack, range, arrived } = fetch;
    let memory: Memory | undefined;
    let isKept = false;
    try {
      memory = await arrived;
      isKept = await packs.savePart(pack, range, memory.bytes.subarray(0, range.toBytes - range.fromBytes));
    } catch {
      // Whoever waits for it is told.
    }
    if (!isKept) mark(pack, range, ABSENT);
    const ofPack = fetches.get(pack)!;
    ofPack.delete(fetch);
    if (ofPack.size === 0) fetches.delete(pack);
    packs.ended(pack);
    if (memory !== undefined) leave(fetch, memory);
  };

  const begin = (pack: CachedPack, range: PackRange, urgent: boolean): Fetch => {
    mark(pack, range, COMING);
    pack.coming++;
    const fetch: Fetch = { pack, range, arrived: load(pack, range, urgent), users: 1 };
    const ofPack = fetches.get(pack);
    if (ofPack === undefined) fetches.set(pack, new Set([fetch]));
    else ofPack.add(fetch);
    const kept = keep(fetch).then(() => void underWay.delete(kept));
    underWay.add(kept);
    return fetch;
  };

  /** Copies what a fetch brings, unless the signal is aborted before: then the target is left alone. */
  const take = (
    fetch: Fetch,
    offsetBytes: number,
    lengthBytes: number,
    target: Memory,
    at: number,
    signal: AbortSignal | undefined,
  ): Promise<void> => {
    fetch.users++;
    return new Promise((resolve, reject) => {
      const give = (): void => reject(signal!.reason as Error);
      signal?.addEventListener("abort", give, { once: true });
      fetch.arrived.then(
        (memory) => {
          signal?.removeEventListener("abort", give);
          if (signal?.aborted !== true) {
            const from = offsetBytes - fetch.range.fromBytes;
            target.bytes.set(memory.bytes.subarray(from, from + lengthBytes), at);
          }
          leave(fetch, memory);
          resolve();
        },
        (error: Error) => {
          signal?.removeEventListener("abort", give);
          reject(error);
        },
      );
    });
  };

  const fetchOver = (pack: CachedPack, offsetBytes: number): Fetch => {
    for (const fetch of fetches.get(pack)!) {
      if (fetch.range.fromBytes <= offsetBytes && offsetBytes < fetch.range.toBytes) return fetch;
    }
    throw new Error(`byte ${offsetBytes} of pack ${pack.name} is said to be coming, and nobody fetches it`);
  };

  const plan = (pack: CachedPack, range: PackRange): void => {
    plans.push({ pack, rest: range });
    if (plans.length > PLANS_MOST) plans.shift();
    pump();
  };

  /** Notes that something of a pack had to be fetched. */
  const touch = (pack: CachedPack): void => {
    if (++pack.touches === TOUCHES) plan(pack, { fromBytes: 0, toBytes: pack.sizeBytes });
  };

  const fetchNow = (pack: CachedPack, fromBytes: number, toBytes: number): Fetch => {
    const fetch = begin(pack, rangeToFetch(pack, fromBytes, toBytes, LEAST_BYTES), true);
    touch(pack);
    return fetch;
  };

  const pump = (): void => {
    while (aheadCount < aheadMost && plans.length > 0 && !closing.signal.aborted) {
      const plan = plans[0]!;
      const { pack, rest } = plan;
      const part = pack.dropped ? undefined : nextAbsent(pack, rest, AHEAD_BYTES);
      if (part === undefined) {
        plans.shift();
        continue;
      }
      if (part.toBytes >= rest.toBytes) plans.shift();
      else plan.rest = { fromBytes: part.toBytes, toBytes: rest.toBytes };
      aheadCount++;
      // The next one is begun when this one arrives, and not when it is in the cache.
      begin(pack, part, false).arrived.then(
        () => ended(),
        () => {
          // Away: what else was planned is not worth asking for.
          plans.length = 0;
          ended();
        },
      );
    }
  };

  const ended = (): void => {
    aheadCount--;
    pump();
  };

  return {
    async read(pack, offsetBytes, lengthBytes, target, at, signal) {
      const endBytes = offsetBytes + lengthBytes;
      const parts: Promise<unknown>[] = [];
      for (let from = offsetBytes; from < endBytes;) {
        const { state, toBytes } = runAt(pack, from, endBytes);
        const to = at + from - offsetBytes;
        let end = toBytes;
        if (state === PRESENT) {
          const runFrom = from;
          const missing = (isThere: boolean): Promise<void> | undefined =>
            isThere ? undefined : store.get(pack.name, runFrom, toBytes - runFrom, target, to, signal);
          parts.push(packs.read(pack, from, toBytes - from, target, to).then(missing));
        } else {
          const fetch = state === ABSENT ? fetchNow(pack, from, toBytes) : fetchOver(pack, from);
          end = Math.min(endBytes, fetch.range.toBytes);
          parts.push(take(fetch, from, end - from, target, to, signal));
        }
        from = end;
      }
      // All of them, since the target is theirs until they have settled.
      for (const part of await Promise.allSettled(parts)) if (part.status === "rejected") throw part.reason;
      signal?.throwIfAborted();
    },
    ahead(pack, range) {
      if (nextAbsent(pack, range, AHEAD_BYTES) === undefined) return;
      plan(pack, range);
      touch(pack);
    },
    async close() {
      plans.length = 0;
      closing.abort(new Error("the blob store is being closed"));
      await Promise.all(underWay);
    },
  };
}
