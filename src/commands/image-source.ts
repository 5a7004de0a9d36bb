/** The file, device or pipe that `voe import` reads. */
import { constants } from "node:fs";
import { open, type FileHandle } from "node:fs/promises";
import { deviceBytes } from "../../ffi/file.ts";
import { DATA_MOST_BYTES, DATA_MOST_SECTORS } from "../protocol/image/frame.ts";
import { SECTOR_BYTES } from "../storage/block-storage.ts";
import { dataRanges } from "../storage/file/data-ranges.ts";

/** A part of an image: bytes, which are good until the next one is asked for, or a hole. */
export type Piece = { readonly bytes: Uint8Array } | { readonly holeSectors: number };

export interface ImageSource {
  /** In bytes, rounded up to whole sectors; undefined of a pipe, whose end shows it. */
  readonly sizeBytes: number | undefined;
  /** The image from its first sector to its last. A last sector that is not whole is filled up with zeros. */
  pieces(): AsyncGenerator<Piece, void, undefined>;
  /** Ends a wait for bytes that may never come: nobody wants the rest of the pieces. */
  interrupt(): void;
  close(): Promise<void>;
}

/** Opens FILE for reading; `-` is stdin. Rejects with what to do where it cannot be read. */
export async function openImageSource(path: string): Promise<ImageSource> {
  if (path === "-") return pipeSource(Bun.stdin.stream());
  let file: FileHandle;
  try {
    file = await open(path, constants.O_RDONLY);
  } catch (error) {
    throw new Error(`${path} cannot be read: ${(error as Error).message}`, { cause: error });
  }
  const stats = await file.stat();
  if (stats.isFile()) return fileSource(path, file, stats.size);
  if (stats.isBlockDevice()) return fileSource(path, file, deviceBytes(file.fd));
  if (stats.isFIFO() || stats.isCharacterDevice()) {
    return { ...pipeSource(Bun.file(file.fd).stream()), close: () => file.close() };
  }
  await file.close();
  throw new Error(`${path} is no file, device or pipe: there is no image in it`);
}

const wholeSectors = (bytes: number): number => Math.ceil(bytes / SECTOR_BYTES);

function fileSource(path: string, file: FileHandle, sizeBytes: number): ImageSource {
  const sectorCount = wholeSectors(sizeBytes);

  /** Reads sectors, with zeros for what the last of them lacks. */
  const read = async (buffer: Uint8Array, sector: number, count: number): Promise<Uint8Array> => {
    const offsetBytes = sector * SECTOR_BYTES;
    const lengthBytes = Math.min(count * SECTOR_BYTES, sizeBytes - offsetBytes);
    for (let doneBytes = 0; doneBytes < lengthBytes;) {
      const { bytesRead } = await file.read(buffer, doneBytes, lengthBytes - doneBytes, offsetBytes + doneBytes);
      if (bytesRead === 0) throw new Error(`${path} became smaller while it was read`);
      doneBytes += bytesRead;
    }
    buffer.fill(0, lengthBytes, count * SECTOR_BYTES);
    return buffer.subarray(0, count * SECTOR_BYTES);
  };

  return {
    sizeBytes: sectorCount * SECTOR_BYTES,
    async *pieces() {
      // One is read while the other is being sent.
      const buffers = [new Uint8Array(DATA_MOST_BYTES), new Uint8Array(DATA_MOST_BYTES)] as const;
      let turn = 0;
      let reading: Promise<Uint8Array> | undefined;
      try {
        for (const { sector, count, isHole } of parts(file.fd, sectorCount)) {
          const next = isHole ? undefined : read(buffers[(turn ^= 1) as 0 | 1], sector, count);
          // It is waited for in its turn; until then its failure is nobody's.
          next?.catch(() => {});
          if (reading !== undefined) yield { bytes: await reading };
          reading = next;
          if (isHole) yield { holeSectors: count };
        }
        if (reading !== undefined) yield { bytes: await reading };
      } finally {
        await reading?.catch(() => {});
      }
    },
    // A file or device answers by itself.
    interrupt() {},
    close: () => file.close(),
  };
}

interface Part {
  readonly sector: number;
  readonly count: number;
  readonly isHole: boolean;
}

/** A file as holes and as parts that one read takes. */
function* parts(fd: number, sectorCount: number): Generator<Part, void, undefined> {
  let position = 0;
  for (const range of dataRanges(fd, sectorCount)) {
    const end = range.sector + range.sectorCount;
    if (range.sector > position) yield { sector: position, count: range.sector - position, isHole: true };
    for (let sector = range.sector; sector < end; sector += DATA_MOST_SECTORS) {
      yield { sector, count: Math.min(DATA_MOST_SECTORS, end - sector), isHole: false };
    }
    position = end;
  }
  if (position < sectorCount) yield { sector: position, count: sectorCount - position, isHole: true };
}

function pipeSource(stream: ReadableStream<Uint8Array>): ImageSource {
  const reader = stream.getReader();
  return {
    sizeBytes: undefined,
    async *pieces() {
      const buffer = new Uint8Array(DATA_MOST_BYTES);
      let filledBytes = 0;
      for (let chunk; (chunk = (await reader.read()).value) !== undefined;) {
        for (let at = 0; at < chunk.length;) {
          const part = chunk.subarray(at, at + DATA_MOST_BYTES - filledBytes);
          buffer.set(part, filledBytes);
          filledBytes += part.length;
          at += part.length;
          if (filledBytes < DATA_MOST_BYTES) continue;
          yield { bytes: buffer };
          filledBytes = 0;
        }
      }
      const lengthBytes = wholeSectors(filledBytes) * SECTOR_BYTES;
      buffer.fill(0, filledBytes, lengthBytes);
      if (lengthBytes > 0) yield { bytes: buffer.subarray(0, lengthBytes) };
    },
    interrupt: () => void reader.cancel().catch(() => {}),
    close: () => Promise.resolve(),
  };
}
