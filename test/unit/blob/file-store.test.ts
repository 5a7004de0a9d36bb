import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { allocateMemory, freeMemory } from "../../../ffi/memory.ts";
import { BlobStoreError, type BlobStore } from "../../../src/blob/blob-store.ts";
import { openFileStore } from "../../../src/blob/file-store.ts";
import { failureOf, getBytes, listAll } from "../../support/blob-requests.ts";
import { makeNamedBlob, nameOf } from "../../support/named-blob.ts";
import { reasonOf } from "../../support/reason-of.ts";
import { systemError, traceFileSystem } from "../../support/traced-file-system.ts";

const one = makeNamedBlob(3000, 1);
const pathOf = (name: string): string => `${name.slice(0, 2)}/${name.slice(2)}`;

let directory: string;
let path: string;
const opened: BlobStore[] = [];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "voe-file-store-"));
  path = join(directory, "store");
});
afterEach(async () => {
  for (const store of opened.splice(0)) await store.close();
  rmSync(directory, { recursive: true, force: true });
});

async function open(create: boolean, fileSystem = traceFileSystem(path)): Promise<BlobStore> {
  const store = await openFileStore(path, { create, fileSystem });
  opened.push(store);
  return store;
}

describe("on disk", () => {
  test("a blob is the file XX/<the other digits>, a ref refs/<name>, readable by their owner alone", async () => {
    const store = await open(true);
    await store.put(one.name, one.bytes);
    await store.createRef("roots/v1/0001", one.bytes.subarray(0, 10));
    const blob = join(path, pathOf(one.name));
    expect(Buffer.compare(readFileSync(blob), one.bytes)).toBe(0);
    expect(Buffer.compare(readFileSync(join(path, "refs/roots/v1/0001")), one.bytes.subarray(0, 10))).toBe(0);
    expect(readFileSync(join(path, "voe-store.json"), "utf8")).toBe('{"format":"voe blob store","version":1}\n');
    expect(readdirSync(join(path, "tmp"))).toEqual([]);
    expect(statSync(blob).mode & 0o777).toBe(0o600);
    expect(statSync(path).mode & 0o777).toBe(0o700);
  });

  test("a large blob is stored whole, wherever in memory it lies and whatever its length", async () => {
    const store = await open(true);
    const memory = allocateMemory(2 ** 21 + 4096);
    memory.bytes.set(makeNamedBlob(memory.lengthBytes, 2).bytes);
    const largest = 2 ** 21;
    const pieces = [largest, largest - 1, 2 ** 20, 2 ** 20 + 513].flatMap((length) => [
      memory.bytes.subarray(0, length),
      memory.bytes.subarray(7, 7 + length),
      memory.bytes.slice(0, length),
    ]);
    for (const [index, bytes] of pieces.entries()) {
      const name = nameOf(new Uint8Array([index]));
      await store.put(name, bytes);
      expect(Buffer.compare(readFileSync(join(path, pathOf(name))), bytes)).toBe(0);
    }
    freeMemory(memory);
  });

  test("a blob gets its name when its bytes are durable, and is stored when the name is", async () => {
    const files = traceFileSystem(path);
    const store = await open(true, files);
    files.calls.length = 0;
    await store.put(one.name, one.bytes);
    const folder = one.name.slice(0, 2);
    expect(files.calls).toEqual([
      expect.stringMatching(/^createFile tmp\/\d+$/),
      `makeDirectory ${folder}`,
      "syncDirectory .",
      `rename to ${pathOf(one.name)}`,
      `syncDirectory ${folder}`,
    ]);
    // The directory is durable by now, the new name in it is not.
    files.calls.length = 0;
    await store.put(one.name, one.bytes);
    expect(files.calls.slice(1)).toEqual([`rename to ${pathOf(one.name)}`, `syncDirectory ${folder}`]);
  });

  test("a ref gets its name when its bytes are durable; one that exists is made durable before that is said", async () => {
    const files = traceFileSystem(path);
    const store = await open(true, files);
    files.calls.length = 0;
    await store.createRef("roots/v1/0001", one.bytes);
    expect(files.calls).toEqual([
      expect.stringMatching(/^createFile tmp\/\d+$/),
      "makeDirectory refs/roots",
      "syncDirectory refs",
      "makeDirectory refs/roots/v1",
      "syncDirectory refs/roots",
      "link to refs/roots/v1/0001",
      expect.stringMatching(/^remove tmp\/\d+$/),
      "syncDirectory refs/roots/v1",
    ]);
    files.calls.length = 0;
    expect(await store.createRef("roots/v1/0001", one.bytes)).toBe("exists");
    expect(files.calls.at(-1)).toBe("syncDirectory refs/roots/v1");
  });

  test("opening makes durable what a killed process had named and not synced", async () => {
    let store = await open(true);
    await store.put(one.name, one.bytes);
    await store.createRef("roots/v1/0001", one.bytes);
    await store.close();
    const files = traceFileSystem(path);
    store = await open(false, files);
    const syncs = files.calls.filter((call) => call.startsWith("syncDirectory")).toSorted();
    const folders = [".", one.name.slice(0, 2), "refs", "refs/roots", "refs/roots/v1"];
    for (const folder of folders) expect(syncs).toContain(`syncDirectory ${folder}`);
  });

  test("files of others are neither listed nor touched", async () => {
    const store = await open(true);
    await store.put(one.name, one.bytes);
    const folder = join(path, one.name.slice(0, 2));
    writeFileSync(join(folder, "README"), "x");
    writeFileSync(join(path, "refs", ".hidden"), "x");
    mkdirSync(join(path, "lost+found"));
    writeFileSync(join(path, "lost+found", "1".repeat(62)), "x");
    expect((await listAll(store)).map(({ name }) => name)).toEqual([one.name]);
    expect(await store.listRefs("")).toEqual([]);
    await store.close();
    expect((await listAll(await open(false))).length).toBe(1);
    expect(existsSync(join(folder, "README"))).toBe(true);
  });

  test("4,000 blobs are listed", async () => {
    const store = await open(true);
    const names = new Set<string>();
    for (let index = 0; index < 4000; index++) {
      const name = nameOf(new TextEncoder().encode(`blob ${index}`));
      names.add(name);
      mkdirSync(join(path, name.slice(0, 2)), { recursive: true });
      writeFileSync(join(path, pathOf(name)), "12345");
    }
    let listed = 0;
    for await (const { name, sizeBytes } of store.list()) {
      listed++;
      expect(names.delete(name) && sizeBytes === 5).toBe(true);
    }
    expect(listed).toBe(4000);
  });

  test("a blob that was cut is truncated, not short", async () => {
    const store = await open(true);
    await store.put(one.name, one.bytes);
    truncateSync(join(path, pathOf(one.name)), 1000);
    expect(await failureOf(getBytes(store, one.name, 900, 200))).toBe("truncated");
    expect(await reasonOf(getBytes(store, one.name, 900, 200))).toContain("ends at byte 1000");
    expect((await getBytes(store, one.name, 900, 100)).length).toBe(100);
  });

  test("a ref that others made too large is corrupt", async () => {
    const store = await open(true);
    writeFileSync(join(path, "refs", "large"), new Uint8Array(65537));
    expect(await failureOf(store.readRef("large"))).toBe("corrupt");
  });

  test("a blob that was read comes at once from the page cache, and no longer once it is deleted", async () => {
    const store = await open(true);
    await store.put(one.name, one.bytes);
    const memory = allocateMemory(4096);
    expect(store.tryGet(one.name, 0, 3000, memory, 0)).toBe(false);
    await store.get(one.name, 0, 1, memory, 0);
    const first = store.tryGet(one.name, 0, 3000, memory, 0);
    // tmpfs does not tell what is cached; elsewhere it was just written.
    if (first) expect(Buffer.compare(memory.bytes.subarray(0, 3000), one.bytes)).toBe(0);
    await store.delete(one.name);
    expect(store.tryGet(one.name, 0, 3000, memory, 0)).toBe(false);
    freeMemory(memory);
  });

  test("no more blobs stay open than allowed, and none after close", async () => {
    const store = await openFileStore(path, { create: true, openMost: 4 });
    const blobs = Array.from({ length: 20 }, (_, seed) => makeNamedBlob(100, seed));
    for (const { name, bytes } of blobs) await store.put(name, bytes);
    await Promise.all(blobs.map(({ name }) => getBytes(store, name, 0, 100)));
    for (const { name } of blobs) await getBytes(store, name, 0, 100);
    const openFiles = (): string[] =>
      openPaths().filter((file) => /\/[0-9a-f]{62}$/.test(file) && file.startsWith(path));
    expect(openFiles().length).toBeLessThanOrEqual(4 + 1);
    await store.delete(blobs[19]!.name);
    await store.close();
    expect(openFiles()).toEqual([]);
    expect(openPaths().filter((file) => file.startsWith(path))).toEqual([]);
  });
});

