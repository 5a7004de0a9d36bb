import { SECTOR_BYTES } from "../../storage/block-storage.ts";
import { DATA, DATA_MOST_BYTES, END, FRAME_HEADER_BYTES, HOLE, HOLE_MOST_SECTORS, startFrame } from "./frame.ts";

/** Zeros are looked for in units of this size: what filesystems allocate, and archives hash. */
const UNIT_BYTES = 4096;
const zeros = Buffer.alloc(UNIT_BYTES);
/** Zeros that had to be read are told after so many sectors, 64 MiB: who waits for frames sees that it goes on. */
const TOLD_ZEROS_SECTORS = 2 ** 17;

export interface FrameWriter {
  /** Sectors of the image so far. */
  readonly sectorCount: number;
  /** Bytes of it that went into DATA frames. */
  readonly dataBytes: number;
  /** The next sectors are zeros. What has to be sent for them is sent with what follows. */
  hole(sectorCount: number): void;
  /**
   * The frames for the next sectors: units of 4 KiB that are all zeros become holes. `bytes` is whole sectors, and its
   * own again afterwards.
   */
  data(bytes: Uint8Array): Uint8Array[];
  /** The frames that close the image. */
  end(): Uint8Array[];
}

/** Makes frames of a disk's content, given from the first sector to the last. */
export function frameWriter(): FrameWriter {
  let position = 0;
  let dataBytes = 0;
  let holeSectors = 0;

  const pushHole = (frames: Uint8Array[]): void => {
    while (holeSectors > 0) {
      const count = Math.min(holeSectors, HOLE_MOST_SECTORS);
      frames.push(startFrame(HOLE, count, position));
      position += count;
      holeSectors -= count;
    }
  };

  const pushData = (frames: Uint8Array[], bytes: Uint8Array, from: number, to: number): void => {
    for (let at = from; at < to; at += DATA_MOST_BYTES) {
      const lengthBytes = Math.min(DATA_MOST_BYTES, to - at);
      const count = lengthBytes / SECTOR_BYTES;
      const frame = startFrame(DATA, count, position, lengthBytes);
      frame.set(bytes.subarray(at, at + lengthBytes), FRAME_HEADER_BYTES);
      frames.push(frame);
      position += count;
      dataBytes += lengthBytes;
    }
  };

  return {
    get sectorCount() {
      return position + holeSectors;
    },
    get dataBytes() {
      return dataBytes;
    },
    hole(sectorCount) {
      holeSectors += sectorCount;
    },
    data(bytes) {
      const frames: Uint8Array[] = [];
      let dataFrom = 0;
      for (let at = 0; at < bytes.length; at += UNIT_BYTES) {
        const end = Math.min(at + UNIT_BYTES, bytes.length);
        if (!isZero(bytes, at, end)) {
          pushHole(frames);
          continue;
        }
        pushData(frames, bytes, dataFrom, at);
        holeSectors += (end - at) / SECTOR_BYTES;
        dataFrom = end;
      }
      pushData(frames, bytes, dataFrom, bytes.length);
      if (holeSectors >= TOLD_ZEROS_SECTORS) pushHole(frames);
      return frames;
    },
    end() {
      const frames: Uint8Array[] = [];
      pushHole(frames);
      frames.push(startFrame(END, 0, position));
      return frames;
    },
  };
}

// Nearly all units that are not zeros differ in their first byte, which spares them the call.
const isZero = (bytes: Uint8Array, at: number, end: number): boolean =>
  bytes[at] === 0 && zeros.compare(bytes, at, end, 0, end - at) === 0;
