/**
 * Objects under keys, which is what services such as S3 and Azure Blob Storage have in common: `openObjectStore` makes
 * a blob store of one.
 *
 * Every operation takes `what`, which says what could not be done where it fails ("blob X could not be stored in the S3
 * store Y"), and a signal, with whose reason it rejects where that is aborted. Failures are BlobStoreErrors; `missing`
 * says that there is no such object, never that there is no such bucket or container. Nothing is tried again here.
 */
import type { Memory } from "../../base/memory.ts";

export interface ObjectInfo {
  readonly key: string;
  readonly sizeBytes: number;
}

export interface ObjectService {
  /** Kind and place, without secrets: "S3 store https://s3.example.com/bucket". */
  readonly description: string;

  /** Stores an object, over one that is there. The service checks what it receives against a checksum. */
  put(key: string, bytes: Uint8Array, what: string, signal?: AbortSignal): Promise<void>;

  /**
   * Stores an object where there is none under the key, and of several at once, one; `exists` where that is the
   * service's answer. Where the service knows no such condition it fails, or stores it all the same.
   */
  create(key: string, bytes: Uint8Array, what: string, signal?: AbortSignal): Promise<"created" | "exists">;

  /**
   * Fills `target` from byte `at` with `lengthBytes`, at least 1, from byte `offsetBytes`. Resolves to undefined where it
   * did, and where the object ends before, to its size in bytes.
   */
  get(
    key: string,
    offsetBytes: number,
    lengthBytes: number,
    target: Memory,
    at: number,
    what: string,
    signal?: AbortSignal,
  ): Promise<number | undefined>;

  /** A whole small object; one that is larger than `mostBytes` yields one byte more than that. */
  read(key: string, mostBytes: number, what: string, signal?: AbortSignal): Promise<Uint8Array>;

  /** Size of an object in bytes. */
  size(key: string, what: string, signal?: AbortSignal): Promise<number>;

  /** All objects whose keys begin with `prefix`, page by page. */
  list(prefix: string, what: string, signal?: AbortSignal): AsyncIterable<readonly ObjectInfo[]>;

  /** Takes an object away. One that is not there is no failure. */
  delete(key: string, what: string, signal?: AbortSignal): Promise<void>;
}
