/** Which directories are opened as blob stores, and which are refused. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BlobStore } from "../../../src/blob/blob-store.ts";
import { openFileStore } from "../../../src/blob/file-store.ts";
import { failureOf } from "../../support/blob-requests.ts";
import { makeNamedBlob } from "../../support/named-blob.ts";
import { reasonOf } from "../../support/reason-of.ts";

const one = makeNamedBlob(3000, 1);

let directory: string;
let path: string;
const opened: BlobStore[] = [];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "voe-store-directory-"));
  path = join(directory, "store");
});
afterEach(async () => {
  for (const store of opened.splice(0)) await store.close();
  rmSync(directory, { recursive: true, force: true });
});

async function open(create: boolean): Promise<BlobStore> {
  const store = await openFileStore(path, { create });
  opened.push(store);
  return store;
}

const refused = async (create: boolean, failure: string, reason: string): Promise<void> => {
  const before = existsSync(path) && statSync(path).isDirectory() ? readdirSync(path) : undefined;
  expect(await failureOf(openFileStore(path, { create }))).toBe(failure);
  expect(await reasonOf(openFileStore(path, { create }))).toContain(reason);
  // A directory that was refused is as it was.
  if (before !== undefined) expect(readdirSync(path)).toEqual(before);
};

test("a path that is not there is refused unless a store may be created", async () => {
  await refused(false, "missing", "is not there: is its filesystem mounted");
  expect(existsSync(path)).toBe(false);
});

test("an empty directory, as a mount point without its filesystem is, is refused unless one may be created", async () => {
  mkdirSync(path);
  await refused(false, "missing", "is no blob store, it has no voe-store.json: is its filesystem mounted");
  await (await open(true)).put(one.name, one.bytes);
});

test("a store is created with the directories above it", async () => {
  path = join(directory, "a/b/store");
  const store = await open(true);
  await store.put(one.name, one.bytes);
  expect(statSync(join(directory, "a")).mode & 0o777).toBe(0o700);
});

test("the root of a new ext4, with its lost+found, counts as empty", async () => {
  mkdirSync(join(path, "lost+found"), { recursive: true });
  await open(true);
});

test("a directory with anything else in it is refused, whether a store may be created or not", async () => {
  mkdirSync(path);
  writeFileSync(join(path, "holiday.jpg"), "x");
  await refused(true, "corrupt", "holiday.jpg");
  await refused(false, "missing", "voe-store.json");
});

test("a store that lost its marker is refused, though its refs are all that is left", async () => {
  const store = await open(true);
  await store.createRef("root", one.bytes);
  await store.close();
  rmSync(join(path, "voe-store.json"));
  await refused(true, "corrupt", "refs/root");
  await refused(false, "missing", "voe-store.json");
});

test("a store that lost its refs is refused", async () => {
  await (await open(true)).close();
  rmSync(join(path, "refs"), { recursive: true });
  await refused(true, "corrupt", "not whole");
  await refused(false, "corrupt", "not whole");
});

test("a store that lacks tmp, as a copy of one may, is opened", async () => {
  let store = await open(true);
  await store.put(one.name, one.bytes);
  await store.close();
  rmSync(join(path, "tmp"), { recursive: true });
  store = await open(false);
  await store.put(one.name, one.bytes);
});

test("a marker that is damaged, of something else, or of a newer voe is refused", async () => {
  await (await open(true)).close();
  for (const [content, reason] of [
    ["", "not that of a blob store"],
    ["null", "not that of a blob store"],
    ["[1]", "not that of a blob store"],
    ['{"format":"another"}', "not that of a blob store"],
    ["\u0000".repeat(10_000), "not that of a blob store"],
    ['{"format":"voe blob store","version":2}', "has format 2, and this voe knows 1"],
  ] as const) {
    writeFileSync(join(path, "voe-store.json"), content);
    await refused(true, "corrupt", reason);
    await refused(false, "corrupt", reason);
  }
});

test("a file is no store", async () => {
  writeFileSync(path, "x");
  await refused(false, "corrupt", path);
  await refused(true, "corrupt", path);
});

test("a store that is open is refused to others, and given to the next when it is closed", async () => {
  const store = await open(true);
  await refused(true, "denied", "is in use by another process");
  await store.close();
  await (await open(false)).close();
});

test("a store that another process has open is refused until that one is gone, however it ends", async () => {
  const writer = Bun.spawn([process.execPath, join(import.meta.dir, "../../support/blob-writer.ts"), path], {
    stdout: "pipe",
    stderr: "inherit",
  });
  const reader = writer.stdout.getReader();
  await reader.read();
  expect(await failureOf(openFileStore(path, { create: false }))).toBe("denied");
  writer.kill("SIGKILL");
  await writer.exited;
  await open(false);
});

const root = process.getuid?.() === 0;
test.skipIf(root)(`a directory that may not be written is denied${root ? " [skipped: root may]" : ""}`, async () => {
  mkdirSync(path);
  chmodSync(path, 0o500);
  await refused(true, "denied", `check that user ${process.getuid?.()} may read and write ${path}`);
});
