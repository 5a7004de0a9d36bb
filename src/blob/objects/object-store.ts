/**
 * A blob store in a service that keeps objects under keys. The keys are the paths of a file store (file-store.ts), after
 * the prefix: a directory that is copied there is a store, and the other way round.
 */
import {
  assertBlobName,
  assertRefBytes,
  assertRefName,
  assertTarget,
  BlobStoreError,
  isBlobName,
  isRefName,
  REF_MOST_BYTES,
  type BlobInfo,
  type BlobStore,
} from "../blob-store.ts";
import { checkMarker, MARKER, MARKER_MOST_BYTES, markerBytes } from "../store-marker.ts";
import type { ObjectService } from "./object-service.ts";

export interface ObjectStoreOptions {
  readonly service: ObjectService;
  /** Before every key; may be empty. */
  readonly prefix: string;
  /** Whether the store may be created where there is nothing yet; without, that is refused as a wrong place. */
  readonly create: boolean;
  /** Whether to try if the service creates an object only where there is none; false: it is known not to. */
  readonly probesCreation: boolean;
  /** Whether the service is known to do that: then it is not tried. */
  readonly createsOnce?: boolean;
}

const REFS = "refs/";
/** Keys below it are tried out when a store is opened, and mean nothing. */
const PROBES = "probes/";

const blobKey = (name: string): string => `${name.slice(0, 2)}/${name.slice(2)}`;

/**
 * Opens the store under `prefix`, recognised by its marker. Rejects with `missing` where there is none and it may not be
 * created, with `corrupt` where there is something else or the marker is damaged, and with whatever the service says of
 * wrong credentials and the like. Nothing is written to a place that is refused.
 */
export async function openObjectStore(options: ObjectStoreOptions): Promise<BlobStore> {
  const { service, prefix } = options;
  assertPrefix(prefix);
  const place = prefix === "" ? service.description : `${service.description}/${prefix}`;
  await openMarker(options, place);
  const atomicRefs =
    options.createsOnce === true ||
    (options.probesCreation && (await createsOnce(service, `${prefix}${PROBES}`, place)));
  return objectStore(service, prefix, place, atomicRefs);
}

/** Throws RangeError where a prefix would be another one in a URL, which leaves out "." and "..". */
export function assertPrefix(prefix: string): void {
  if (prefix.split("/").some((part) => part === "." || part === "..")) {
    throw new RangeError(`the prefix "${prefix}" has "." or ".." between slashes, which no URL can have`);
  }
}

async function openMarker({ service, prefix, create }: ObjectStoreOptions, place: string): Promise<void> {
  const key = prefix + MARKER;
  const what = `the ${place} could not be opened`;
  try {
    checkMarker(`the ${place}`, await service.read(key, MARKER_MOST_BYTES, what));
    return;
  } catch (error) {
    if (!(error instanceof BlobStoreError && error.failure === "missing")) throw error;
  }
  if (!create) {
    throw new BlobStoreError(
      "missing",
      `the ${place} is no blob store, it has no ${MARKER}: are bucket and prefix right? A host that has used it before ` +
        `creates no other in its place; restore ${MARKER} from a copy if it was deleted`,
    );
  }
  for await (const page of service.list(prefix, what)) {
    const strangers = page.map((object) => object.key.slice(prefix.length)).filter((rest) => !rest.startsWith(PROBES));
    if (strangers.length === 0) continue;
    throw new BlobStoreError(
      "corrupt",
      `the ${place} is neither a blob store, it has no ${MARKER}, nor empty, it has ${strangers.slice(0, 3).join(", ")}: ` +
        `name a prefix under which there is nothing for a new store, or restore ${MARKER} from a copy if this was one`,
    );
  }
  await service.put(key, markerBytes(), `the ${place} could not be created`);
}

/**
 * Whether of two creations of one fresh key the first is done and the second is told that it exists. A service may
 * refuse the condition (Backblaze B2), or not heed it: then it creates nothing once.
 */
async function createsOnce(service: ObjectService, prefix: string, place: string): Promise<boolean> {
  const key = prefix + crypto.randomUUID();
  const what = `whether the ${place} creates an object only once could not be found out`;
  const bytes = new Uint8Array(1);
  try {
    let first: "created" | "exists";
    try {
      first = await service.create(key, bytes, what);
    } catch (error) {
      if (error instanceof BlobStoreError && error.failure === "unavailable") throw error;
      // Was it the condition that is refused, or everything that is stored?
      await service.put(key, bytes, what);
      return false;
    }
    return first === "created" && (await service.create(key, bytes, what)) === "exists";
  } finally {
    // Credentials that may not delete are as good: what stays has one byte.
    await service.delete(key, what).catch(() => {});
  }
}

