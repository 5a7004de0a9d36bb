/** Reads a disk from its first sector to its last, as frames. */
import { allocateMemory, freeMemory } from "../../../ffi/memory.ts";
import type { Memory } from "../../base/memory.ts";
import { DATA_MOST_BYTES, DATA_MOST_SECTORS, failureFrame } from "../../protocol/image/frame.ts";
import { frameWriter } from "../../protocol/image/frame-writer.ts";
import { LATER, OK, SECTOR_BYTES, type BlockStorage, type StorageStatus } from "../../storage/block-storage.ts";
import { storageFailure } from "./storage-failure.ts";
import { loopTurn } from "./loop-turn.ts";

/** Reads in flight at once, of 256 KiB each: an archive's blocks may have to come from afar. */
const READ_AHEAD = 8;
const EXTENTS_AT_ONCE = 1024;

export interface SectorRange {
  readonly sector: number;
  readonly sectorCount: number;
}

export type ReadableDisk = Pick<BlockStorage, "info" | "tryRead" | "read" | "extents">;

/** A read that has begun, or a hole. */
interface Piece extends SectorRange {
  readonly memory?: Memory;
  readonly status?: StorageStatus | Promise<StorageStatus>;
}

/**
 * The disk's content as frames. A failure becomes the last frame, since a stream that breaks off does not say why. Ends
 * with nothing in flight, also when it is not read to its end.
 */
export async function* exportImage(disk: ReadableDisk): AsyncGenerator<Uint8Array> {
  const turn = loopTurn();
  const writer = frameWriter();
  const free = Array.from({ length: READ_AHEAD }, () => allocateMemory(DATA_MOST_BYTES));
  const memories = [...free];
  const begun: Piece[] = [];
  const ranges = pieces(disk);

  const begin = ({ sector, sectorCount }: SectorRange): Piece => {
    const memory = free.pop()!;
    const status = disk.tryRead(sector, sectorCount, memory, 0);
    if (status !== LATER) return { sector, sectorCount, memory, status };
    const { promise, resolve } = Promise.withResolvers<StorageStatus>();
    disk.read(sector, sectorCount, memory, 0, { complete: resolve });
    return { sector, sectorCount, memory, status: promise };
  };

  try {
    for (let ended = false; !ended || begun.length > 0;) {
      while (!ended && begun.length < READ_AHEAD) {
        const next = await ranges.next();
        if (next.done) ended = true;
        else begun.push(next.value.isHole ? next.value : begin(next.value));
      }
      const piece = begun.shift();
      if (piece === undefined) break;
      const { sector, sectorCount, memory } = piece;
      if (memory === undefined) {
        writer.hole(sectorCount);
        continue;
      }
      let status: StorageStatus;
      try {
        status = await piece.status!;
      } finally {
        free.push(memory);
      }
      if (status !== OK) throw storageFailure("reading", sector, sectorCount, status);
      yield* writer.data(memory.bytes.subarray(0, sectorCount * SECTOR_BYTES));
      await turn();
    }
    yield* writer.end();
  } catch (error) {
    yield failureFrame((error as Error).message);
  } finally {
    for (const { status } of begun) await status;
    await ranges.return(undefined);
    for (const memory of memories) freeMemory(memory);
  }
}

/** The whole disk as holes and as ranges that one read takes, ascending and without gaps. */
async function* pieces(disk: ReadableDisk): AsyncGenerator<SectorRange & { isHole: boolean }, undefined, undefined> {
  const { sectorCount } = disk.info;
  for (let position = 0; position < sectorCount;) {
    for (const extent of await disk.extents(position, sectorCount - position, EXTENTS_AT_ONCE)) {
      const end = position + extent.sectorCount;
      const most = extent.isHole ? Infinity : DATA_MOST_SECTORS;
      while (position < end) {
        const count = Math.min(most, end - position);
        yield { sector: position, sectorCount: count, isHole: extent.isHole };
        position += count;
      }
    }
  }
}