/** What this process has open. The descriptor that reads the directory is among them, and gone. */
const openPaths = (): string[] =>
  readdirSync("/proc/self/fd").flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`)];
    } catch {
      return [];
    }
  });

describe("failures", () => {
  const classes = [
    ["ENOSPC", "full"],
    ["EDQUOT", "full"],
    ["EFBIG", "full"],
    ["EACCES", "denied"],
    ["EROFS", "denied"],
    ["EIO", "unavailable"],
    ["EMFILE", "unavailable"],
    ["ENOENT", "unavailable"],
  ] as const;
  for (const [code, failure] of classes) {
    test(`a put that fails with ${code} is ${failure}, keeps the cause, and leaves nothing behind`, async () => {
      const files = traceFileSystem(path);
      const store = await open(true, files);
      for (const step of ["createFile", "makeDirectory", "rename"]) {
        files.failWith = (call) => (call.startsWith(step) ? systemError(code) : undefined);
        const error = await store.put(one.name, one.bytes).catch((error: unknown) => error as Error);
        expect(error).toMatchObject({ failure, cause: { code } });
        expect((error as Error).message).toContain(`blob ${one.name} could not be stored`);
        files.failWith = () => undefined;
        expect(await listAll(store)).toEqual([]);
        expect(readdirSync(join(path, "tmp"))).toEqual([]);
      }
      await store.put(one.name, one.bytes);
      expect(Buffer.compare(await getBytes(store, one.name, 0, 3000), one.bytes)).toBe(0);
    });
  }

  test("a directory that cannot be synced fails put and createRef, and trying again syncs it again", async () => {
    const files = traceFileSystem(path);
    const store = await open(true, files);
    files.failWith = (call) => (call.startsWith("syncDirectory") ? systemError("EIO") : undefined);
    expect(await failureOf(store.put(one.name, one.bytes))).toBe("unavailable");
    expect(await failureOf(store.createRef("root", one.bytes))).toBe("unavailable");
    expect(await failureOf(store.delete(one.name))).toBe("unavailable");
    files.failWith = () => undefined;
    files.calls.length = 0;
    await store.put(one.name, one.bytes);
    expect(files.calls).toContain("syncDirectory .");
    expect(await store.createRef("root", one.bytes)).toBe("exists");
    expect(files.calls).toContain("syncDirectory refs");
  });

  test("a store whose directory has vanished is unavailable, not empty", async () => {
    const store = await open(true);
    await store.put(one.name, one.bytes);
    rmSync(path, { recursive: true });
    expect(await failureOf(store.put(one.name, one.bytes))).toBe("unavailable");
    expect(await failureOf(listAll(store))).toBe("unavailable");
    expect(await failureOf(store.listRefs(""))).toBe("unavailable");
    expect(existsSync(path)).toBe(false);
  });

  test("operations after close are refused", async () => {
    const store = await open(true);
    await store.close();
    await store.close();
    expect(await failureOf(store.put(one.name, one.bytes))).toContain("is closed");
    expect(await failureOf(listAll(store))).toContain("is closed");
  });

  test("close waits for what is under way", async () => {
    const store = await open(true);
    const large = makeNamedBlob(2 ** 20, 3);
    const put = store.put(large.name, large.bytes);
    await store.close();
    expect(Bun.peek.status(put)).toBe("fulfilled");
    expect((await listAll(await open(false))).map(({ name }) => name)).toEqual([large.name]);
  });
});

describe("crashes", () => {
  test("whatever a crash left in tmp is never listed, and gone when the store is opened", async () => {
    let store = await open(true);
    await store.put(one.name, one.bytes);
    await store.close();
    writeFileSync(join(path, "tmp", "0"), one.bytes.subarray(0, 100));
    writeFileSync(join(path, "tmp", one.name), one.bytes);
    store = await open(false);
    expect(readdirSync(join(path, "tmp"))).toEqual([]);
    expect((await listAll(store)).length).toBe(1);
    await store.put(one.name, one.bytes);
  });

  test("a crash at any step of put, createRef and deletion leaves each done or not done", async () => {
    for (let crashAt = 0; ; crashAt++) {
      rmSync(path, { recursive: true, force: true });
      const files = traceFileSystem(path);
      const store = await open(true, files);
      await store.createRef("roots/v1/0000", one.bytes);
      let steps = 0;
      files.failWith = () => (steps++ >= crashAt ? systemError("EIO") : undefined);
      const outcomes = [
        await failureOf(store.put(one.name, one.bytes)),
        await failureOf(store.createRef("roots/v2/0001", one.bytes)),
        await failureOf(store.deleteRef("roots/v1/0000")),
      ];
      await store.close();
      const after = await open(false);
      const blobs = await listAll(after);
      for (const { name } of blobs) expect(Buffer.compare(await getBytes(after, name, 0, 3000), one.bytes)).toBe(0);
      const refs = await after.listRefs("");
      for (const ref of refs) expect(Buffer.compare(await after.readRef(ref), one.bytes)).toBe(0);
      if (outcomes[0] === undefined) expect(blobs.length).toBe(1);
      if (outcomes[1] === undefined) expect(refs).toContain("roots/v2/0001");
      if (outcomes[2] === undefined) expect(refs).not.toContain("roots/v1/0000");
      await after.close();
      if (outcomes.every((outcome) => outcome === undefined)) {
        expect(crashAt).toBeGreaterThan(10);
        return;
      }
    }
  });

  test("a crash at any step of creating a store leaves one that can be created or opened", async () => {
    for (let crashAt = 0; ; crashAt++) {
      rmSync(path, { recursive: true, force: true });
      const files = traceFileSystem(path);
      let steps = 0;
      files.failWith = () => (steps++ >= crashAt ? systemError("EIO") : undefined);
      const failure = await failureOf(open(true, files).then((store) => store.close()));
      const store = await open(true);
      await store.put(one.name, one.bytes);
      await store.close();
      if (failure === undefined) {
        expect(crashAt).toBeGreaterThan(8);
        return;
      }
    }
  });

  test("a writer that is killed at any time leaves every blob and ref that it said was stored, whole", async () => {
    for (let round = 0; round < 4; round++) {
      const writer = Bun.spawn([process.execPath, join(import.meta.dir, "../../support/blob-writer.ts"), path], {
        stdout: "pipe",
        stderr: "inherit",
      });
      const stored: string[] = [];
      let rest = "";
      for await (const chunk of writer.stdout) {
        const lines = (rest + new TextDecoder().decode(chunk)).split("\n");
        rest = lines.pop()!;
        stored.push(...lines.filter((line) => line !== "open"));
        if (stored.length > 5 + round * 3) writer.kill("SIGKILL");
      }
      await writer.exited;
      const store = await open(false);
      const names = (await listAll(store)).map(({ name }) => name);
      expect(names).toEqual(expect.arrayContaining(stored));
      for (const { name, sizeBytes } of await listAll(store)) {
        expect(nameOf(await getBytes(store, name, 0, sizeBytes))).toBe(name);
      }
      const refs = await store.listRefs("roots/v1/");
      expect(refs.length).toBeGreaterThanOrEqual(stored.length);
      for (const ref of refs) expect((await store.readRef(ref)).length).toBe(100);
      await store.close();
    }
  });
});

describe("from pieces", () => {
  async function* piecesOf(bytes: Uint8Array, failure?: Error): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < bytes.length; at += 700) yield bytes.subarray(at, at + 700);
    if (failure !== undefined) throw failure;
  }

  test("a blob that comes in pieces reads as it came", async () => {
    const store = await openFileStore(path, { create: true });
    opened.push(store);
    await store.putPieces(one.name, piecesOf(one.bytes));
    expect(Buffer.compare(await getBytes(store, one.name, 0, 3000), one.bytes)).toBe(0);
  });

  test("nothing is stored of pieces that throw at their end", async () => {
    const store = await openFileStore(path, { create: true });
    opened.push(store);
    const failure = new BlobStoreError("corrupt", "not what it says");
    expect(await reasonOf(store.putPieces(one.name, piecesOf(one.bytes, failure)))).toBe("not what it says");
    expect(await listAll(store)).toEqual([]);
    expect(readdirSync(join(path, "tmp"))).toEqual([]);
  });

  test("the list goes on after any name, in the order of names", async () => {
    const store = await openFileStore(path, { create: true });
    opened.push(store);
    const names = Array.from({ length: 40 }, (_, seed) => makeNamedBlob(5, seed)).map(({ name, bytes }) => {
      mkdirSync(join(path, name.slice(0, 2)), { recursive: true });
      writeFileSync(join(path, pathOf(name)), bytes);
      return name;
    });
    const sorted = names.toSorted();
    for (const after of ["", sorted[0]!, sorted[17]!, sorted[39]!]) {
      const found: string[] = [];
      for await (const { name } of store.listAfter(after)) found.push(name);
      expect(found).toEqual(sorted.filter((name) => name > after));
    }
  });
});

describe("for reading only", () => {
  test("a store that another has open is read beside it, what is put meanwhile too", async () => {
    const store = await open(true);
    await store.put(one.name, one.bytes);
    const beside = await openFileStore(path, { create: false, readOnly: true });
    opened.push(beside);
    expect(Buffer.compare(await getBytes(beside, one.name, 0, 3000), one.bytes)).toBe(0);
    await store.createRef("a/b", one.bytes.subarray(0, 3));
    expect(await beside.readRef("a/b")).toEqual(one.bytes.slice(0, 3));
  });

  test("nothing in the directory changes: neither lock nor what a crash left", async () => {
    await (await open(true)).close();
    writeFileSync(join(path, "tmp/7"), "half");
    rmSync(join(path, "lock"));
    const beside = await openFileStore(path, { create: false, readOnly: true });
    opened.push(beside);
    for (const refused of [
      beside.put(one.name, one.bytes),
      beside.delete(one.name),
      beside.createRef("a", one.bytes.subarray(0, 3)),
      beside.deleteRef("a"),
    ]) {
      expect(await failureOf(refused)).toBe("denied");
    }
    expect(readdirSync(path).toSorted()).toEqual(["refs", "tmp", "voe-store.json"]);
    expect(readdirSync(join(path, "tmp"))).toEqual(["7"]);
  });

  test("what is no store is none", async () => {
    expect(await failureOf(openFileStore(path, { create: true, readOnly: true }))).toBe("missing");
    expect(existsSync(path)).toBe(false);
  });
});
