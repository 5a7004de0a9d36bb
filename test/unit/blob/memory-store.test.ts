import { expect, test } from "bun:test";
import { createMemoryStore, emptyContents } from "../../../src/blob/memory-store.ts";
import { getBytes, listAll } from "../../support/blob-requests.ts";
import { makeNamedBlob } from "../../support/named-blob.ts";

test("a store that is opened on the contents of another finds its blobs and refs", async () => {
  const contents = emptyContents();
  const { name, bytes } = makeNamedBlob(100, 1);
  const first = createMemoryStore(contents);
  await first.put(name, bytes);
  await first.createRef("root", bytes);
  const second = createMemoryStore(contents);
  expect(await getBytes(second, name, 0, 100)).toEqual(bytes);
  expect(await second.readRef("root")).toEqual(bytes);
});

test("what is read can be changed without changing what is stored", async () => {
  const store = createMemoryStore();
  const { bytes } = makeNamedBlob(100, 1);
  await store.createRef("root", bytes);
  (await store.readRef("root")).fill(0);
  expect(await store.readRef("root")).toEqual(bytes);
  expect(await listAll(store)).toEqual([]);
});
