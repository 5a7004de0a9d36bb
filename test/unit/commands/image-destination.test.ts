import { afterEach, beforeEach, expect, test } from "bun:test";
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { prepareDestination } from "../../../src/commands/image-destination.ts";
import { reasonOf } from "../../support/reason-of.ts";
import { run } from "../../support/run.ts";

const MIB = 2 ** 20;
let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "voe-destination-"));
  path = join(directory, "image");
});
afterEach(() => rmSync(directory, { recursive: true }));

const bytes = new Uint8Array(4096).fill(7);

async function write(to: string, force: boolean): Promise<void> {
  const destination = await (await prepareDestination(to, force)).open(64 * MIB);
  try {
    await destination.zero(MIB, 0);
    await destination.write(bytes, MIB);
    await destination.zero(63 * MIB - 4096, MIB + 4096);
    await destination.finish();
  } catch (error) {
    await destination.abandon();
    throw error;
  }
}

test("a file has the image's size, its data, and holes for its zeros", async () => {
  await write(path, false);
  const written = readFileSync(path);
  expect(written.length).toBe(64 * MIB);
  expect(written.subarray(MIB, MIB + 4096).equals(bytes)).toBe(true);
  expect(statSync(path).blocks * 512).toBeLessThan(MIB);
  expect(readdirSync(directory)).toEqual(["image"]);
});

test("FILE is not there before the image is whole, and an export that is given up leaves nothing", async () => {
  const destination = await (await prepareDestination(path, false)).open(MIB);
  await destination.write(bytes, 0);
  expect(readdirSync(directory)).toEqual(["image.partial"]);
  await destination.abandon();
  expect(readdirSync(directory)).toEqual([]);
});

test("a file that exists is overwritten with force alone, whole, and keeps its mode", async () => {
  writeFileSync(path, "precious", { mode: 0o640 });
  expect(await reasonOf(prepareDestination(path, false))).toBe(
    `${path} exists: choose another name, or overwrite it with --force`,
  );
  const destination = await (await prepareDestination(path, true)).open(MIB);
  await destination.abandon();
  expect(readFileSync(path, "utf8")).toBe("precious");
  await write(path, true);
  expect(statSync(path).size).toBe(64 * MIB);
  expect(statSync(path).mode & 0o777).toBe(0o640);
});

test("what a link leads to is replaced, and not the link", async () => {
  writeFileSync(`${path}.real`, "precious");
  symlinkSync("image.real", path);
  await write(path, true);
  expect(readlinkSync(path)).toBe("image.real");
  expect(statSync(`${path}.real`).size).toBe(64 * MIB);
});

test("a file that another export may be writing is left alone", async () => {
  writeFileSync(`${path}.partial`, "another's");
  const prepared = await prepareDestination(path, false);
  expect(await reasonOf(prepared.open(MIB))).toContain(`${path}.partial exists: another export writes it`);
  expect(readFileSync(`${path}.partial`, "utf8")).toBe("another's");
});

test("a pipe gets every byte, zeros too", async () => {
  run("mkfifo", path);
  const reader = Bun.spawn(["sha256sum", path], { stdout: "pipe" });
  await write(path, false);
  const expected = new Uint8Array(64 * MIB);
  expected.set(bytes, MIB);
  expect(await new Response(reader.stdout).text()).toStartWith(Bun.SHA256.hash(expected, "hex"));
});

test("a reader that goes away is an error", async () => {
  run("mkfifo", path);
  const reader = Bun.spawn(["head", "-c", "1", path], { stdout: "ignore" });
  expect(await reasonOf(write(path, false))).toContain(`${path} takes no more`);
  await reader.exited;
});

test("a directory, and a place where nothing can be written, are named", async () => {
  expect(await reasonOf(prepareDestination(directory, true))).toContain("is a directory: name a file in it");
  const prepared = await prepareDestination(join(directory, "absent", "image"), false);
  expect(await reasonOf(prepared.open(MIB))).toContain("cannot be written: ENOENT");
});
