/** Seeded images through the frames of import and export, whole and damaged. VOE_SEED repeats a run. */
import { expect, test } from "bun:test";
import { frameWriter } from "../../src/protocol/image/frame-writer.ts";
import { readerOf, receive } from "../support/image-frames.ts";
import { makeRandom, seedOfRun, type Random } from "../support/random.ts";

const ROUNDS = process.env["VOE_TEST_FULL"] === "1" ? 8000 : 400;
const MOST_BYTES = 2 ** 20;

/** An image with runs of zeros, and its frames, made of pieces of random sizes. */
function makeImage(random: Random): { image: Uint8Array; frames: Uint8Array[] } {
  const image = new Uint8Array(random.below(MOST_BYTES / 512 + 1) * 512);
  for (let at = 0; at < image.length;) {
    const lengthBytes = 1 + random.below(random.chance(0.5) ? 3 * 4096 : 64 * 4096);
    if (random.chance(0.6)) image.fill(1 + random.below(255), at, at + lengthBytes);
    at += lengthBytes;
  }
  const writer = frameWriter();
  const frames: Uint8Array[] = [];
  for (let at = 0; at < image.length;) {
    const piece = image.subarray(at, at + 512 * (1 + random.below(random.chance(0.2) ? 2048 : 512)));
    if (piece.every((byte) => byte === 0) && random.chance(0.5)) writer.hole(piece.length / 512);
    else frames.push(...writer.data(piece));
    at += piece.length;
  }
  frames.push(...writer.end());
  return { image, frames };
}

function cut(bytes: Uint8Array, random: Random): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length;) {
    const end = at + 1 + random.below(random.chance(0.3) ? 20 : 200_000);
    pieces.push(bytes.subarray(at, end));
    at = end;
  }
  return pieces;
}

const seed = seedOfRun();

test(`an image arrives as it was sent, however it is cut (VOE_SEED=${seed})`, async () => {
  const random = makeRandom(seed);
  for (let round = 0; round < ROUNDS / 4; round++) {
    const { image, frames } = makeImage(random);
    const received = await receive(readerOf(cut(Buffer.concat(frames), random)), MOST_BYTES);
    if (Buffer.compare(received.image, image) !== 0) throw new Error(`round ${round} differs`);
  }
});

test(`frames that are damaged or cut end in an error or in an image of the right size (VOE_SEED=${seed})`, async () => {
  const random = makeRandom(seed ^ 0x5eed);
  let refused = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const { image, frames } = makeImage(random);
    const bytes = Buffer.concat(frames);
    // Headers are few beside the data: half of the damage is aimed at them.
    const frameAt = frames.slice(0, random.below(frames.length)).reduce((sum, frame) => sum + frame.length, 0);
    const at = random.chance(0.5) ? frameAt + random.below(16) : random.below(bytes.length);
    const isCut = random.chance(0.3);
    if (!isCut) bytes[at]! ^= 1 << random.below(8);
    const sent = isCut ? bytes.subarray(0, at) : bytes;
    try {
      const received = await receive(readerOf(cut(sent, random)), 2 * MOST_BYTES);
      if (isCut) throw new TypeError(`round ${round}: a cut stream was taken for a whole one`);
      if (received.image.length !== image.length) throw new TypeError(`round ${round}: another size`);
    } catch (error) {
      if (error instanceof TypeError || error instanceof RangeError) throw error;
      refused++;
    }
  }
  expect(refused).toBeGreaterThan(ROUNDS / 4);
});
