/** Images as frames, in tests. */
import { DATA, END, frameReader, type ByteSource, type FrameReader } from "../../src/protocol/image/frame.ts";
import { frameWriter } from "../../src/protocol/image/frame-writer.ts";
import { SECTOR_BYTES } from "../../src/storage/block-storage.ts";

/** Bytes that arrive in pieces. */
export function sourceOf(chunks: Iterable<Uint8Array>): ByteSource {
  const iterator = chunks[Symbol.iterator]();
  return {
    read() {
      const { done, value } = iterator.next();
      return Promise.resolve({ done: done === true, value: value as Uint8Array | undefined });
    },
  };
}

export const readerOf = (chunks: Iterable<Uint8Array>): FrameReader => frameReader(sourceOf(chunks));

/** Frames of an image that is given as a whole. */
export function framesOf(image: Uint8Array): Uint8Array[] {
  const writer = frameWriter();
  return [...writer.data(image), ...writer.end()];
}

export const streamOf = (chunks: Iterable<Uint8Array>): ReadableStream<Uint8Array> => {
  const iterator = chunks[Symbol.iterator]();
  return new ReadableStream({
    pull(controller) {
      const { done, value } = iterator.next();
      if (done === true) controller.close();
      else controller.enqueue(value);
    },
  });
};

export interface ReceivedImage {
  readonly image: Uint8Array;
  /** Bytes that came as data. */
  readonly dataBytes: number;
  readonly frameCount: number;
}

/** Reads frames to their end. Rejects as the reader does, and where the image is larger than `mostBytes`. */
export async function receive(frames: FrameReader, mostBytes = 2 ** 26): Promise<ReceivedImage> {
  const image = new Uint8Array(mostBytes);
  let dataBytes = 0;
  for (let frameCount = 1; ; frameCount++) {
    const { kind, sector, count } = await frames.next();
    const [at, lengthBytes] = [sector * SECTOR_BYTES, count * SECTOR_BYTES];
    if (at + lengthBytes > mostBytes) throw new Error("the image is larger than it may be");
    if (kind === END) return { image: image.subarray(0, at), dataBytes, frameCount };
    if (kind !== DATA) continue;
    await frames.take(image.subarray(at));
    dataBytes += lengthBytes;
  }
}

/** Frames as they come out of an asynchronous generator. */
export async function collect(frames: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  const all: Uint8Array[] = [];
  for await (const frame of frames) all.push(frame);
  return all;
}
