import { expect, test } from "bun:test";
import { resolve } from "node:path";
import { blobStoreKey } from "../../../src/config/blob-store-key.ts";
import type { BlobStoreConfig, S3StoreConfig } from "../../../src/config/config.ts";
import { Secret } from "../../../src/config/secret.ts";

const ca = undefined;
const cache = { path: "/cache", sizeBytes: 1 };
const transfers = { atOnce: 4, uploadBytesPerSecond: undefined, downloadBytesPerSecond: undefined };
const s3: S3StoreConfig = {
  type: "s3",
  bucket: "b",
  prefix: "p/",
  region: "us-west-004",
  endpoint: "https://s3.us-west-004.backblazeb2.com",
  style: "auto",
  credentials: { accessKeyId: "id", secretAccessKey: new Secret("hunter2"), sessionToken: new Secret("hunter2") },
  credentialsFile: undefined,
  ca,
  cache,
  transfers,
};

test("a directory is one store however its path is written", () => {
  expect(blobStoreKey({ type: "file", path: "blobs" })).toBe(
    blobStoreKey({ type: "file", path: resolve("x/../blobs/") }),
  );
});

test("a bucket is one store whatever its type, cache and credentials", () => {
  expect(blobStoreKey({ ...s3, type: "b2", credentials: undefined, cache: { path: "/d", sizeBytes: 2 } })).toBe(
    blobStoreKey(s3),
  );
});

test("every other place is another store", () => {
  const stores: BlobStoreConfig[] = [
    { type: "file", path: "/b" },
    { type: "file", path: "/c" },
    s3,
    { ...s3, bucket: "c" },
    { ...s3, prefix: "" },
    { ...s3, endpoint: "https://s3.example.com" },
    {
      type: "azure",
      account: "a",
      container: "b",
      prefix: "p/",
      endpoint: s3.endpoint,
      accountKey: undefined,
      sas: undefined,
      credentialsFile: undefined,
      ca,
      cache,
      transfers,
    },
    { type: "cas", endpoint: s3.endpoint, token: undefined, tokenFile: undefined, ca, cache, transfers },
  ];
  expect(new Set(stores.map(blobStoreKey)).size).toBe(stores.length);
});

test("a key has no secret in it", () => {
  const keyed = blobStoreKey({
    type: "cas",
    endpoint: "http://a:1",
    token: new Secret("hunter2"),
    tokenFile: undefined,
    ca,
    cache,
    transfers,
  });
  expect(blobStoreKey(s3) + keyed).not.toContain("hunter2");
});
