/**
 * Where an archive keeps what is permanent: *blobs*, immutable and named by the hash of their content, and *refs*,
 * small records under names that can be created once.
 *
 * The contract of every implementation, which test/contract/blob-store.ts runs:
 *
 * - **Durable when resolved.** A `put`, `createRef`, `delete` or `deleteRef` that has resolved survives power loss. One
 *   that rejected, or was under way in a crash, was done as a whole or not at all: no reader ever sees a part of a blob.
 * - **Retry.** Every operation may be tried again after any failure; the caller decides, by `BlobStoreError.failure`,
 *   and only `unavailable` is worth it. Implementations do not retry. All but `createRef` are idempotent: a `put` of a
 *   name that exists writes it again, which also heals a damaged blob. A `createRef` whose answer was lost may answer
 *   `exists` when it is tried again: compare the content before calling that a conflict.
 * - **Cancellation.** An operation whose signal is aborted rejects with the signal's reason once it has let go of the
 *   memory it was given, and as if it had been under way in a crash.
 * - **Memory.** Source and target belong to the operation until its promise has settled; a target of a failed `get`
 *   holds anything.
 * - **Trust.** What `get` yields may be damaged: whoever reads verifies it by the hash. Nothing checks in `put` that the
 *   name is right.
 * - **Errors** are BlobStoreError, except an aborted signal's reason, and RangeError for a mistake of the caller.
 * - Operations may be under way at the same time, on the same name too.
 */
import type { Memory } from "../base/memory.ts";

/**
 * Why a store failed. `missing`: there is no such blob or ref. `truncated`: the blob ends before what was asked for.
 * `denied`: the store does not permit it. `unavailable`: it may work when tried again. `corrupt`: what is there is not
 * what this store writes. `full`: there is no space for it.
 */
export type BlobFailure = "missing" | "truncated" | "denied" | "unavailable" | "corrupt" | "full";

export class BlobStoreError extends Error {
  /** @param message what happened, to what, and what to do. @param cause the error of the system or library below. */
  constructor(
    readonly failure: BlobFailure,
    message: string,
    cause?: unknown,
  ) {
    super(message, { cause });
    this.name = "BlobStoreError";
  }
}

export interface BlobInfo {
  readonly name: string;
  readonly sizeBytes: number;
}

/** Most bytes of a ref. */
export const REF_MOST_BYTES = 64 * 1024;

export interface BlobStore {
  /** For log and status: kind and place, without secrets. */
  readonly description: string;

  /**
   * Whether `createRef` creates one of several that try at once, on other hosts too. Where it does not (Backblaze B2),
   * it looks first and then writes: one that comes at the same time may write over it, and both are told `created`.
   */
  readonly atomicRefs: boolean;

  /** Stores a blob under 64 lower-case hexadecimal digits. Fails with `full`, `denied` or `unavailable`. */
  put(name: string, bytes: Uint8Array, signal?: AbortSignal): Promise<void>;

  /**
   * Fills `target` from byte `at` with `lengthBytes` of the blob from byte `offsetBytes`. Fails with `missing`, with
   * `truncated` where the blob ends before, with `denied` or `unavailable`.
   */
  get(
    name: string,
    offsetBytes: number,
    lengthBytes: number,
    target: Memory,
    at: number,
    signal?: AbortSignal,
  ): Promise<void>;

  /** Does what `get` does, where that takes no waiting for a medium or network: true. False says nothing: call `get`. */
  tryGet(name: string, offsetBytes: number, lengthBytes: number, target: Memory, at: number): boolean;

  /**
   * Says that this part of a blob, of which something was read before, will be asked for soon: a store whose medium can
   * fetch it meanwhile does. Absent where none can. Never fails.
   */
  willRead?(name: string, offsetBytes: number, lengthBytes: number): void;

  /**
   * Sees to it that the next `get` of the blob reads what the medium holds, rather than what is cached of it on the way,
   * as far as this machine has a say in that. Fails with `missing`.
   */
  forgetCached(name: string, signal?: AbortSignal): Promise<void>;

  /** Size of a blob in bytes. Fails with `missing`. */
  size(name: string, signal?: AbortSignal): Promise<number>;

  /** All blobs, in any order. One that is put or deleted meanwhile may be among them or not. */
  list(signal?: AbortSignal): AsyncIterable<BlobInfo>;

  /** Takes a blob away. One that is not there is no failure. */
  delete(name: string, signal?: AbortSignal): Promise<void>;

  /**
   * Creates a ref of at most REF_MOST_BYTES where there is none of that name, and of several that try at once, one.
   * Names are 1 to 4 parts of letters a-z, digits, `.`, `_` and `-`, each beginning with a letter or digit and at most
   * 100 characters long, with `/` between them; no name may be the beginning of another one up to a `/`.
   */
  createRef(name: string, bytes: Uint8Array, signal?: AbortSignal): Promise<"created" | "exists">;

  /** Content of a ref. Fails with `missing`. */
  readRef(name: string, signal?: AbortSignal): Promise<Uint8Array>;

  /** Names that begin with `prefix`, sorted. */
  listRefs(prefix: string, signal?: AbortSignal): Promise<string[]>;

  /** Takes a ref away. One that is not there is no failure. Afterwards its name can be created again. */
  deleteRef(name: string, signal?: AbortSignal): Promise<void>;

  /** Waits for what is under way and lets go of the store, which must not be used again. */
  close(): Promise<void>;
}

/** Throws RangeError where `name` is not the name of a blob: it would become a path or a URL. */
export function assertBlobName(name: string): void {
  if (!isBlobName(name)) throw new RangeError(`"${name}" is no name of a blob: 64 lower-case hexadecimal digits`);
}

export const isBlobName = (name: string): boolean => /^[0-9a-f]{64}$/.test(name);

/** Throws RangeError where `name` is not the name of a ref. */
export function assertRefName(name: string): void {
  if (!isRefName(name)) throw new RangeError(`"${name}" is no name of a ref, see BlobStore.createRef`);
}

export const isRefName = (name: string): boolean => {
  const parts = name.split("/");
  return parts.length <= 4 && parts.every((part) => /^[a-z0-9][a-z0-9._-]{0,99}$/.test(part));
};

/** Throws RangeError where a ref has too many bytes. */
export function assertRefBytes(name: string, bytes: Uint8Array): void {
  if (bytes.length > REF_MOST_BYTES) {
    throw new RangeError(`ref ${name} of ${bytes.length} bytes is larger than ${REF_MOST_BYTES}`);
  }
}

/** Throws RangeError where a read does not lie inside the target, or is none. */
export function assertTarget(offsetBytes: number, lengthBytes: number, target: Memory, at: number): void {
  if (offsetBytes < 0 || lengthBytes < 0 || at < 0 || at + lengthBytes > target.lengthBytes) {
    throw new RangeError(`${lengthBytes} bytes from ${offsetBytes} do not fit at ${at} of ${target.lengthBytes}`);
  }
}
