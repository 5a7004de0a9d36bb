import { expect, test } from "bun:test";
import {
  DATA,
  DATA_MOST_BYTES,
  END,
  failureFrame,
  FAILURE,
  HOLE,
  HOLE_MOST_SECTORS,
  startFrame,
} from "../../../../src/protocol/image/frame.ts";
import { frameWriter } from "../../../../src/protocol/image/frame-writer.ts";
import { framesOf, readerOf, receive } from "../../../support/image-frames.ts";
import { reasonOf } from "../../../support/reason-of.ts";

const sectors = (count: number, value: number): Uint8Array => new Uint8Array(count * 512).fill(value);
const dataFrame = (sector: number, count: number, value = 1): Uint8Array[] => [
  startFrame(DATA, count, sector),
  sectors(count, value),
];

test("a header is kind, count and sector in 16 bytes, little-endian", () => {
  expect([...startFrame(HOLE, 0x01020304, 0x0506_0708_090a)]).toEqual([
    2, 0, 0, 0, 4, 3, 2, 1, 0x0a, 9, 8, 7, 6, 5, 0, 0,
  ]);
});

test("what was written is read, however the stream is cut into pieces", async () => {
  const image = new Uint8Array(DATA_MOST_BYTES * 2 + 1024).map((_, i) => i * 7 + (i >> 9));
  const bytes = Buffer.concat(framesOf(image));
  for (const pieceBytes of [1, 15, 16, 17, 65_536, bytes.length]) {
    // One byte at a time is slow: its first sectors say the same.
    const [whole, expected] =
      pieceBytes === 1 ? [Buffer.concat(framesOf(image.subarray(0, 4096))), image.subarray(0, 4096)] : [bytes, image];
    const pieces = Array.from({ length: Math.ceil(whole.length / pieceBytes) }, (_, i) =>
      whole.subarray(i * pieceBytes, (i + 1) * pieceBytes),
    );
    expect(Buffer.compare((await receive(readerOf(pieces))).image, expected)).toBe(0);
  }
});

test("units of 4 KiB that are zeros become holes, and neighbours become one", async () => {
  const image = new Uint8Array(10 * 4096);
  image[4096 + 4095] = 1;
  image[7 * 4096] = 1;
  const frames = framesOf(image);
  expect(frames.map((frame) => [frame[0], Buffer.from(frame).readUInt32LE(4)])).toEqual([
    [HOLE, 8],
    [DATA, 8],
    [HOLE, 40],
    [DATA, 8],
    [HOLE, 16],
    [END, 0],
  ]);
  expect(Buffer.compare((await receive(readerOf(frames))).image, image)).toBe(0);
});

test("a hole goes on over what is given in pieces", () => {
  const writer = frameWriter();
  writer.hole(8);
  expect(writer.data(new Uint8Array(4096))).toEqual([]);
  writer.hole(1);
  expect(writer.sectorCount).toBe(17);
  const frames = [...writer.data(sectors(1, 9)), ...writer.end()];
  expect(frames.map((frame) => Buffer.from(frame).readUInt32LE(4))).toEqual([17, 1, 0]);
  expect(writer.dataBytes).toBe(512);
});

test("zeros that are given go out after 64 MiB of them, so that whoever reads sees progress", () => {
  const writer = frameWriter();
  const zeros = new Uint8Array(DATA_MOST_BYTES);
  const counts: number[] = [];
  for (let i = 0; i < 600; i++) {
    counts.push(...writer.data(zeros).map((frame) => Buffer.from(frame).readUInt32LE(4)));
  }
  expect(counts).toEqual([2 ** 17, 2 ** 17]);
});

test("a hole of more than 2^32 sectors takes several frames", async () => {
  const writer = frameWriter();
  writer.hole(2 ** 33);
  const frames = writer.end();
  expect(frames.map((frame) => Buffer.from(frame).readUInt32LE(4))).toEqual([
    HOLE_MOST_SECTORS,
    HOLE_MOST_SECTORS,
    2,
    0,
  ]);
  const reader = readerOf(frames);
  let last = await reader.next();
  while (last.kind !== END) last = await reader.next();
  expect(last.sector).toBe(2 ** 33);
});

test("an image without a sector has an end and nothing else", async () => {
  expect((await receive(readerOf(framesOf(new Uint8Array(0))))).frameCount).toBe(1);
});

const WRONG: readonly [name: string, frames: readonly Uint8Array[], reason: string][] = [
  ["nothing at all", [], "ended before the image did"],
  ["a stream that is cut within a header", [startFrame(END, 0, 0).subarray(0, 15)], "ended before the image did"],
  ["a stream that is cut within data", [startFrame(DATA, 2, 0), sectors(1, 1)], "ended before the image did"],
  ["a stream without an end", dataFrame(0, 1), "ended before the image did"],
  ["a frame that leaves sectors out", [...dataFrame(0, 1), startFrame(HOLE, 1, 2)], "for sector 2, where 1 is due"],
  ["a frame that goes back", [...dataFrame(0, 2), startFrame(HOLE, 1, 1)], "for sector 1, where 2 is due"],
  ["an end that is not at the end", [startFrame(HOLE, 4, 0), startFrame(END, 0, 5)], "for sector 5, where 4 is due"],
  ["more data than a frame may have", [startFrame(DATA, 513, 0), sectors(513, 1)], "513 sectors of data"],
  ["data of no sectors", [startFrame(DATA, 0, 0)], "0 sectors of data"],
  ["a hole of no sectors", [startFrame(HOLE, 0, 0)], "a hole has no sectors"],
  ["an end with sectors", [startFrame(END, 1, 0)], "the end of the image has sectors"],
  ["an unknown kind", [startFrame(9, 1, 0)], "no frame of kind 9"],
  ["bytes after the end", [startFrame(END, 0, 0), new Uint8Array(1)], "bytes follow the end"],
  ["a message without bound", [startFrame(FAILURE, 4097, 0)], "a message of 4097 bytes"],
];
test.each(WRONG)("%s is refused", async (_name, frames, reason) => {
  expect(await reasonOf(receive(readerOf(frames)))).toContain(reason);
});

test("an image beyond what numbers hold exactly is refused", async () => {
  function* holes() {
    for (let sector = 0; ; sector += HOLE_MOST_SECTORS) yield startFrame(HOLE, HOLE_MOST_SECTORS, sector);
  }
  const reader = readerOf(holes());
  const reason = reasonOf(
    (async () => {
      for (;;) await reader.next();
    })(),
  );
  expect(await reason).toContain("no image has");
});

test("a failure of the sender is the reader's, in the sender's words", async () => {
  expect(await reasonOf(receive(readerOf([...dataFrame(0, 1), failureFrame("the medium is gone: ü")])))).toBe(
    "the medium is gone: ü",
  );
  expect(await reasonOf(receive(readerOf([failureFrame("ü".repeat(10_000))])))).toBe("ü".repeat(2048));
});

test("data that is not taken is our own mistake", async () => {
  const reader = readerOf([...dataFrame(0, 1), ...dataFrame(1, 1)]);
  await reader.next();
  expect(await reasonOf(reader.next())).toBe("a frame's data was not taken");
});
