import { afterEach, beforeEach, expect, test } from "bun:test";
import {
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openImageSource, type ImageSource } from "../../../src/commands/image-source.ts";
import { reasonOf } from "../../support/reason-of.ts";
import { run } from "../../support/run.ts";

const MIB = 2 ** 20;
let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "voe-source-"));
  path = join(directory, "image");
});
afterEach(() => rmSync(directory, { recursive: true }));

async function readAll(source: ImageSource): Promise<{ image: Uint8Array; holeSectors: number }> {
  const parts: Uint8Array[] = [];
  let holeSectors = 0;
  for await (const piece of source.pieces()) {
    if ("bytes" in piece) parts.push(piece.bytes.slice());
    else {
      parts.push(new Uint8Array(piece.holeSectors * 512));
      holeSectors += piece.holeSectors;
    }
  }
  await source.close();
  return { image: Buffer.concat(parts), holeSectors };
}

const content = (bytes: number): Uint8Array => new Uint8Array(bytes).map((_, i) => 1 + (i % 251));

test("a file is read from its first byte to its last, and filled up to whole sectors with zeros", async () => {
  const bytes = content(MIB + 100);
  writeFileSync(path, bytes);
  const source = await openImageSource(path);
  expect(source.sizeBytes).toBe(MIB + 512);
  const { image } = await readAll(source);
  expect(image.length).toBe(MIB + 512);
  expect(Buffer.compare(image.subarray(0, bytes.length), bytes)).toBe(0);
  expect(image.subarray(bytes.length).every((byte) => byte === 0)).toBe(true);
});

test("holes of a file are not read", async () => {
  const fd = openSync(path, "w");
  ftruncateSync(fd, 64 * MIB);
  writeSync(fd, content(4096), 0, 4096, 32 * MIB);
  closeSync(fd);
  const { image, holeSectors } = await readAll(await openImageSource(path));
  expect(image.length).toBe(64 * MIB);
  expect(Buffer.compare(image.subarray(32 * MIB, 32 * MIB + 4096), content(4096))).toBe(0);
  // A filesystem that cannot tell its holes would have everything read.
  const tells = statSync(path).blocks * 512 < 64 * MIB;
  expect(holeSectors > 0).toBe(tells);
});

test("an empty file is an image without a sector", async () => {
  writeFileSync(path, "");
  const source = await openImageSource(path);
  expect(source.sizeBytes).toBe(0);
  expect((await readAll(source)).image.length).toBe(0);
});

test("a pipe is read to its end, whatever pieces it comes in", async () => {
  run("mkfifo", path);
  const bytes = content(MIB + 700);
  writeFileSync(`${path}.data`, bytes);
  const writer = Bun.spawn(["sh", "-c", `head -c 300000 "$0.data" > "$0"; :`, path]);
  const first = await readAll(await openImageSource(path));
  await writer.exited;
  expect(first.image.length).toBe(Math.ceil(300_000 / 512) * 512);
  const second = Bun.spawn(["sh", "-c", `exec > "$0"; head -c 1000 "$0.data"; tail -c +1001 "$0.data"`, path]);
  const source = await openImageSource(path);
  expect(source.sizeBytes).toBeUndefined();
  const { image } = await readAll(source);
  await second.exited;
  expect(image.length).toBe(Math.ceil(bytes.length / 512) * 512);
  expect(Buffer.compare(image.subarray(0, bytes.length), bytes)).toBe(0);
});

test("a file that becomes smaller while it is read is an error", async () => {
  writeFileSync(path, content(4 * MIB));
  const source = await openImageSource(path);
  const pieces = source.pieces();
  await pieces.next();
  truncateSync(path, MIB);
  const reason = reasonOf(
    (async () => {
      while (!(await pieces.next()).done);
    })(),
  );
  expect(await reason).toBe(`${path} became smaller while it was read`);
  await source.close();
});

test("what is not there, and what is no image, is named", async () => {
  expect(await reasonOf(openImageSource(path))).toContain(`${path} cannot be read: ENOENT`);
  expect(await reasonOf(openImageSource(directory))).toContain("is no file, device or pipe");
});
