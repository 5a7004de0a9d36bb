/** An upload to Ceph during which the process that keeps the objects is killed: requests hang then, rather than fail. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { openS3Store } from "../../src/blob/s3/s3-store.ts";
import type { BlobStore } from "../../src/blob/blob-store.ts";
import { RETRY_DEFAULTS, withRetry } from "../../src/blob/wrap/retry.ts";
import { failureOf, getBytes, listAll } from "../support/blob-requests.ts";
import { makeNamedBlob } from "../support/named-blob.ts";
import { missingForRadosgw, RADOSGW_BUCKET, startRadosgw, type Radosgw } from "../support/object-stores/radosgw.ts";
import { titleUnless } from "../support/requirements.ts";

const missing = missingForRadosgw();

describe.skipIf(missing !== undefined)(titleUnless(missing, "Ceph whose OSD is killed"), () => {
  let server: Radosgw;
  beforeAll(async () => {
    server = await startRadosgw("bluestore");
  }, 60_000);
  afterAll(() => server?.stop());

  const open = (stallTimeoutMs: number): Promise<BlobStore> =>
    openS3Store({
      endpoint: server.endpoint,
      bucket: RADOSGW_BUCKET,
      prefix: "host1/",
      region: server.region,
      style: "auto",
      credentials: () => server.credentials,
      create: true,
      conditionalWrites: true,
      stallTimeoutMs,
    });

  test("everything is unavailable meanwhile, and an upload is complete once it is back", async () => {
    const bare = await open(1500);
    const store = withRetry(bare, RETRY_DEFAULTS);
    const blobs = Array.from({ length: 24 }, (_, seed) => makeNamedBlob(2 ** 20 + seed, seed));
    let killed: Promise<void> | undefined;
    const left = [...blobs];
    let storedCount = 0;
    const upload = async (): Promise<void> => {
      for (let blob = left.pop(); blob !== undefined; blob = left.pop()) {
        await store.put(blob.name, blob.bytes);
        if (++storedCount === 6) killed = server.killOsd();
      }
    };
    const uploads = Array.from({ length: 4 }, upload);
    while (killed === undefined) await Bun.sleep(1);
    await killed;
    const storedBefore = storedCount;
    expect(storedBefore).toBeLessThan(blobs.length);
    expect(await failureOf(bare.put(blobs[0]!.name, blobs[0]!.bytes))).toBe("unavailable");
    expect(await failureOf(bare.createRef("roots/1", blobs[0]!.bytes.subarray(0, 100)))).toBe("unavailable");
    await server.startOsd();
    await Promise.all(uploads);
    expect(storedCount).toBe(blobs.length);
    const ref = blobs[0]!.bytes.subarray(0, 100);
    // The one whose answer was lost may have been stored in the end: nobody else's it is.
    await store.createRef("roots/1", ref);
    expect(Buffer.compare(await store.readRef("roots/1"), ref)).toBe(0);
    expect(await listAll(store)).toEqual(
      blobs
        .map(({ name, bytes }) => ({ name, sizeBytes: bytes.length }))
        .toSorted((one, other) => (one.name < other.name ? -1 : 1)),
    );
    for (const { name, bytes } of blobs) {
      expect(Buffer.compare(await getBytes(store, name, 0, bytes.length), bytes)).toBe(0);
    }
    await store.close();
  }, 60_000);
});
