import { expect, test } from "bun:test";
import { DATA, HOLE, startFrame } from "../../../../src/protocol/image/frame.ts";
import { importImage } from "../../../../src/server/image/import-image.ts";
import { MEDIUM_ERROR, NO_SPACE } from "../../../../src/storage/block-storage.ts";
import { memoryStorage } from "../../../../src/storage/memory-storage.ts";
import { heldStorage } from "../../../support/held-storage.ts";
import { framesOf, readerOf } from "../../../support/image-frames.ts";
import { reasonOf } from "../../../support/reason-of.ts";
import { readSectors, writeSectors } from "../../../support/storage-requests.ts";
import { turnsOfLoop, until } from "../../../support/until.ts";

const SECTORS = 4096;
const keep = { trimRest: false };

/** An image of `count` sectors without zeros, but for the units of 4 KiB that `holes` names. */
function makeImage(count: number, holes: readonly number[] = []): Uint8Array {
  const image = new Uint8Array(count * 512).map((_, i) => 1 + (i % 251));
  for (const unit of holes) image.fill(0, unit * 4096, (unit + 1) * 4096);
  return image;
}

async function filledDisk(): Promise<ReturnType<typeof memoryStorage>> {
  const storage = memoryStorage(SECTORS);
  await writeSectors(storage, 0, new Uint8Array(SECTORS * 512).fill(0xee));
  return storage;
}

test("the disk holds the image, its holes too, and what it held beyond it", async () => {
  const storage = await filledDisk();
  const image = makeImage(1500, [3, 4, 90]);
  const result = await importImage(storage, readerOf(framesOf(image)), keep);
  expect(result).toEqual({
    sizeBytes: 1500 * 512,
    dataBytes: 1500 * 512 - 3 * 4096,
    holeBytes: 3 * 4096,
    trimmedBytes: 0,
  });
  expect(Buffer.compare(await readSectors(storage, 0, 1500), image)).toBe(0);
  expect((await readSectors(storage, 1500, SECTORS - 1500)).every((byte) => byte === 0xee)).toBe(true);
});

test("with trimRest nothing is left beyond the image", async () => {
  const storage = await filledDisk();
  const result = await importImage(storage, readerOf(framesOf(makeImage(8))), { trimRest: true });
  expect(result.trimmedBytes).toBe((SECTORS - 8) * 512);
  expect((await readSectors(storage, 8, SECTORS - 8)).every((byte) => byte === 0)).toBe(true);
});

test("an image of the disk's size fits, and a sector more is refused before it is written", async () => {
  const storage = await filledDisk();
  await importImage(storage, readerOf(framesOf(makeImage(SECTORS))), { trimRest: true });
  const frames = [startFrame(HOLE, SECTORS, 0), startFrame(DATA, 1, SECTORS), new Uint8Array(512)];
  expect(await reasonOf(importImage(storage, readerOf(frames), keep))).toContain("larger than the disk");
});

test("it is done when what was written is durable, and not before", async () => {
  const storage = heldStorage(SECTORS);
  let done = false;
  const end = importImage(storage, readerOf(framesOf(makeImage(1024))), keep).then((result) => {
    done = true;
    return result;
  });
  await until(() => storage.waiting.length === 2);
  storage.release();
  storage.release();
  await until(() => storage.waiting[0] === "flush");
  expect(done).toBe(false);
  storage.release();
  expect((await end).dataBytes).toBe(1024 * 512);
});

test("no more than 64 requests are in flight, however quickly the image comes", async () => {
  const units = 300;
  const storage = heldStorage(units * 8);
  // Holes between them, which this disk discards at once, make a write of each other unit.
  const holes = Array.from({ length: units / 2 }, (_, i) => 2 * i + 1);
  const image = makeImage(units * 8, holes);
  const ended = importImage(storage, readerOf(framesOf(image)), keep);
  for (let left = units / 2; left > 0; left--) {
    await until(() => storage.waiting.length === Math.min(64, left));
    await turnsOfLoop(2);
    expect(storage.waiting.length).toBe(Math.min(64, left));
    storage.release();
  }
  await until(() => storage.waiting[0] === "flush");
  storage.release();
  expect((await ended).holeBytes).toBe(holes.length * 4096);
});

test("a write that fails ends the import with its reason, once nothing is in flight any more", async () => {
  const storage = heldStorage(SECTORS);
  let ended = false;
  const reason = reasonOf(importImage(storage, readerOf(framesOf(makeImage(1024))), keep)).finally(() => {
    ended = true;
  });
  await until(() => storage.waiting.length === 2);
  storage.release(NO_SPACE);
  await turnsOfLoop(3);
  expect(ended).toBe(false);
  storage.release();
  expect(await reason).toBe("writing 262144 bytes at byte 0 failed: the medium is full. Free or add space");
  expect(storage.waiting).toEqual([]);
});

test("a flush that fails ends the import with an error", async () => {
  const storage = heldStorage(SECTORS);
  const reason = reasonOf(importImage(storage, readerOf(framesOf(makeImage(8))), keep));
  await until(() => storage.waiting.length === 1);
  storage.release();
  await until(() => storage.waiting[0] === "flush");
  storage.release(MEDIUM_ERROR);
  expect(await reason).toContain("making it durable failed");
});

test("frames that end early end the import with an error, and what came before them is written", async () => {
  const storage = memoryStorage(SECTORS);
  const image = makeImage(1024);
  const reason = reasonOf(importImage(storage, readerOf(framesOf(image).slice(0, -1)), keep));
  expect(await reason).toContain("ended before the image did");
  expect(Buffer.compare(await readSectors(storage, 0, 1024), image)).toBe(0);
});

test("a read-only disk says so", async () => {
  const storage = memoryStorage(SECTORS, { readOnly: true });
  expect(await reasonOf(importImage(storage, readerOf(framesOf(makeImage(8))), keep))).toContain("read-only");
});
