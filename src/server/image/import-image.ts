/** Writes an image that arrives as frames onto a disk. */
import { allocateMemory, freeMemory } from "../../../ffi/memory.ts";
import { DATA, DATA_MOST_BYTES, END, type FrameReader } from "../../protocol/image/frame.ts";
import type { ImportResult } from "../../protocol/image/transfer.ts";
import { LATER, OK, SECTOR_BYTES, type BlockStorage } from "../../storage/block-storage.ts";
import { requestWindow } from "./request-window.ts";
import { storageFailure } from "./storage-failure.ts";
import { loopTurn } from "./loop-turn.ts";

/** 16 MiB: what one sync covers where every write is answered when it is durable. */
const MOST_IN_FLIGHT = 64;
/**
 * A flush is begun after so much data. Without it the page cache fills with what was imported, until the kernel makes
 * everyone who writes wait, and that is the event loop.
 */
const FLUSH_EVERY_BYTES = 64 * 2 ** 20;

/**
 * Writes the frames to the start of the disk, makes them durable, and says what there was. Rejects where the image does
 * not fit, where the frames end early, or where the disk fails; what was written until then stays, and nothing is in
 * flight any more.
 */
export async function importImage(
  storage: BlockStorage,
  frames: FrameReader,
  options: { readonly trimRest: boolean },
): Promise<ImportResult> {
  const window = requestWindow(MOST_IN_FLIGHT);
  const flushes = requestWindow(1);
  const turn = loopTurn();
  const buffer = allocateMemory(DATA_MOST_BYTES);
  let dataBytes = 0;
  let unflushedBytes = 0;

  const write = async (sector: number, count: number): Promise<void> => {
    await window.room();
    const status = storage.tryWrite(sector, count, buffer, 0);
    if (status === LATER) {
      const completion = window.begin((failed) => storageFailure("writing", sector, count, failed));
      storage.write(sector, count, buffer, 0, false, completion);
    } else if (status !== OK) {
      throw storageFailure("writing", sector, count, status);
    }
  };
  const discard = async (sector: number, count: number): Promise<void> => {
    await window.room();
    const completion = window.begin((failed) => storageFailure("discarding", sector, count, failed));
    storage.writeZeroes(sector, count, false, false, completion);
  };
  const flush = async (): Promise<void> => {
    await flushes.room();
    storage.flush(flushes.begin(() => new Error("making it durable failed. The server's log says why")));
  };

  try {
    for (;;) {
      const { kind, sector, count } = await frames.next();
      if (kind === END) {
        const rest = options.trimRest ? storage.info.sectorCount - sector : 0;
        if (rest > 0) await discard(sector, rest);
        await window.drained();
        await flush();
        await flushes.drained();
        const sizeBytes = sector * SECTOR_BYTES;
        return { sizeBytes, dataBytes, holeBytes: sizeBytes - dataBytes, trimmedBytes: rest * SECTOR_BYTES };
      }
      const lengthBytes = count * SECTOR_BYTES;
      if (sector + count > storage.info.sectorCount) {
        throw new Error(
          `the image is larger than the disk, which has ${storage.info.sectorCount * SECTOR_BYTES} bytes`,
        );
      }
      if (kind === DATA) {
        await frames.take(buffer.bytes);
        await write(sector, count);
        dataBytes += lengthBytes;
        unflushedBytes += lengthBytes;
        if (unflushedBytes >= FLUSH_EVERY_BYTES) {
          unflushedBytes = 0;
          await flush();
        }
      } else {
        await discard(sector, count);
      }
      await turn();
    }
  } finally {
    await window.settled();
    await flushes.settled();
    freeMemory(buffer);
  }
}
