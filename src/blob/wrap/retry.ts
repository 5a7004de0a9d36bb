/** A blob store whose operations are tried again while it is `unavailable`, later and later, within a bound. */
import { eventLoop } from "../../base/event-loop.ts";
import { BlobStoreError, type BlobInfo, type BlobStore } from "../blob-store.ts";
import { pause } from "./pause.ts";

export interface RetryOptions {
  /** Most times that an operation is tried, the first one included. */
  readonly mostAttempts: number;
  /** No try begins later than so many milliseconds after the first one. */
  readonly mostMs: number;
  /** The pause after the first failure, which doubles with each one, up to the longest. */
  readonly firstPauseMs: number;
  readonly longestPauseMs: number;
  /** From 0 to 1: pauses take between half of their length and all of it, so that clients do not come back as one. */
  readonly random: () => number;
  /** Once aborted, nothing is tried again: somebody waits for the end. */
  readonly hurry?: AbortSignal;
}

/** For a server: a minute, within which a store restarts or a network comes back. */
export const RETRY_DEFAULTS = {
  mostAttempts: 10,
  mostMs: 60_000,
  firstPauseMs: 100,
  longestPauseMs: 10_000,
  random: Math.random,
} as const satisfies RetryOptions;

const isUnavailable = (error: unknown): error is BlobStoreError =>
  error instanceof BlobStoreError && error.failure === "unavailable";

export function withRetry(store: BlobStore, options: RetryOptions): BlobStore {
  const { mostAttempts, mostMs, firstPauseMs, longestPauseMs, random, hurry } = options;
  const isHurried = (): boolean => hurry?.aborted === true;

  /** `work` is told how often it was tried before. */
  const retried = async <T>(signal: AbortSignal | undefined, work: (tries: number) => Promise<T>): Promise<T> => {
    const endMs = eventLoop.nowMs() + mostMs;
    for (let tries = 0; ; tries++) {
      try {
        return await work(tries);
      } catch (error) {
        if (!isUnavailable(error) || tries + 1 >= mostAttempts || isHurried()) throw error;
        const pauseMs = Math.min(longestPauseMs, firstPauseMs * 2 ** tries) * (0.5 + random() / 2);
        if (eventLoop.nowMs() + pauseMs > endMs) throw error;
        await pause(pauseMs, signal, hurry);
        // Aborted in the pause: what is wanted now is an answer, and this is the last that was heard.
        if (isHurried()) throw error;
      }
    }
  };

  return {
    ...store,
    put: (name, bytes, signal) => retried(signal, () => store.put(name, bytes, signal)),
    get: (name, offsetBytes, lengthBytes, target, at, signal) =>
      retried(signal, () => store.get(name, offsetBytes, lengthBytes, target, at, signal)),
    forgetCached: (name, signal) => retried(signal, () => store.forgetCached(name, signal)),
    size: (name, signal) => retried(signal, () => store.size(name, signal)),
    async *list(signal) {
      // A listing that broke off begins anew, and what it told already is told once.
      const told = new Set<string>();
      let listing = store.list(signal)[Symbol.asyncIterator]();
      const next = (): Promise<IteratorResult<BlobInfo>> =>
        retried(signal, async (tries) => {
          if (tries > 0) listing = store.list(signal)[Symbol.asyncIterator]();
          return listing.next();
        });
      try {
        for (let item = await next(); item.done !== true; item = await next()) {
          if (told.has(item.value.name)) continue;
          told.add(item.value.name);
          yield item.value;
        }
      } finally {
        await listing.return?.();
      }
    },
    delete: (name, signal) => retried(signal, () => store.delete(name, signal)),
    createRef: (name, bytes, signal) =>
      retried(signal, async (tries) => {
        const outcome = await store.createRef(name, bytes, signal);
        if (outcome === "created" || tries === 0) return outcome;
        // The answer to an earlier try may have been lost, and the ref be ours.
        const there = await store.readRef(name, signal);
        return Buffer.compare(there, bytes) === 0 ? "created" : "exists";
      }),
    readRef: (name, signal) => retried(signal, () => store.readRef(name, signal)),
    listRefs: (prefix, signal) => retried(signal, () => store.listRefs(prefix, signal)),
    deleteRef: (name, signal) => retried(signal, () => store.deleteRef(name, signal)),
  };
}