function objectStore(service: ObjectService, prefix: string, place: string, atomicRefs: boolean): BlobStore {
  const underWay = new Set<Promise<unknown>>();
  let closed = false;

  const assertOpen = (): void => {
    if (closed) throw new RangeError(`the ${place} is closed`);
  };
  /** Runs an operation that `close` waits for. */
  const run = <T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> => {
    assertOpen();
    signal?.throwIfAborted();
    const operation = work();
    underWay.add(operation);
    const done = (): void => void underWay.delete(operation);
    operation.then(done, done);
    return operation;
  };
  const keyOfBlob = (name: string): string => {
    assertBlobName(name);
    return prefix + blobKey(name);
  };
  const keyOfRef = (name: string): string => {
    assertRefName(name);
    return prefix + REFS + name;
  };
  const blob = (name: string, done: string): string => `blob ${name} could not be ${done} the ${place}`;
  const ref = (name: string, done: string): string => `ref ${name} could not be ${done} the ${place}`;

  const exists = async (key: string, what: string, signal: AbortSignal | undefined): Promise<boolean> => {
    try {
      await service.size(key, what, signal);
      return true;
    } catch (error) {
      if (error instanceof BlobStoreError && error.failure === "missing") return false;
      throw error;
    }
  };

  return {
    description: place,
    atomicRefs,

    async put(name, bytes, signal) {
      const key = keyOfBlob(name);
      await run(signal, () => service.put(key, bytes, blob(name, "stored in"), signal));
    },

    async get(name, offsetBytes, lengthBytes, target, at, signal) {
      const key = keyOfBlob(name);
      assertTarget(offsetBytes, lengthBytes, target, at);
      const what = blob(name, "read in");
      await run(signal, async () => {
        let sizeBytes: number | undefined;
        if (lengthBytes > 0) {
          sizeBytes = await service.get(key, offsetBytes, lengthBytes, target, at, what, signal);
          if (sizeBytes === undefined) return;
        } else {
          sizeBytes = await service.size(key, what, signal);
          if (offsetBytes <= sizeBytes) return;
        }
        throw new BlobStoreError(
          "truncated",
          `blob ${name} in the ${place} ends at byte ${sizeBytes}, and ${lengthBytes} at ${offsetBytes} were asked for: ` +
            `it is damaged, restore it from a copy`,
        );
      });
    },

    tryGet(name, offsetBytes, lengthBytes, target, at) {
      assertTarget(offsetBytes, lengthBytes, target, at);
      assertBlobName(name);
      return false;
    },

    async forgetCached(name, signal) {
      // Nothing is cached on the way: only whether it is there is to be told.
      const key = keyOfBlob(name);
      await run(signal, () => service.size(key, blob(name, "found in"), signal));
    },

    async size(name, signal) {
      const key = keyOfBlob(name);
      return await run(signal, () => service.size(key, blob(name, "found in"), signal));
    },

    async *list(signal) {
      assertOpen();
      signal?.throwIfAborted();
      for await (const page of service.list(prefix, `the blobs of the ${place} could not be listed`, signal)) {
        for (const { key, sizeBytes } of page) {
          const info = blobOf(key.slice(prefix.length), sizeBytes);
          if (info !== undefined) yield info;
        }
        signal?.throwIfAborted();
      }
    },

    async delete(name, signal) {
      const key = keyOfBlob(name);
      await run(signal, () => service.delete(key, blob(name, "deleted in"), signal));
    },

    async createRef(name, bytes, signal) {
      const key = keyOfRef(name);
      assertRefBytes(name, bytes);
      const what = ref(name, "created in");
      return await run(signal, async () => {
        if (atomicRefs) return await service.create(key, bytes, what, signal);
        if (await exists(key, what, signal)) return "exists";
        await service.put(key, bytes, what, signal);
        return "created";
      });
    },

    async readRef(name, signal) {
      const key = keyOfRef(name);
      return await run(signal, async () => {
        const bytes = await service.read(key, REF_MOST_BYTES, ref(name, "read in"), signal);
        if (bytes.length <= REF_MOST_BYTES) return bytes;
        throw new BlobStoreError(
          "corrupt",
          `ref ${name} in the ${place} has more than the ${REF_MOST_BYTES} bytes that voe writes: restore it from a copy`,
        );
      });
    },

    async listRefs(namePrefix, signal) {
      const keys = prefix + REFS;
      return await run(signal, async () => {
        const names: string[] = [];
        for await (const page of service.list(
          keys + namePrefix,
          `the refs of the ${place} could not be listed`,
          signal,
        )) {
          for (const { key } of page) names.push(key.slice(keys.length));
        }
        return names.filter(isRefName).toSorted();
      });
    },

    async deleteRef(name, signal) {
      const key = keyOfRef(name);
      await run(signal, () => service.delete(key, ref(name, "deleted in"), signal));
    },

    async close() {
      closed = true;
      await Promise.allSettled(underWay);
    },
  };
}

/** What a key after the prefix says of a blob, or undefined where it is none. */
function blobOf(key: string, sizeBytes: number): BlobInfo | undefined {
  if (key[2] !== "/") return undefined;
  const name = key.slice(0, 2) + key.slice(3);
  return isBlobName(name) ? { name, sizeBytes } : undefined;
}
