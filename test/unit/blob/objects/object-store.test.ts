import { beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BlobStore } from "../../../../src/blob/blob-store.ts";
import { openFileStore } from "../../../../src/blob/file-store.ts";
import { assertPrefix, openObjectStore } from "../../../../src/blob/objects/object-store.ts";
import { failureOf, getBytes, listAll } from "../../../support/blob-requests.ts";
import { memoryObjects, type MemoryObjects } from "../../../support/memory-objects.ts";
import { makeNamedBlob } from "../../../support/named-blob.ts";
import { reasonOf } from "../../../support/reason-of.ts";

const blob = makeNamedBlob(1000, 1);
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
let service: MemoryObjects;
beforeEach(() => {
  service = memoryObjects();
});
const open = (create: boolean, prefix = "host1/", probesCreation = true): Promise<BlobStore> =>
  openObjectStore({ service, prefix, create, probesCreation });

test("a new store has a marker and nothing else, and is found again", async () => {
  const store = await open(true);
  expect([...service.objects.keys()]).toEqual(["host1/voe-store.json"]);
  expect(store.description).toBe("service in memory/host1/");
  expect(store.atomicRefs).toBe(true);
  expect(await listAll(await open(false))).toEqual([]);
});

test("where nothing may be created, a place without a marker is refused and nothing is written", async () => {
  expect(await failureOf(open(false))).toBe("missing");
  expect(await reasonOf(open(false))).toContain("has no voe-store.json: are bucket and prefix right?");
  expect(service.objects.size).toBe(0);
});

test("a place with something else in it is refused, with its name, and nothing is written", async () => {
  service.objects.set("host1/holiday.jpg", new Uint8Array(1));
  expect(await failureOf(open(true))).toBe("corrupt");
  expect(await reasonOf(open(true))).toContain("holiday.jpg");
  expect([...service.objects.keys()]).toEqual(["host1/holiday.jpg"]);
});

test("what is under other prefixes is in nobody's way", async () => {
  service.objects.set("host2/holiday.jpg", new Uint8Array(1));
  const store = await open(true);
  await store.put(blob.name, blob.bytes);
  const other = await open(true, "host11/");
  expect(await listAll(other)).toEqual([]);
  expect(await listAll(store)).toEqual([{ name: blob.name, sizeBytes: 1000 }]);
});

test("a store that lost its marker is refused, though its refs are all that is left", async () => {
  const store = await open(true);
  await store.createRef("root", bytesOf("x"));
  service.objects.delete("host1/voe-store.json");
  expect(await reasonOf(open(true))).toContain("refs/root");
  expect(await failureOf(open(false))).toBe("missing");
});

test("a marker that is damaged, or of another version, is refused", async () => {
  for (const [text, reason] of [
    ["", "not that of a blob store"],
    ["{}", "not that of a blob store"],
    ["x".repeat(10_000), "not that of a blob store"],
    ['{"format":"voe blob store","version":2}', "has format 2, and this voe knows 1"],
  ] as const) {
    service.objects.set("host1/voe-store.json", bytesOf(text));
    for (const create of [true, false]) {
      expect(await failureOf(open(create))).toBe("corrupt");
      expect(await reasonOf(open(create))).toContain(reason);
    }
  }
});

test("a service that refuses the condition, does not heed it, or never creates, has no refs that are created once", async () => {
  for (const creation of ["refused", "not heeded", "never"] as const) {
    service.behaviour = { creation, refuses: [] };
    const store = await open(true, `${creation}/`);
    expect([creation, store.atomicRefs]).toEqual([creation, false]);
    expect(await store.createRef("roots/1", bytesOf("first"))).toBe("created");
    expect(await store.createRef("roots/1", bytesOf("second"))).toBe("exists");
    expect(await store.readRef("roots/1")).toEqual(bytesOf("first"));
  }
});

test("a service that is known to have no such condition is not tried out", async () => {
  const store = await open(true, "host1/", false);
  expect(store.atomicRefs).toBe(false);
});

test("credentials that may not write are refused, and those that may not delete are not", async () => {
  await open(true);
  service.behaviour = { creation: "once", refuses: ["put", "create"] };
  expect(await failureOf(open(false))).toBe("denied");
  service.behaviour = { creation: "once", refuses: ["delete"] };
  expect((await open(false)).atomicRefs).toBe(true);
});

test("what trying out leaves behind in a crash is no obstacle to a new store, and neither blob nor ref", async () => {
  service.objects.set("host1/probes/123", new Uint8Array(1));
  const store = await open(true);
  expect(await listAll(store)).toEqual([]);
  expect(await store.listRefs("")).toEqual([]);
});

test("objects that are neither blob nor ref are left out of lists", async () => {
  const store = await open(true);
  await store.put(blob.name, blob.bytes);
  for (const key of ["lock", "refs/", "refs/UPPER", "00/short", `0/${blob.name}`, blob.name]) {
    service.objects.set(`host1/${key}`, new Uint8Array(1));
  }
  expect(await listAll(store)).toEqual([{ name: blob.name, sizeBytes: 1000 }]);
  expect(await store.listRefs("")).toEqual([]);
});

test("a ref with too many bytes is damaged", async () => {
  const store = await open(true);
  service.objects.set("host1/refs/roots/1", new Uint8Array(100_000));
  expect(await failureOf(store.readRef("roots/1"))).toBe("corrupt");
});

test("a closed store refuses, and closing waits for what is under way", async () => {
  const store = await open(true);
  const put = store.put(blob.name, blob.bytes);
  await store.close();
  expect(service.objects.has(`host1/${blob.name.slice(0, 2)}/${blob.name.slice(2)}`)).toBe(true);
  await put;
  expect(await failureOf(store.size(blob.name))).toContain("is closed");
});

test("the keys are the paths of a store in a directory, which opens as one", async () => {
  const store = await open(true);
  await store.put(blob.name, blob.bytes);
  await store.createRef("roots/v1/1", bytesOf("root"));
  const directory = mkdtempSync(join(tmpdir(), "voe-objects-"));
  try {
    for (const [key, bytes] of service.objects) await Bun.write(join(directory, key.replace("host1/", "")), bytes);
    const copy = await openFileStore(directory, { create: false });
    expect(Buffer.compare(await getBytes(copy, blob.name, 0, 1000), blob.bytes)).toBe(0);
    expect(await copy.listRefs("")).toEqual(["roots/v1/1"]);
    await copy.close();
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

test("a prefix that a URL would lose is refused", () => {
  for (const prefix of [".", "..", "a/../b/", "./a"]) expect(() => assertPrefix(prefix)).toThrow(RangeError);
  for (const prefix of ["", "a", "a/b/", "..a/.b", "a..b"]) assertPrefix(prefix);
});
