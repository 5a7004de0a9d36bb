/** A service of objects in memory, for what openObjectStore does above every service. */
import { BlobStoreError } from "../../src/blob/blob-store.ts";
import type { ObjectInfo, ObjectService } from "../../src/blob/objects/object-service.ts";

export interface MemoryObjects extends ObjectService {
  readonly objects: Map<string, Uint8Array>;
  /** What it does about the condition of `create`, and which operations it refuses. Tests change them. */
  behaviour: { creation: "once" | "refused" | "not heeded" | "never"; refuses: readonly string[] };
}

/** Pages have 100 objects. */
const PAGE = 100;

export function memoryObjects(): MemoryObjects {
  const objects = new Map<string, Uint8Array>();
  const service: MemoryObjects = {
    description: "service in memory",
    objects,
    behaviour: { creation: "once", refuses: [] },
    async put(key, bytes, what, signal) {
      check("put", what, signal);
      objects.set(key, bytes.slice());
    },
    async create(key, bytes, what, signal) {
      check("create", what, signal);
      const { creation } = service.behaviour;
      if (creation === "refused") throw new BlobStoreError("denied", `${what} (501 NotImplemented)`);
      if (creation === "never" || (creation === "once" && objects.has(key))) return "exists";
      objects.set(key, bytes.slice());
      return "created";
    },
    async get(key, offsetBytes, lengthBytes, target, at, what, signal) {
      check("get", what, signal);
      const bytes = objectOf(key, what);
      if (offsetBytes + lengthBytes > bytes.length) return bytes.length;
      target.bytes.set(bytes.subarray(offsetBytes, offsetBytes + lengthBytes), at);
      return undefined;
    },
    async read(key, mostBytes, what, signal) {
      check("read", what, signal);
      return objectOf(key, what).slice(0, mostBytes + 1);
    },
    async size(key, what, signal) {
      check("size", what, signal);
      return objectOf(key, what).length;
    },
    async *list(prefix, what, signal) {
      const found: ObjectInfo[] = [];
      for (const [key, { length }] of objects) if (key.startsWith(prefix)) found.push({ key, sizeBytes: length });
      for (let at = 0; at < found.length; at += PAGE) {
        check("list", what, signal);
        yield found.slice(at, at + PAGE);
      }
    },
    async delete(key, what, signal) {
      check("delete", what, signal);
      objects.delete(key);
    },
  };
  const check = (operation: string, what: string, signal: AbortSignal | undefined): void => {
    signal?.throwIfAborted();
    if (service.behaviour.refuses.includes(operation)) throw new BlobStoreError("denied", `${what} (403)`);
  };
  const objectOf = (key: string, what: string): Uint8Array => {
    const bytes = objects.get(key);
    if (bytes === undefined) throw new BlobStoreError("missing", `${what} (404)`);
    return bytes;
  };
  return service;
}
