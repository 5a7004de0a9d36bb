/**
 * What a file store does to names and files, off the event loop but for what says otherwise: so few calls that a test
 * can put one in its place that fails, that writes down the order, or that loses power. Errors are those of node:fs,
 * with `code`.
 */
import { close, closeSync, constants, open as openDescriptor, openSync, read } from "node:fs";
import { link, mkdir, open, readdir, rename, stat, unlink, type FileHandle } from "node:fs/promises";
import { promisify } from "node:util";
import { dropCached, lockFile, readAhead, readCached, setDirect } from "../../ffi/file.ts";
import type { Memory } from "../base/memory.ts";

export interface DirectoryEntry {
  readonly name: string;
  readonly isDirectory: boolean;
}

/** A file that is open for reading. */
export interface ReadableFile {
  /** Reads from the page cache alone, at once: false where that does not give all. */
  tryRead(target: Memory, at: number, lengthBytes: number, offsetBytes: number): boolean;
  /** Resolves to the bytes read, at least one unless the file ends at the offset, and perhaps fewer than asked. */
  read(target: Memory, at: number, lengthBytes: number, offsetBytes: number): Promise<number>;
  /** Drops what the page cache holds of it. */
  forgetCached(): void;
  /** Has a part of it read into the page cache, without waiting for that. */
  willRead(offsetBytes: number, lengthBytes: number): void;
  close(): Promise<void>;
}

/** The content of a file, in order. A piece is not touched any more when the next one is asked for. */
export type Pieces = Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

export interface FileSystem {
  /** Makes one directory. Does nothing where it is there. */
  makeDirectory(path: string): Promise<void>;
  list(path: string): Promise<DirectoryEntry[]>;
  sizeBytes(path: string): Promise<number>;
  /** A whole small file; of a larger one, `mostBytes` and one more. */
  readFile(path: string, mostBytes: number): Promise<Uint8Array>;
  /**
   * Creates a file that must not be there, and makes its content durable, not its name. Pieces are written one after
   * the other; what they throw is thrown.
   */
  createFile(path: string, pieces: Pieces): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** Gives a file a second name. Fails with EEXIST where there is one. */
  link(path: string, to: string): Promise<void>;
  remove(path: string): Promise<void>;
  /** Makes the names in a directory durable. */
  syncDirectory(path: string): Promise<void>;
  /** Opens a file for reading. */
  open(path: string): Promise<ReadableFile>;
  /**
   * Locks a file for this process, at once, and makes it where it is missing: what gives the lock up, or undefined where
   * another process has it.
   */
  lock(path: string): (() => void) | undefined;
}

const DIRECTORY_MODE = 0o700;
const FILE_MODE = 0o600;

export const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException | undefined)?.code;

export const realFileSystem: FileSystem = {
  async makeDirectory(path) {
    try {
      await mkdir(path, DIRECTORY_MODE);
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw error;
    }
  },
  async list(path) {
    const entries = await readdir(path, { withFileTypes: true });
    return entries.map((entry) => ({ name: entry.name, isDirectory: entry.isDirectory() }));
  },
  async sizeBytes(path) {
    return (await stat(path)).size;
  },
  async readFile(path, mostBytes) {
    const file = await open(path, "r");
    try {
      const bytes = new Uint8Array(mostBytes + 1);
      let doneBytes = 0;
      while (doneBytes < bytes.length) {
        const { bytesRead } = await file.read(bytes, doneBytes, bytes.length - doneBytes, doneBytes);
        if (bytesRead === 0) break;
        doneBytes += bytesRead;
      }
      return bytes.slice(0, doneBytes);
    } finally {
      await file.close();
    }
  },
  async createFile(path, pieces) {
    const file = await open(path, "wx", FILE_MODE);
    try {
      let atBytes = 0;
      for await (const bytes of pieces) {
        const isDirect = bytes.length >= DIRECT_LEAST_BYTES && atBytes % DIRECT_UNIT_BYTES === 0;
        const directBytes = isDirect ? await writeDirect(file, bytes, atBytes) : 0;
        await writeFrom(file, bytes, directBytes, bytes.length, atBytes);
        atBytes += bytes.length;
      }
      await file.sync();
    } finally {
      await file.close();
    }
  },
  rename,
  link,
  remove: unlink,
  async syncDirectory(path) {
    const directory = await open(path, "r");
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  },
  open: async (path) => readableFile(await promisify(openDescriptor)(path, "r")),
  lock(path) {
    const fd = openSync(path, constants.O_RDWR | constants.O_CREAT, FILE_MODE);
    if (lockFile(fd, true)) return () => closeSync(fd);
    closeSync(fd);
    return undefined;
  },
};

/**
 * Pieces of this size and more, which are packs, do not go through the page cache: that would copy them, into memory
 * that a virtual machine may have to be given first, and keep them beside the journal's copy of the same data. In a
 * machine like that 1 GiB in files of 16 MiB, synced, took 0.4 to 0.9 s of CPU time through the page cache, and 0.03 s so.
 */
const DIRECT_LEAST_BYTES = 2 ** 20;
/** What lengths and offsets are multiples of for that: as much as any medium asks for. */
const DIRECT_UNIT_BYTES = 4096;

/** Writes a part of a piece that belongs at byte `at` of the file. */
async function writeFrom(
  file: FileHandle,
  bytes: Uint8Array,
  fromBytes: number,
  toBytes: number,
  at: number,
): Promise<void> {
  for (let doneBytes = fromBytes; doneBytes < toBytes;) {
    const { bytesWritten } = await file.write(bytes, doneBytes, toBytes - doneBytes, at + doneBytes);
    doneBytes += bytesWritten;
  }
}

/**
 * Writes the whole units of a piece from the memory itself, and resolves to how many bytes these are: 0 where the
 * filesystem, or where the memory lies, does not allow that.
 */
async function writeDirect(file: FileHandle, bytes: Uint8Array, at: number): Promise<number> {
  const mostBytes = bytes.length - (bytes.length % DIRECT_UNIT_BYTES);
  if (!setDirect(file.fd, true)) return 0;
  try {
    await writeFrom(file, bytes, 0, mostBytes, at);
    return mostBytes;
  } catch (error) {
    if (codeOf(error) !== "EINVAL") throw error;
    return 0;
  } finally {
    setDirect(file.fd, false);
  }
}

const readableFile = (fd: number): ReadableFile => ({
  tryRead: (target, at, lengthBytes, offsetBytes) =>
    readCached(fd, target.address + at, lengthBytes, offsetBytes) === lengthBytes,
  read: (target, at, lengthBytes, offsetBytes) =>
    new Promise((resolve, reject) => {
      read(fd, target.bytes, at, lengthBytes, offsetBytes, (error, bytesRead) => {
        if (error) reject(error);
        else resolve(bytesRead);
      });
    }),
  forgetCached: () => dropCached(fd),
  willRead: (offsetBytes, lengthBytes) => readAhead(fd, offsetBytes, lengthBytes),
  close: () => promisify(close)(fd),
});
