/** The disk of the operating system. Files are made with mode 0600, directories with 0700. */
import {
  close,
  closeSync,
  constants,
  fdatasync,
  fstatSync,
  fsync,
  ftruncateSync,
  mkdirSync,
  openSync,
  read,
  readdir,
  renameSync,
  unlinkSync,
} from "node:fs";
import { promisify } from "node:util";
import { dropCached, isHole, readAt, readCached, setVector, writeAt, writeVectors } from "../../../ffi/file.ts";
import { EAGAIN, EEXIST, EIO, EOPNOTSUPP, SystemError } from "../../../ffi/libc.ts";
import type { Memory } from "../../base/memory.ts";
import { type Disk, type DiskFile, type RangeList } from "./disk.ts";

const errnoOf = (error: unknown): number => Math.abs((error as NodeJS.ErrnoException).errno ?? EIO);

function named<T>(what: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw new SystemError(what, errnoOf(error));
  }
}

async function namedLater<T>(what: string, call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    throw new SystemError(what, errnoOf(error));
  }
}

const openFile = (path: string, flags: number): RealFile =>
  new RealFile(
    path,
    named(`${path} cannot be opened`, () => openSync(path, flags, 0o600)),
  );

export const realDisk: Disk = {
  open: (path, readOnly = false) => openFile(path, readOnly ? constants.O_RDONLY : constants.O_RDWR),
  create: (path) => openFile(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL),
  makeDirectory(path) {
    named(`directory ${path} cannot be made`, () => {
      try {
        mkdirSync(path, 0o700);
      } catch (error) {
        if (errnoOf(error) !== EEXIST) throw error;
      }
    });
  },
  async list(path) {
    return (await namedLater(`directory ${path} cannot be listed`, promisify(readdir)(path))).toSorted();
  },
  remove: (path) => named(`${path} cannot be removed`, () => unlinkSync(path)),
  rename: (from, to) => named(`${from} cannot be renamed to ${to}`, () => renameSync(from, to)),
  async syncDirectory(path) {
    const what = `directory ${path} could not be synced`;
    const fd = named(what, () => openSync(path, constants.O_RDONLY | constants.O_DIRECTORY));
    try {
      await namedLater(what, promisify(fsync)(fd));
    } finally {
      closeSync(fd);
    }
  },
};

class RealFile implements DiskFile {
  #closed = false;

  constructor(
    readonly path: string,
    readonly fd: number,
  ) {}

  sizeBytes(): number {
    return named(`size of ${this.path} is not known`, () => fstatSync(this.fd).size);
  }

  write(source: Memory, at: number, lengthBytes: number, offsetBytes: number): number {
    let doneBytes = 0;
    while (doneBytes < lengthBytes) {
      const address = source.address + at + doneBytes;
      const written = writeAt(this.fd, address, lengthBytes - doneBytes, offsetBytes + doneBytes);
      if (written <= 0) return doneBytes > 0 ? doneBytes : written;
      doneBytes += written;
    }
    return doneBytes;
  }

  writeRanges(ranges: RangeList, offsetBytes: number): number {
    let doneBytes = 0;
    while (doneBytes < ranges.totalBytes) {
      const written = writeVectors(this.fd, setVectors(ranges, doneBytes), offsetBytes + doneBytes);
      if (written <= 0) return doneBytes > 0 ? doneBytes : written;
      doneBytes += written;
    }
    return doneBytes;
  }

  tryRead(target: Memory, at: number, lengthBytes: number, offsetBytes: number): number {
    const address = target.address + at;
    let done = readCached(this.fd, address, lengthBytes, offsetBytes);
    // A hole is no reason to wait: no medium is asked for it.
    if (done === -EAGAIN && isHole(this.fd, offsetBytes, lengthBytes)) {
      done = readAt(this.fd, address, lengthBytes, offsetBytes);
    }
    if (done === lengthBytes) return done;
    return done >= 0 || done === -EOPNOTSUPP ? -EAGAIN : done;
  }

  read(target: Memory, at: number, lengthBytes: number, offsetBytes: number): Promise<number> {
    return new Promise((resolve) => {
      const readOn = (doneBytes: number): void => {
        const rest = target.bytes.subarray(at + doneBytes, at + lengthBytes);
        read(this.fd, rest, 0, rest.length, offsetBytes + doneBytes, (error, bytesRead) => {
          if (error) resolve(-errnoOf(error));
          else if (bytesRead === rest.length || bytesRead === 0) resolve(doneBytes + bytesRead);
          else readOn(doneBytes + bytesRead);
        });
      };
      readOn(0);
    });
  }

  sync(): Promise<void> {
    return namedLater(`${this.path} could not be synced`, promisify(fdatasync)(this.fd));
  }

  truncate(sizeBytes: number): void {
    named(`${this.path} cannot be cut to ${sizeBytes} bytes`, () => ftruncateSync(this.fd, sizeBytes));
  }

  forgetCached(): void {
    dropCached(this.fd);
  }

  close(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    // At once: the number may belong to another file as soon as this one is closed.
    this.#closed = true;
    return namedLater(`${this.path} could not be closed`, promisify(close)(this.fd));
  }
}

/** Hands the pieces after the first `skipBytes` to the system call, and returns how many there are. */
function setVectors(ranges: RangeList, skipBytes: number): number {
  let count = 0;
  let skip = skipBytes;
  for (let index = 0; index < ranges.count; index++) {
    const lengthBytes = ranges.lengths[index]!;
    if (skip >= lengthBytes) {
      skip -= lengthBytes;
      continue;
    }
    setVector(count++, ranges.memories[index]!.address + ranges.starts[index]! + skip, lengthBytes - skip);
    skip = 0;
  }
  return count;
}
