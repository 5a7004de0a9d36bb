/** Every blob store runs the one contract. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BlobStore } from "../../src/blob/blob-store.ts";
import { openFileStore } from "../../src/blob/file-store.ts";
import { createMemoryStore, emptyContents } from "../../src/blob/memory-store.ts";
import { openObjectStore } from "../../src/blob/objects/object-store.ts";
import { openCasStore } from "../../src/blob/cas/cas-store.ts";
import { CAS_TOKEN, startCasServer } from "../support/cas-server.ts";
import { memoryObjects } from "../support/memory-objects.ts";
import { openCacheDirectory } from "../../src/blob/wrap/cache-directory.ts";
import { withCache } from "../../src/blob/wrap/cached-store.ts";
import { withCounters } from "../../src/blob/wrap/counted.ts";
import { withLimit } from "../../src/blob/wrap/limit.ts";
import { RETRY_DEFAULTS, withRetry } from "../../src/blob/wrap/retry.ts";
import { describeBlobStore } from "./blob-store.ts";

describeBlobStore({
  name: "a blob store in memory",
  open: async () => {
    const contents = emptyContents();
    return {
      store: createMemoryStore(contents),
      reopen: async () => createMemoryStore(contents),
      [Symbol.asyncDispose]: async () => {},
    };
  },
});

// With few descriptors, so that blobs are opened and closed all the time.
for (const openMost of [256, 2]) {
  describeBlobStore({
    name: `a blob store in a directory, at most ${openMost} blobs open`,
    open: async () => {
      const directory = mkdtempSync(join(tmpdir(), "voe-blobs-"));
      const path = join(directory, "store");
      return {
        store: await openFileStore(path, { create: true, openMost }),
        reopen: () => openFileStore(path, { create: false, openMost }),
        [Symbol.asyncDispose]: async () => rmSync(directory, { recursive: true, force: true }),
      };
    },
  });
}

for (const creation of ["once", "refused"] as const) {
  describeBlobStore({
    name: `a blob store of objects in memory, created conditionally: ${creation}`,
    open: async () => {
      const service = memoryObjects();
      service.behaviour = { creation, refuses: [] };
      const open = (create: boolean) => openObjectStore({ service, prefix: "a/", create, probesCreation: true });
      return {
        store: await open(true),
        reopen: () => open(false),
        [Symbol.asyncDispose]: async () => {},
      };
    },
  });
}

for (const namespace of ["", "host7"]) {
  describeBlobStore({
    name: `a blob store in a CAS server, ${namespace === "" ? "without a namespace" : "in a namespace"}`,
    checksNames: true,
    open: async () => {
      const under = await startCasServer();
      const open = () => openCasStore({ endpoint: under.server.url + namespace, token: CAS_TOKEN });
      return { store: await open(), reopen: open, [Symbol.asyncDispose]: () => under[Symbol.asyncDispose]() };
    },
  });
}

// With a small cache, so that packs go and are fetched again all the time.
for (const limitBytes of [2 ** 30, 2 ** 20]) {
  describeBlobStore({
    name: `a store far away behind all wrappers, with ${limitBytes / 2 ** 20} MiB of cache`,
    open: async () => {
      const directory = mkdtempSync(join(tmpdir(), "voe-cache-"));
      const contents = emptyContents();
      const open = async (): Promise<BlobStore> => {
        const { store } = withCounters(createMemoryStore(contents), Date.now);
        const limited = withLimit(withRetry(store, RETRY_DEFAULTS), {
          transfers: 4,
          uploadBytesPerSecond: undefined,
          downloadBytesPerSecond: undefined,
        });
        const cache = {
          directory: (await openCacheDirectory(directory))!,
          limitBytes,
          background: limited.background,
          aheadMost: 4,
          report: () => {},
        };
        return withCache(limited.store, cache).store;
      };
      return {
        store: await open(),
        reopen: open,
        [Symbol.asyncDispose]: async () => rmSync(directory, { recursive: true, force: true }),
      };
    },
  });
}
