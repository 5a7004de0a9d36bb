/** A blob store whose requests are counted, and that remembers how it fared: for status and metrics. */
import { BlobStoreError, type BlobStore } from "../blob-store.ts";

/** What requests are told apart by: blobs put, blobs read, refs created, the rest (refs read, sizes, lists, deletions). */
export type RequestKind = "put" | "get" | "ref" | "other";

export interface RequestCounters {
  requests: number;
  /** Those that the store did not do: it was away, denied it, or was full. That something is not there is an answer. */
  errors: number;
  /** Content that was carried, in bytes. */
  bytes: number;
}

export interface RequestStatistics {
  readonly requests: Readonly<Record<RequestKind, Readonly<RequestCounters>>>;
  /** What it failed with last, and when, in milliseconds since 1970. */
  readonly lastError: { readonly message: string; readonly atMs: number } | undefined;
  /** Since when nothing succeeded, in milliseconds since 1970; undefined: the store is there. */
  readonly awaySinceMs: number | undefined;
}

export interface CountedStore {
  readonly store: BlobStore;
  readonly statistics: () => RequestStatistics;
  /** Whether nothing has succeeded since it failed. */
  readonly isAway: () => boolean;
}

const noCounters = (): RequestCounters => ({ requests: 0, errors: 0, bytes: 0 });

/** @param nowMs milliseconds since 1970. */
export function withCounters(store: BlobStore, nowMs: () => number): CountedStore {
  const requests = { put: noCounters(), get: noCounters(), ref: noCounters(), other: noCounters() };
  let lastError: RequestStatistics["lastError"];
  let awaySinceMs: number | undefined;

  const noteFailure = (kind: RequestKind, error: unknown): void => {
    // Aborted, or our own mistake: it says nothing about the store.
    if (!(error instanceof BlobStoreError)) return;
    if (error.failure === "missing" || error.failure === "truncated") {
      awaySinceMs = undefined;
      return;
    }
    requests[kind].errors++;
    lastError = { message: error.message, atMs: nowMs() };
    if (error.failure === "unavailable" || error.failure === "denied") awaySinceMs ??= lastError.atMs;
  };

  const counted = async <T>(
    kind: RequestKind,
    work: () => Promise<T>,
    bytesOf: (result: T) => number = () => 0,
  ): Promise<T> => {
    requests[kind].requests++;
    try {
      const result = await work();
      requests[kind].bytes += bytesOf(result);
      awaySinceMs = undefined;
      return result;
    } catch (error) {
      noteFailure(kind, error);
      throw error;
    }
  };

  return {
    store: {
      ...store,
      put: (name, bytes, signal) =>
        counted(
          "put",
          () => store.put(name, bytes, signal),
          () => bytes.length,
        ),
      get: (name, offsetBytes, lengthBytes, target, at, signal) =>
        counted(
          "get",
          () => store.get(name, offsetBytes, lengthBytes, target, at, signal),
          () => lengthBytes,
        ),
      forgetCached: (name, signal) => counted("other", () => store.forgetCached(name, signal)),
      size: (name, signal) => counted("other", () => store.size(name, signal)),
      async *list(signal) {
        requests.other.requests++;
        try {
          yield* store.list(signal);
          awaySinceMs = undefined;
        } catch (error) {
          noteFailure("other", error);
          throw error;
        }
      },
      delete: (name, signal) => counted("other", () => store.delete(name, signal)),
      createRef: (name, bytes, signal) =>
        counted(
          "ref",
          () => store.createRef(name, bytes, signal),
          () => bytes.length,
        ),
      readRef: (name, signal) =>
        counted(
          "other",
          () => store.readRef(name, signal),
          (bytes) => bytes.length,
        ),
      listRefs: (prefix, signal) => counted("other", () => store.listRefs(prefix, signal)),
      deleteRef: (name, signal) => counted("other", () => store.deleteRef(name, signal)),
    },
    isAway: () => awaySinceMs !== undefined,
    statistics: () => ({ requests: structuredClone(requests), lastError, awaySinceMs }),
  };
}
