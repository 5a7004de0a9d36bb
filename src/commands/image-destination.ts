/** The file, device or pipe that `voe export` writes. */
import { constants, type Stats } from "node:fs";
import { open, realpath, rename, rm, stat, type FileHandle } from "node:fs/promises";
import { dirname } from "node:path";
import { deviceBytes, zeroDevice } from "../../ffi/file.ts";
import { DATA_MOST_BYTES } from "../protocol/image/frame.ts";
import { syncDirectory } from "../storage/file/medium.ts";

/** How much of a device is zeroed by one call, which nothing interrupts. */
const ZERO_SLICE_BYTES = 2 ** 22;

export interface ImageDestination {
  /** Writes the next bytes of the image, which may change when it resolves. */
  write(bytes: Uint8Array, offsetBytes: number): Promise<void>;
  /** Makes the next bytes of the image zeros. */
  zero(lengthBytes: number, offsetBytes: number): Promise<void>;
  /** Makes the image durable where it can be, and gives it its name. */
  finish(): Promise<void>;
  /** Leaves nothing behind that was not there before; of a device, what was written stays. */
  abandon(): Promise<void>;
}

export interface PreparedDestination {
  /** Opens it for an image of this size. Rejects where it is too small for it. */
  open(sizeBytes: number): Promise<ImageDestination>;
}

/**
 * Looks at FILE, `-` being stdout, and opens nothing yet. Rejects with what to do where it exists and may not be
 * overwritten, or cannot take an image.
 */
export async function prepareDestination(path: string, force: boolean): Promise<PreparedDestination> {
  if (path === "-") return { open: () => Promise.resolve(pipeDestination("stdout", Bun.stdout)) };
  const stats = await statsOf(path);
  if (stats === undefined) return { open: (sizeBytes) => openFile(path, sizeBytes) };
  if (stats.isFIFO() || stats.isCharacterDevice()) {
    return { open: () => openPipe(path) };
  }
  if (stats.isDirectory()) throw new Error(`${path} is a directory: name a file in it`);
  if (!stats.isFile() && !stats.isBlockDevice()) throw new Error(`${path} is no file, device or pipe`);
  if (!force) throw new Error(`${path} exists: choose another name, or overwrite it with --force`);
  if (stats.isBlockDevice()) return { open: (sizeBytes) => openDevice(path, sizeBytes) };
  // What a link leads to is replaced, and not the link.
  const target = await realpath(path);
  return { open: (sizeBytes) => openFile(target, sizeBytes, stats.mode & 0o7777) };
}

async function statsOf(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

async function writeAll(file: FileHandle, bytes: Uint8Array, offsetBytes: number): Promise<void> {
  for (let doneBytes = 0; doneBytes < bytes.length;) {
    const { bytesWritten } = await file.write(bytes, doneBytes, bytes.length - doneBytes, offsetBytes + doneBytes);
    doneBytes += bytesWritten;
  }
}

/** A new file beside FILE, which takes its name when the image is whole. */
async function openFile(path: string, sizeBytes: number, mode?: number): Promise<ImageDestination> {
  const partial = `${path}.partial`;
  let file: FileHandle;
  try {
    file = await open(partial, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o666);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") {
      throw new Error(`${path} cannot be written: ${(error as Error).message}`, { cause: error });
    }
    throw new Error(
      `${partial} exists: another export writes it, or one was killed. Where none does, remove it and try again`,
      { cause: error },
    );
  }
  const abandon = async (): Promise<void> => {
    await file.close();
    await rm(partial, { force: true });
  };
  try {
    if (mode !== undefined) await file.chmod(mode);
    // What is not written afterwards is a hole.
    await file.truncate(sizeBytes);
  } catch (error) {
    await abandon();
    throw new Error(`${path} could not be given ${sizeBytes} bytes: ${(error as Error).message}`, { cause: error });
  }
  return {
    write: (bytes, offsetBytes) => writeAll(file, bytes, offsetBytes),
    zero: () => Promise.resolve(),
    async finish() {
      await file.sync();
      await rename(partial, path);
      await file.close();
      syncDirectory(dirname(path));
    },
    abandon,
  };
}

/** A block device, which keeps what lies beyond the image. */
async function openDevice(path: string, sizeBytes: number): Promise<ImageDestination> {
  let file: FileHandle;
  try {
    // O_EXCL: not while it is mounted or served.
    file = await open(path, constants.O_WRONLY | constants.O_EXCL);
  } catch (error) {
    const isBusy = (error as NodeJS.ErrnoException).code === "EBUSY";
    const why = isBusy ? "it is in use, mounted or part of something else" : (error as Error).message;
    throw new Error(`${path} cannot be written: ${why}`, { cause: error });
  }
  const available = deviceBytes(file.fd);
  if (available < sizeBytes) {
    await file.close();
    throw new Error(`${path} has ${Math.max(0, available)} bytes, and the image ${sizeBytes}: use a larger device`);
  }
  const zeros = new Uint8Array(ZERO_SLICE_BYTES);
  return {
    write: (bytes, offsetBytes) => writeAll(file, bytes, offsetBytes),
    async zero(lengthBytes, offsetBytes) {
      for (let doneBytes = 0; doneBytes < lengthBytes; doneBytes += ZERO_SLICE_BYTES) {
        const partBytes = Math.min(ZERO_SLICE_BYTES, lengthBytes - doneBytes);
        if (zeroDevice(file.fd, offsetBytes + doneBytes, partBytes) !== 0) {
          // Some devices address larger units than sectors, and take parts of them through the page cache alone.
          await writeAll(file, zeros.subarray(0, partBytes), offsetBytes + doneBytes);
        }
        // Signals and progress get their turn.
        await new Promise((resolve) => setImmediate(resolve));
      }
    },
    async finish() {
      await file.sync();
      await file.close();
    },
    abandon: () => file.close(),
  };
}

async function openPipe(path: string): Promise<ImageDestination> {
  // Opened here, which waits for a reader: Bun's own opening of a path fails where there is none yet.
  const file = await open(path, constants.O_WRONLY);
  const destination = pipeDestination(path, Bun.file(file.fd));
  return {
    ...destination,
    async finish() {
      await destination.finish();
      await file.close().catch(() => {});
    },
    abandon: () => file.close().catch(() => {}),
  };
}

/** What takes bytes in their order and no others: zeros are written like all. */
function pipeDestination(name: string, pipe: Bun.BunFile): ImageDestination {
  const zeros = new Uint8Array(DATA_MOST_BYTES);
  const sink = pipe.writer({ highWaterMark: DATA_MOST_BYTES });
  const write = async (bytes: Uint8Array): Promise<void> => {
    try {
      await sink.write(bytes);
      // Waits until the reader has taken it, so that a slow one holds the server back.
      await sink.flush();
    } catch (error) {
      throw new Error(`${name} takes no more: ${(error as Error).message}`, { cause: error });
    }
  };
  return {
    write,
    async zero(lengthBytes) {
      for (let doneBytes = 0; doneBytes < lengthBytes; doneBytes += zeros.length) {
        await write(zeros.subarray(0, Math.min(zeros.length, lengthBytes - doneBytes)));
      }
    },
    async finish() {
      await sink.end();
    },
    async abandon() {},
  };
}
