import { expect, test } from "bun:test";
import { exportImage, type ReadableDisk } from "../../../../src/server/image/export-image.ts";
import { MEDIUM_ERROR } from "../../../../src/storage/block-storage.ts";
import { memoryStorage } from "../../../../src/storage/memory-storage.ts";
import { heldStorage } from "../../../support/held-storage.ts";
import { collect, readerOf, receive } from "../../../support/image-frames.ts";
import { reasonOf } from "../../../support/reason-of.ts";
import { writeSectors } from "../../../support/storage-requests.ts";
import { turnsOfLoop, until } from "../../../support/until.ts";

const SECTORS = 8192 + 5;
const content = new Uint8Array(SECTORS * 512).map((_, i) => 1 + (i % 251));

async function filledDisk(): Promise<ReturnType<typeof memoryStorage>> {
  const storage = memoryStorage(SECTORS);
  await writeSectors(storage, 0, content);
  return storage;
}

test("the whole disk is sent, a last sector beyond whole units too", async () => {
  const { image } = await receive(readerOf(await collect(exportImage(await filledDisk()))));
  expect(Buffer.compare(image, content)).toBe(0);
});

test("zeros are sent as holes where nobody knows of them", async () => {
  const storage = memoryStorage(SECTORS);
  await writeSectors(storage, 4096, new Uint8Array(4096).fill(7));
  const received = await receive(readerOf(await collect(exportImage(storage))));
  expect(received.dataBytes).toBe(4096);
  expect(received.frameCount).toBe(4);
  expect(received.image.length).toBe(SECTORS * 512);
});

test("what the disk knows to be holes is not read", async () => {
  const storage = await filledDisk();
  const read: number[] = [];
  const disk: ReadableDisk = {
    ...storage,
    tryRead(sector, count, target, at) {
      read.push(sector, count);
      return storage.tryRead(sector, count, target, at);
    },
    // Those that one call gives end before the disk does.
    extents: (sector) =>
      Promise.resolve(
        sector === 0
          ? [
              { sectorCount: 8, isHole: true },
              { sectorCount: 8, isHole: false },
            ]
          : [
              { sectorCount: 4096 - sector, isHole: true },
              { sectorCount: 600, isHole: false },
              { sectorCount: SECTORS - 4696, isHole: true },
            ],
      ),
  };
  const { image } = await receive(readerOf(await collect(exportImage(disk))));
  expect(read).toEqual([8, 8, 4096, 512, 4608, 88]);
  const expected = new Uint8Array(content.length);
  expected.set(content.subarray(8 * 512, 16 * 512), 8 * 512);
  expected.set(content.subarray(4096 * 512, 4696 * 512), 4096 * 512);
  expect(Buffer.compare(image, expected)).toBe(0);
});

test("eight reads are under way at once, and no more until a frame is taken", async () => {
  const storage = heldStorage(SECTORS);
  const frames = exportImage(storage);
  const first = frames.next();
  await until(() => storage.waiting.length === 8);
  await turnsOfLoop(3);
  expect(storage.waiting.length).toBe(8);
  while (storage.waiting.length > 0) storage.release();
  // Zeros: only the end of the image makes a frame of them.
  await until(() => storage.waiting.length === 8);
  while (storage.waiting.length > 0) storage.release();
  await until(() => storage.waiting.length === 1);
  storage.release();
  expect((await first).done).toBe(false);
  await frames.return(undefined);
});

test("a read that fails is the last frame, which names the place", async () => {
  const storage = heldStorage(1024);
  const frames = collect(exportImage(storage));
  await until(() => storage.waiting.length === 2);
  storage.release();
  storage.release(MEDIUM_ERROR);
  expect(await reasonOf(receive(readerOf(await frames)))).toContain(
    "reading 262144 bytes at byte 262144 failed: the medium did not do it",
  );
});

test("holes that cannot be told are the last frame too", async () => {
  const disk: ReadableDisk = {
    ...memoryStorage(1024),
    extents: () => Promise.reject(new Error("a node is damaged")),
  };
  expect(await reasonOf(receive(readerOf(await collect(exportImage(disk)))))).toBe("a node is damaged");
});

test("an export that is left ends once its reads have ended", async () => {
  const storage = heldStorage(SECTORS);
  await writeHeld(storage);
  const frames = exportImage(storage);
  const first = frames.next();
  await until(() => storage.waiting.length === 8);
  storage.release();
  await first;
  let ended = false;
  const end = frames.return(undefined).then(() => {
    ended = true;
  });
  await turnsOfLoop(3);
  expect(ended).toBe(false);
  while (storage.waiting.length > 0) storage.release();
  await end;
});

/** Puts something that is not zeros into the first sector. */
async function writeHeld(storage: ReturnType<typeof heldStorage>): Promise<void> {
  const written = writeSectors(storage, 0, new Uint8Array(512).fill(1));
  storage.release();
  await written;
}
