/** What stands between an archive and its bucket, alone: packs read from front to back, nothing of them cached. */
import { allocateMemory, freeMemory } from "../../ffi/memory.ts";
import { openS3Store } from "../../src/blob/s3/s3-store.ts";
import { withWrappers } from "../../src/server/open-blob-store.ts";
import type { Bucket } from "./plain-clients.ts";

/** As the archive reads ahead: it asks for a quarter of a MiB, and tells of 4 MiB more. */
const READ_BYTES = 256 * 1024;
const AHEAD_BYTES = 4 * 2 ** 20;
const TOLD_BYTES = 2 ** 20;
const GIB = 2 ** 30;

/** Seconds a reader takes for all packs below the prefix, one after the other, through counters, retries, limit and cache. */
export async function measureWrapper(bucket: Bucket, prefix: string, cachePath: string): Promise<number> {
  const { endpoint, region, credentials } = bucket;
  const bare = await openS3Store({
    endpoint,
    region,
    bucket: bucket.bucket,
    credentials: () => credentials,
    prefix,
    style: "path",
    create: false,
    conditionalWrites: true,
  });
  const remote = {
    ca: undefined,
    cache: { path: cachePath, sizeBytes: 8 * GIB },
    transfers: { atOnce: 4, uploadBytesPerSecond: undefined, downloadBytesPerSecond: undefined },
  };
  const { blobs } = await withWrappers(bare, remote, "bench", (_, message) => console.error(message));
  const memory = allocateMemory(READ_BYTES);
  try {
    const packs = await Array.fromAsync(blobs.list());
    const began = performance.now();
    for (const [number, { name, sizeBytes }] of packs.entries()) {
      const next = packs[number + 1];
      for (let at = 0; at < sizeBytes; at += READ_BYTES) {
        if (at % TOLD_BYTES === 0) {
          const ahead = Math.min(AHEAD_BYTES, sizeBytes - at);
          blobs.willRead?.(name, at, ahead);
          if (ahead < AHEAD_BYTES && next !== undefined) blobs.willRead?.(next.name, 0, AHEAD_BYTES - ahead);
        }
        const length = Math.min(READ_BYTES, sizeBytes - at);
        if (!blobs.tryGet(name, at, length, memory, 0)) await blobs.get(name, at, length, memory, 0);
      }
    }
    return (performance.now() - began) / 1000;
  } finally {
    await blobs.close();
    freeMemory(memory);
  }
}
