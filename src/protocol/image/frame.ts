/**
 * How a disk's content travels between `voe import`, `voe export` and the server: frames, one after the other, from the
 * first sector to the last. A frame has a header of 16 bytes, little-endian:
 *
 *   0  u32  kind
 *   4  u32  count
 *   8  u64  sector
 *
 * DATA is followed by `count` sectors, HOLE says that `count` sectors read as zeros. Each begins where the one before
 * ended. END closes the image: its sector is the image's size, so that a stream that was cut is never taken for a whole
 * one. FAILURE, followed by `count` bytes of UTF-8, says why the sender cannot go on.
 */
import { SECTOR_BYTES } from "../../storage/block-storage.ts";

export const DATA = 1;
export const HOLE = 2;
export const END = 3;
export const FAILURE = 4;

export const FRAME_HEADER_BYTES = 16;
/** Most sectors of a DATA frame, 256 KiB: what the server handles at once while its other clients wait. */
export const DATA_MOST_SECTORS = 512;
export const DATA_MOST_BYTES = DATA_MOST_SECTORS * SECTOR_BYTES;
export const HOLE_MOST_SECTORS = 2 ** 32 - 1;
const FAILURE_MOST_BYTES = 4096;
/** Most sectors of an image: what numbers of JavaScript hold exactly as bytes. */
const IMAGE_MOST_SECTORS = Math.floor(Number.MAX_SAFE_INTEGER / SECTOR_BYTES);

/** A frame's header alone, or with room for `bodyBytes` behind it. */
export function startFrame(kind: number, count: number, sector: number, bodyBytes = 0): Uint8Array {
  // Not of the pool that Buffers share: the frame is handed over to a stream, and is filled completely.
  const frame = Buffer.allocUnsafeSlow(FRAME_HEADER_BYTES + bodyBytes);
  frame.writeUInt32LE(kind, 0);
  frame.writeUInt32LE(count, 4);
  frame.writeBigUInt64LE(BigInt(sector), 8);
  return frame;
}

/** A FAILURE frame; a message that is too long is cut. */
export function failureFrame(message: string): Uint8Array {
  const text = new Uint8Array(FAILURE_MOST_BYTES);
  const { written } = new TextEncoder().encodeInto(message, text);
  const frame = startFrame(FAILURE, written, 0, written);
  frame.set(text.subarray(0, written), FRAME_HEADER_BYTES);
  return frame;
}

export interface FrameHeader {
  readonly kind: typeof DATA | typeof HOLE | typeof END;
  readonly sector: number;
  /** Sectors; 0 of END. */
  readonly count: number;
}

/** What arrived is no image. */
export class FrameError extends Error {
  override readonly name = "FrameError";
}

/** Where bytes come from, in pieces of any size. */
export interface ByteSource {
  read(): Promise<{ readonly done: boolean; readonly value?: Uint8Array | undefined }>;
}

export interface FrameReader {
  /**
   * The next header. The data behind a DATA header has to be taken with `take` before the next call; after END there is
   * none. Rejects with FrameError where the bytes are no image or end too early, and with the sender's own words where
   * it sent FAILURE.
   */
  next(): Promise<FrameHeader>;
  /** Copies the data of the DATA frame to the start of `target`. */
  take(target: Uint8Array): Promise<void>;
}

/** Takes frames out of a stream of bytes, and checks every word of them. */
export function frameReader(source: ByteSource): FrameReader {
  const headerBytes = new Uint8Array(FRAME_HEADER_BYTES);
  const header = new DataView(headerBytes.buffer);
  let chunk = new Uint8Array(0);
  let chunkAt = 0;
  let position = 0;
  let untakenBytes = 0;

  const fill = async (target: Uint8Array, lengthBytes: number): Promise<void> => {
    for (let doneBytes = 0; doneBytes < lengthBytes;) {
      if (chunkAt === chunk.length) {
        const { done, value } = await source.read();
        if (done || value === undefined) throw new FrameError("the stream ended before the image did");
        chunk = value as Uint8Array<ArrayBuffer>;
        chunkAt = 0;
        continue;
      }
      const partBytes = Math.min(lengthBytes - doneBytes, chunk.length - chunkAt);
      target.set(chunk.subarray(chunkAt, chunkAt + partBytes), doneBytes);
      chunkAt += partBytes;
      doneBytes += partBytes;
    }
  };

  const expectEnd = async (): Promise<void> => {
    while (chunkAt === chunk.length) {
      const { done, value } = await source.read();
      if (done || value === undefined) return;
      chunk = value as Uint8Array<ArrayBuffer>;
      chunkAt = 0;
    }
    throw new FrameError("bytes follow the end of the image");
  };

  return {
    async next() {
      if (untakenBytes > 0) throw new Error("a frame's data was not taken");
      await fill(headerBytes, FRAME_HEADER_BYTES);
      const kind = header.getUint32(0, true);
      const count = header.getUint32(4, true);
      const sector = Number(header.getBigUint64(8, true));
      if (kind === FAILURE) {
        if (count > FAILURE_MOST_BYTES) throw new FrameError(`a message of ${count} bytes is longer than any`);
        const text = new Uint8Array(count);
        await fill(text, count);
        throw new Error(new TextDecoder().decode(text));
      }
      if (sector !== position) throw new FrameError(`a frame is for sector ${sector}, where ${position} is due`);
      switch (kind) {
        case DATA:
          if (count === 0 || count > DATA_MOST_SECTORS) throw new FrameError(`a frame has ${count} sectors of data`);
          untakenBytes = count * SECTOR_BYTES;
          break;
        case HOLE:
          if (count === 0) throw new FrameError("a hole has no sectors");
          break;
        case END:
          if (count !== 0) throw new FrameError("the end of the image has sectors");
          await expectEnd();
          return { kind, sector, count };
        default:
          throw new FrameError(`there is no frame of kind ${kind}`);
      }
      position += count;
      if (position > IMAGE_MOST_SECTORS) throw new FrameError(`no image has ${position} sectors`);
      return { kind, sector, count };
    },
    async take(target) {
      await fill(target, untakenBytes);
      untakenBytes = 0;
    },
  };
}
