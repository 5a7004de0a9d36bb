/** Every blob store runs the one contract. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openFileStore } from "../../src/blob/file-store.ts";
import { createMemoryStore, emptyContents } from "../../src/blob/memory-store.ts";
import { openObjectStore } from "../../src/blob/objects/object-store.ts";
import { openCasStore } from "../../src/blob/cas/cas-store.ts";
import { CAS_TOKEN, startCasServer } from "../support/cas-server.ts";
import { memoryObjects } from "../support/memory-objects.ts";
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
