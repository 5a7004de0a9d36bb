/** A store behind counters, retries, limits and a cache is a blob store like any other. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BlobStore } from "../../src/blob/blob-store.ts";
import { createMemoryStore, emptyContents } from "../../src/blob/memory-store.ts";
import { withWrappers } from "../../src/server/open-blob-store.ts";
import { describeBlobStore } from "./blob-store.ts";

// With a small cache packs go and are fetched again all the time.
for (const sizeBytes of [2 ** 30, 2 ** 20]) {
  describeBlobStore({
    name: `a store far away behind all wrappers, with ${sizeBytes / 2 ** 20} MiB of cache`,
    open: async () => {
      const directory = mkdtempSync(join(tmpdir(), "voe-cache-"));
      const contents = emptyContents();
      const config = {
        cache: { path: directory, sizeBytes },
        transfers: { atOnce: 4, uploadBytesPerSecond: undefined, downloadBytesPerSecond: undefined },
      };
      const open = async (): Promise<BlobStore> =>
        (await withWrappers(createMemoryStore(contents), config, "memory", () => {})).blobs;
      return {
        store: await open(),
        reopen: open,
        [Symbol.asyncDispose]: async () => rmSync(directory, { recursive: true, force: true }),
      };
    },
  });
}
