/**
 * Space kept back on the disk of a journal. A checkpoint gives the journal's space back, but needs some first: for the
 * header of a new segment, and for what it says of the journal. So does a start. On a full disk the reserve is given up
 * for that bit by bit, since clients' writes take what is left of each bit, and made whole again when there is room.
 */
import { EDQUOT, EEXIST, ENOSPC, SystemError } from "../../../ffi/libc.ts";
import { allocateMemory, freeMemory } from "../../../ffi/memory.ts";
import type { Disk, DiskFile } from "./disk.ts";

const RESERVE_BYTES = 512 * 1024;
/** What is given up at a time. */
const BIT_BYTES = 16 * 1024;
/** What only a start may take. */
const START_BYTES = RESERVE_BYTES / 2;
/** Writes that the reserve is for: headers and the like, and no data. */
const SMALL_BYTES = 4096;

export interface ReservedDisk extends Disk {
  /** The start is over: half of the reserve is left for the next one. */
  started(): void;
}

const isFull = (errno: number): boolean => errno === ENOSPC || errno === EDQUOT;
const isFullError = (error: unknown): boolean => error instanceof SystemError && isFull(error.errno);

/** The same disk, with a reserve in the file at `path`, in a directory that exists. */
export function withReserve(disk: Disk, path: string): ReservedDisk {
  let keptBytes = 0;
  let leastBytes = 0;

  /** Whether there is more room now. */
  const giveUp = (): boolean => {
    if (keptBytes - BIT_BYTES < leastBytes) return false;
    keptBytes -= BIT_BYTES;
    closedAfter(disk.open(path), (file) => file.truncate(keptBytes));
    return true;
  };

  const keep = (): void => {
    if (keptBytes === RESERVE_BYTES) return;
    try {
      closedAfter(openOrCreate(disk, path), (file) => {
        keptBytes = Math.min(RESERVE_BYTES, file.sizeBytes());
        if (addZeros(file, keptBytes, RESERVE_BYTES - keptBytes)) keptBytes = RESERVE_BYTES;
        else file.truncate(keptBytes);
      });
    } catch (error) {
      if (!isFullError(error)) throw error;
    }
  };

  /** The file, whose small writes may use the reserve. A removed file gives its space back when it is closed. */
  const withRoom = (file: DiskFile): DiskFile => {
    const write = file.write.bind(file);
    const close = file.close.bind(file);
    // Only these two: data goes through the others.
    file.write = (source, at, lengthBytes, offsetBytes) => {
      const written = write(source, at, lengthBytes, offsetBytes);
      const wasFull = isFull(-written) || (written >= 0 && written < lengthBytes);
      if (!wasFull || lengthBytes > SMALL_BYTES || !giveUp()) return written;
      return write(source, at, lengthBytes, offsetBytes);
    };
    file.close = () => close().finally(keep);
    return file;
  };

  keep();
  return {
    makeDirectory: (name) => disk.makeDirectory(name),
    list: (name) => disk.list(name),
    remove(name) {
      disk.remove(name);
      keep();
    },
    rename: (from, to) => disk.rename(from, to),
    syncDirectory: (name) => disk.syncDirectory(name),
    open: (name, readOnly) => withRoom(disk.open(name, readOnly)),
    create(name) {
      try {
        return withRoom(disk.create(name));
      } catch (error) {
        if (!isFullError(error) || !giveUp()) throw error;
        return withRoom(disk.create(name));
      }
    },
    started() {
      leastBytes = START_BYTES;
    },
  };
}

function closedAfter(file: DiskFile, use: (file: DiskFile) => void): void {
  try {
    use(file);
  } finally {
    // Nothing depends on its end.
    void file.close().catch(() => {});
  }
}

function openOrCreate(disk: Disk, path: string): DiskFile {
  try {
    return disk.create(path);
  } catch (error) {
    if (!(error instanceof SystemError) || error.errno !== EEXIST) throw error;
    return disk.open(path);
  }
}

function addZeros(file: DiskFile, offsetBytes: number, lengthBytes: number): boolean {
  if (lengthBytes === 0) return true;
  const memory = allocateMemory(lengthBytes);
  try {
    return file.write(memory, 0, lengthBytes, offsetBytes) === lengthBytes;
  } finally {
    freeMemory(memory);
  }
}
