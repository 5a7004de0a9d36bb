import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RemoteConfig } from "../../../src/config/config.ts";
import { openBlobStore, withWrappers } from "../../../src/server/open-blob-store.ts";
import { failureOf, getBytes } from "../../support/blob-requests.ts";
import { faultyStore } from "../../support/faulty-store.ts";
import { manualLoop } from "../../support/manual-loop.ts";
import { makeNamedBlob } from "../../support/named-blob.ts";

const blob = makeNamedBlob(1000, 1);
let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "voe-open-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const remoteConfig = (): RemoteConfig => ({
  ca: undefined,
  cache: { path: join(directory, "cache"), sizeBytes: 2 ** 20 },
  transfers: { atOnce: 4, uploadBytesPerSecond: undefined, downloadBytesPerSecond: undefined },
});

test("a directory is used as it is", async () => {
  const options = { create: true, report() {} };
  const store = await openBlobStore({ type: "file", path: join(directory, "store") }, options);
  expect(store.remote()).toBeUndefined();
  expect(store.packsAtOnce).toBeUndefined();
  await store.blobs.close();
});

test("a store far away is tried again, cached and counted", async () => {
  using loop = manualLoop();
  const faulty = faultyStore();
  const store = await withWrappers(faulty.store, remoteConfig(), "s3:a", () => {});
  faulty.failures.push("unavailable");
  const put = store.blobs.put(blob.name, blob.bytes);
  await loop.advance(1000);
  await put;
  expect(Buffer.compare(await getBytes(store.blobs, blob.name, 0, 100), blob.bytes.subarray(0, 100))).toBe(0);
  expect(store.packsAtOnce).toBe(5);
  expect(store.remote()).toMatchObject({
    requests: { put: { requests: 2, errors: 1, bytes: 1000 }, get: { requests: 0 } },
    transfers: { uploads: 0, downloads: 0, waiting: 0 },
    cache: { packs: 1, hits: 1, misses: 0, usedBytes: 1000, limitBytes: 2 ** 20 },
    awaySinceMs: undefined,
  });
  await store.blobs.close();
});

test("two stores have their caches apart in one cache_path", async () => {
  const one = await withWrappers(faultyStore().store, remoteConfig(), "s3:a", () => {});
  const other = await withWrappers(faultyStore().store, remoteConfig(), "s3:b", () => {});
  await one.blobs.put(blob.name, blob.bytes);
  expect(other.remote()?.cache?.packs).toBe(0);
  expect(readdirSync(join(directory, "cache")).length).toBe(2);
  await one.blobs.close();
  await other.blobs.close();
});

test("without a usable cache the store is used all the same, and it is said", async () => {
  writeFileSync(join(directory, "cache"), "a file");
  const reports: string[] = [];
  const report = (_: string, message: string): void => void reports.push(message);
  const faulty = faultyStore();
  const store = await withWrappers(faulty.store, remoteConfig(), "s3:a", report);
  await store.blobs.put(blob.name, blob.bytes);
  expect((await getBytes(store.blobs, blob.name, 0, 100)).length).toBe(100);
  expect(store.remote()?.cache).toBeUndefined();
  expect(reports).toEqual([expect.stringContaining("is used without a cache")]);
  await store.blobs.close();
});

test("a cache that another has is left to it", async () => {
  const reports: string[] = [];
  const first = await withWrappers(faultyStore().store, remoteConfig(), "s3:a", () => {});
  const second = await withWrappers(
    faultyStore().store,
    remoteConfig(),
    "s3:a",
    (_, message) => void reports.push(message),
  );
  expect(reports).toEqual([expect.stringContaining("another process has")]);
  await first.blobs.close();
  await second.blobs.close();
});

test("in a hurry a store that is away is not waited for, and one that is there has some seconds", async () => {
  using loop = manualLoop();
  const faulty = faultyStore();
  const store = await withWrappers(faulty.store, remoteConfig(), "s3:a", () => {});
  const takeBack = store.hurry();
  faulty.failures.push("unavailable");
  const put = store.blobs.put(blob.name, blob.bytes);
  await loop.advance(1000);
  await put;
  takeBack();
  faulty.failures.push(...Array.from({ length: 50 }, () => "unavailable" as const));
  const failing = failureOf(store.blobs.put(blob.name, blob.bytes));
  await loop.advance(1000);
  store.hurry();
  await loop.advance(1);
  expect(await failing).toBe("unavailable");
  await store.blobs.close();
});
