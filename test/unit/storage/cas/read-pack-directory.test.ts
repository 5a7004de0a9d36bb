import { expect, test } from "bun:test";
import { createHasher } from "../../../../src/base/hash.ts";
import { BlobStoreError, type BlobStore } from "../../../../src/blob/blob-store.ts";
import { createMemoryStore } from "../../../../src/blob/memory-store.ts";
import { FOOTER_BYTES, KIND_DATA, packBlobName } from "../../../../src/storage/cas/pack-format.ts";
import { readPackDirectory } from "../../../../src/storage/cas/read-pack-directory.ts";
import { failureOf } from "../../../support/blob-requests.ts";
import { append, makeBlocks, makeBuilder, packOf } from "../../../support/packed-blocks.ts";

const hasher = createHasher("blake3");

/** A store that writes down which ranges are read. */
function watched(): { store: BlobStore; reads: [offset: number, length: number][] } {
  const store = createMemoryStore();
  const reads: [number, number][] = [];
  return {
    store: {
      ...store,
      get: (name, offset, length, ...rest) => {
        reads.push([offset, length]);
        return store.get(name, offset, length, ...rest);
      },
    },
    reads,
  };
}

test("the directory of a large pack is read from its end, in one read and without its blocks", async () => {
  const { store, reads } = watched();
  const pack = packOf(makeBlocks(300, 1));
  await store.put(packBlobName(pack.name), pack.bytes);
  const read = await readPackDirectory(store, pack.name, hasher);
  if ("reason" in read) throw new Error(read.reason);
  expect(Buffer.compare(read.directory.bytes, pack.directory.bytes)).toBe(0);
  expect(read.footer.packBytes).toBe(pack.bytes.length);
  expect(reads.length).toBe(1);
  expect(reads[0]![1]).toBeLessThan(pack.bytes.length / 10);
});

test("a directory that is larger than usual takes a second read", async () => {
  const { store, reads } = watched();
  const builder = makeBuilder({ targetBytes: 2 ** 20 });
  const zeros = { bytes: new Uint8Array(512), hash: new Uint8Array(32), kind: KIND_DATA } as const;
  while (append(builder, zeros) >= 0);
  const pack = builder.finish();
  await store.put(packBlobName(pack.name), pack.bytes);
  const read = await readPackDirectory(store, pack.name, hasher);
  if ("reason" in read) throw new Error(read.reason);
  expect(read.directory.entryCount).toBe(pack.directory.entryCount);
  expect(reads.length).toBe(2);
  expect(reads[1]).toEqual([read.footer.directoryOffsetBytes, read.footer.directoryBytes]);
  builder.free();
});

test("a directory is read though the blocks before it lie on a bad sector", async () => {
  const store = createMemoryStore();
  const pack = packOf(makeBlocks(3, 2));
  await store.put(packBlobName(pack.name), pack.bytes);
  const failing: BlobStore = {
    ...store,
    get: (name, offset, length, target, at) =>
      offset === 0
        ? Promise.reject(new BlobStoreError("unavailable", "EIO"))
        : store.get(name, offset, length, target, at),
  };
  expect(await readPackDirectory(failing, pack.name, hasher)).toHaveProperty("directory.entryCount", 3);
});

test("what is no pack is told as damage, what is not there as missing", async () => {
  const store = createMemoryStore();
  const pack = packOf(makeBlocks(3, 2));
  const blobName = packBlobName(pack.name);
  expect(await failureOf(readPackDirectory(store, pack.name, hasher))).toBe("missing");
  const damagedDirectory = pack.bytes.slice();
  damagedDirectory[pack.bytes.length - FOOTER_BYTES - 1]! ^= 1;
  for (const bytes of [new Uint8Array(0), new Uint8Array(10), pack.bytes.slice(0, -1), damagedDirectory]) {
    await store.put(blobName, bytes);
    expect(await readPackDirectory(store, pack.name, hasher)).toHaveProperty("reason");
  }
});

test("a cancelled read rejects with the signal's reason", async () => {
  const store = createMemoryStore();
  const pack = packOf(makeBlocks(3, 2));
  await store.put(packBlobName(pack.name), pack.bytes);
  const signal = AbortSignal.abort(new Error("no longer wanted"));
  expect(await failureOf(readPackDirectory(store, pack.name, hasher, signal))).toContain("no longer wanted");
});

test("a directory that is damaged in a cache on the way is read once more past it, and one of the medium is damage", async () => {
  const { store } = watched();
  const pack = packOf(makeBlocks(30, 3));
  const name = packBlobName(pack.name);
  const damaged = pack.bytes.slice();
  damaged[damaged.length - FOOTER_BYTES - 5]! ^= 1;
  await store.put(name, damaged);
  expect(await readPackDirectory(store, pack.name, hasher)).toHaveProperty("reason");
  let forgotten = 0;
  const cached: BlobStore = {
    ...store,
    async forgetCached() {
      forgotten++;
      await store.put(name, pack.bytes);
    },
  };
  const read = await readPackDirectory(cached, pack.name, hasher);
  if ("reason" in read) throw new Error(read.reason);
  expect(Buffer.compare(read.directory.bytes, pack.directory.bytes)).toBe(0);
  expect(forgotten).toBe(1);
});
