/**
 * Space kept back on the disk of a journal. A checkpoint gives the journal's space back, but needs some first: for the
 * header of a new segment, and for what it says of the journal. So does a start. On a full disk the reserve is given up
 * for that, and made again when there is room.
 */
import { EEXIST, ENOSPC, SystemError } from "../../../ffi/libc.ts";
import { allocateMemory, freeMemory } from "../../../ffi/memory.ts";
import type { Disk, DiskFile } from "./disk.ts";

const RESERVE_BYTES = 256 * 1024;
/** Writes that the reserve is for: headers and the like, and no data. */
const SMALL_BYTES = 4096;

/** The same disk, with a reserve in the file at `path`, in a directory that exists. */
export function withReserve(disk: Disk, path: string): Disk {
  let isKept = false;

  /** Whether there is more room now. */
  const giveUp = (): boolean => {
    if (!isKept) return false;
    isKept = false;
    disk.remove(path);
    return true;
  };

  const keep = (): void => {
    if (isKept) return;
    const file = createIfAbsent(disk, path);
    const isWhole = file.sizeBytes() === RESERVE_BYTES || fillWithZeros(file);
    // Nothing depends on its end.
    void file.close().catch(() => {});
    isKept = true;
    if (!isWhole) giveUp();
  };

  const orGiveUp = (written: number, lengthBytes: number, again: () => number): number => {
    const isFull = written === -ENOSPC || (written >= 0 && written < lengthBytes);
    return isFull && lengthBytes <= SMALL_BYTES && giveUp() ? again() : written;
  };

  return {
    ...disk,
    create(name) {
      let file: DiskFile;
      try {
        keep();
        file = disk.create(name);
      } catch (error) {
        if (!(error instanceof SystemError) || error.errno !== ENOSPC || !giveUp()) throw error;
        file = disk.create(name);
      }
      // Of its methods this one alone: the others are those that data goes through.
      const write = file.write.bind(file);
      file.write = (source, at, lengthBytes, offsetBytes) =>
        orGiveUp(write(source, at, lengthBytes, offsetBytes), lengthBytes, () =>
          write(source, at, lengthBytes, offsetBytes),
        );
      return file;
    },
  };
}

function createIfAbsent(disk: Disk, path: string): DiskFile {
  try {
    return disk.create(path);
  } catch (error) {
    if (!(error instanceof SystemError) || error.errno !== EEXIST) throw error;
    return disk.open(path);
  }
}

function fillWithZeros(file: DiskFile): boolean {
  const memory = allocateMemory(RESERVE_BYTES);
  try {
    return file.write(memory, 0, RESERVE_BYTES, 0) === RESERVE_BYTES;
  } finally {
    freeMemory(memory);
  }
}
