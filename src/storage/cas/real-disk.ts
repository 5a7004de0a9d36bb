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
import { dropCached, isHole, readAt, readCached, setVector, sizeOf, writeAt, writeVectors } from "../../../ffi/file.ts";
import { EAGAIN, EEXIST, EIO, EOPNOTSUPP, SystemError } from "../../../ffi/libc.ts";
import { allocateMemory, mapFile, RESIDENT_MOST_PAGES, residentPages, unmap } from "../../../ffi/memory.ts";
import type { Memory } from "../../base/memory.ts";
import { type Disk, type DiskFile, type RangeList } from "./disk.ts";

const PAGE_BYTES = 4096;
/** What `prepare` writes in one call, and so the most that the page cache keeps of it in one piece. */
const ZEROS_BYTES = 65_536;
/** How much `prepare` looks at to see whether it is cached: 3 us a look. */
const LOOK_BYTES = 2 ** 20;

const zeros = allocateMemory(ZEROS_BYTES);

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
  /** What `prepare` has found cached. */
  #cachedFrom = 0;
  #cachedTo = 0;

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

  prepare(offsetBytes: number, lengthBytes: number): void {
    // A part of a page that is not cached would be read from the medium before it is written.
    if (this.#isCached(offsetBytes, lengthBytes)) return;
    for (let done = 0; done < lengthBytes;) {
      const written = writeAt(this.fd, zeros.address, Math.min(ZEROS_BYTES, lengthBytes - done), offsetBytes + done);
      if (written <= 0) return;
      done += written;
    }
  }

  #isCached(offsetBytes: number, lengthBytes: number): boolean {
    const endBytes = offsetBytes + lengthBytes;
    if (offsetBytes >= this.#cachedFrom && endBytes <= this.#cachedTo) return true;
    const sizeBytes = sizeOf(this.fd);
    if (endBytes > sizeBytes) return false;
    const fromBytes = Math.floor(offsetBytes / PAGE_BYTES) * PAGE_BYTES;
    const lookBytes = Math.min(Math.max(LOOK_BYTES, endBytes - fromBytes), sizeBytes - fromBytes);
    this.#cachedFrom = fromBytes;
    this.#cachedTo = fromBytes + cachedBytes(this.fd, fromBytes, lookBytes);
    return endBytes <= this.#cachedTo;
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
    this.#cachedTo = 0;
    named(`${this.path} cannot be cut to ${sizeBytes} bytes`, () => ftruncateSync(this.fd, sizeBytes));
  }

  forgetCached(): void {
    this.#cachedTo = 0;
    dropCached(this.fd);
  }

  close(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    // At once: the number may belong to another file as soon as this one is closed.
    this.#closed = true;
    return namedLater(`${this.path} could not be closed`, promisify(close)(this.fd));
  }
}

/** How many bytes of a range are in the page cache, from its beginning, at a page boundary, on. */
function cachedBytes(fd: number, fromBytes: number, lengthBytes: number): number {
  const pageCount = Math.min(RESIDENT_MOST_PAGES, Math.ceil(lengthBytes / PAGE_BYTES));
  const address = mapFile(fd, fromBytes, pageCount * PAGE_BYTES);
  if (address === 0) return 0;
  const pages = residentPages(address, pageCount);
  unmap(address, pageCount * PAGE_BYTES);
  if (pages === undefined) return 0;
  const absent = pages.subarray(0, pageCount).findIndex((page) => (page & 1) === 0);
  return (absent < 0 ? pageCount : absent) * PAGE_BYTES;
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
