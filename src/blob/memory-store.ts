import {
  assertBlobName,
  assertRefBytes,
  assertRefName,
  assertTarget,
  BlobStoreError,
  type BlobStore,
} from "./blob-store.ts";

/** What a memory store holds. A store that is opened on it again finds everything that was durable. */
export interface MemoryStoreContents {
  readonly blobs: Map<string, Uint8Array>;
  readonly refs: Map<string, Uint8Array>;
}

export const emptyContents = (): MemoryStoreContents => ({ blobs: new Map(), refs: new Map() });

const DESCRIPTION = "memory";

const missing = (what: string): BlobStoreError =>
  new BlobStoreError("missing", `${DESCRIPTION} has no ${what}: it was deleted, or never stored here`);

/** A blob store for tests and simulations: everything is done at once, and told in a later turn of the microtasks. */
export function createMemoryStore(contents: MemoryStoreContents = emptyContents()): BlobStore {
  const { blobs, refs } = contents;
  const blobOf = (name: string): Uint8Array => {
    assertBlobName(name);
    const blob = blobs.get(name);
    if (blob === undefined) throw missing(`blob ${name}`);
    return blob;
  };

  return {
    description: DESCRIPTION,
    atomicRefs: true,
    async put(name, bytes, signal) {
      assertBlobName(name);
      signal?.throwIfAborted();
      blobs.set(name, bytes.slice());
    },
    async get(name, offsetBytes, lengthBytes, target, at, signal) {
      assertTarget(offsetBytes, lengthBytes, target, at);
      signal?.throwIfAborted();
      const blob = blobOf(name);
      if (offsetBytes + lengthBytes > blob.length) {
        throw new BlobStoreError(
          "truncated",
          `blob ${name} has ${blob.length} bytes, too few for ${lengthBytes} at ${offsetBytes}`,
        );
      }
      target.bytes.set(blob.subarray(offsetBytes, offsetBytes + lengthBytes), at);
    },
    tryGet(name, offsetBytes, lengthBytes, target, at) {
      assertTarget(offsetBytes, lengthBytes, target, at);
      assertBlobName(name);
      const blob = blobs.get(name);
      if (blob === undefined || offsetBytes + lengthBytes > blob.length) return false;
      target.bytes.set(blob.subarray(offsetBytes, offsetBytes + lengthBytes), at);
      return true;
    },
    async forgetCached(name, signal) {
      signal?.throwIfAborted();
      blobOf(name);
    },
    async size(name, signal) {
      signal?.throwIfAborted();
      return blobOf(name).length;
    },
    async *list(signal) {
      for (const [name, blob] of blobs) {
        signal?.throwIfAborted();
        yield { name, sizeBytes: blob.length };
      }
    },
    async delete(name, signal) {
      assertBlobName(name);
      signal?.throwIfAborted();
      blobs.delete(name);
    },
    async createRef(name, bytes, signal) {
      assertRefName(name);
      assertRefBytes(name, bytes);
      signal?.throwIfAborted();
      if (refs.has(name)) return "exists";
      refs.set(name, bytes.slice());
      return "created";
    },
    async readRef(name, signal) {
      assertRefName(name);
      signal?.throwIfAborted();
      const bytes = refs.get(name);
      if (bytes === undefined) throw missing(`ref ${name}`);
      return bytes.slice();
    },
    async listRefs(prefix, signal) {
      signal?.throwIfAborted();
      return [...refs.keys()].filter((name) => name.startsWith(prefix)).toSorted();
    },
    async deleteRef(name, signal) {
      assertRefName(name);
      signal?.throwIfAborted();
      refs.delete(name);
    },
    async close() {},
  };
}
