/** Opens the file or device that a storage is kept in: created, locked, measured. Errors say what to do. */
import { closeSync, constants, fstatSync, fsyncSync, ftruncateSync, openSync, statSync, type Stats } from "node:fs";
import { dirname } from "node:path";
import { deviceBytes, deviceLogicalBlockBytes, isDeviceReadOnly, lockFile } from "../../../ffi/file.ts";
import { formatSize } from "../../base/size.ts";
import { SECTOR_BYTES } from "../block-storage.ts";

export interface Medium {
  readonly kind: "file" | "device";
  readonly path: string;
  readonly fd: number;
  readonly readOnly: boolean;
  readonly sizeBytes: number;
  /** What the operator should know of how it was found, if anything. */
  readonly notice: string | undefined;
}

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code;

/** Makes a name in a directory durable. */
export function syncDirectory(path: string): void {
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Runs `use`, and closes the descriptor where that throws. */
function orClose<T>(fd: number, use: () => T): T {
  try {
    return use();
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/**
 * Opens a file for a disk. One that is absent is created sparse at `sizeBytes`; one that exists keeps its size unless
 * `sizeBytes` is more.
 */
export function openFile(path: string, sizeBytes: number | undefined, readOnly: boolean): Medium {
  // Looked at before it is opened, since opening a pipe would wait for its other end.
  checkIsFile(path, statsOf(path));
  const fd = openOrCreate(path, sizeBytes, readOnly);
  return orClose(fd, () => {
    const stats = fstatSync(fd);
    lock(fd, path, !readOnly);
    if (sizeBytes !== undefined && sizeBytes > stats.size && !readOnly) {
      setSize(fd, path, sizeBytes);
      // Perhaps made by a server that died before the name was durable.
      if (stats.size === 0) syncDirectory(dirname(path));
      const notice =
        stats.size === 0 ? undefined : `${path} grew from ${formatSize(stats.size)} to ${formatSize(sizeBytes)}`;
      return { kind: "file", path, fd, readOnly, sizeBytes, notice };
    }
    const wholeBytes = stats.size - (stats.size % SECTOR_BYTES);
    if (wholeBytes === 0)
      throw new Error(`${path} is smaller than one sector of ${SECTOR_BYTES} bytes: give it a size`);
    return { kind: "file", path, fd, readOnly, sizeBytes: wholeBytes, notice: sizeNotice(path, stats.size, sizeBytes) };
  });
}

function lock(fd: number, path: string, exclusive: boolean): void {
  let locked: boolean;
  try {
    locked = lockFile(fd, exclusive);
  } catch (error) {
    throw new Error(`${path} ${(error as Error).message}: serve a file on another filesystem`, { cause: error });
  }
  if (!locked) throw new Error(`${path} is served by another process: stop that one, or serve another file`);
}

function sizeNotice(path: string, actualBytes: number, configuredBytes: number | undefined): string | undefined {
  if (actualBytes % SECTOR_BYTES !== 0) {
    return `${path}: the last ${actualBytes % SECTOR_BYTES} bytes are no whole sector and are not served`;
  }
  if (configuredBytes === undefined || configuredBytes === actualBytes) return undefined;
  return `${path} has ${formatSize(actualBytes)}, which wins over the configured ${formatSize(configuredBytes)}: a disk never shrinks`;
}

function openOrCreate(path: string, sizeBytes: number | undefined, readOnly: boolean): number {
  const mode = readOnly ? constants.O_RDONLY : constants.O_RDWR;
  try {
    return openSync(path, mode);
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw openError(path, error);
    if (readOnly) throw new Error(`${path} does not exist, and a read-only target cannot create it`, { cause: error });
    if (sizeBytes === undefined) {
      throw new Error(`${path} does not exist: give the target a size, and it is created`, { cause: error });
    }
  }
  try {
    const fd = openSync(path, mode | constants.O_CREAT | constants.O_EXCL, 0o600);
    return orClose(fd, () => {
      // Locked before it has a size, so that of two processes that start at once one creates and the other is refused.
      lock(fd, path, true);
      setSize(fd, path, sizeBytes);
      syncDirectory(dirname(path));
      return fd;
    });
  } catch (error) {
    throw openError(path, error);
  }
}

/** Gives a file its size, durably, before anything is served from it. The new part is a hole. */
function setSize(fd: number, path: string, sizeBytes: number): void {
  try {
    ftruncateSync(fd, sizeBytes);
    fsyncSync(fd);
  } catch (error) {
    throw sizeError(path, sizeBytes, error);
  }
}

/** Why a file could not be given a size. */
export const sizeError = (path: string, sizeBytes: number, error: unknown): Error =>
  new Error(`${path} could not be given ${formatSize(sizeBytes)}: ${(error as Error).message}`, { cause: error });

/** What a path leads to, or undefined for nothing. */
function statsOf(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch (error) {
    throw openError(path, error);
  }
}

function checkIsFile(path: string, stats: Stats | undefined): void {
  if (stats === undefined || stats.isFile()) return;
  if (stats.isBlockDevice()) throw new Error(`${path} is a block device: use backend = "device"`);
  throw new Error(`${path} is not a regular file`);
}

/** Opens a block device for exclusive use: one that is mounted, or used by another process that way, is refused. */
export function openDevice(path: string, readOnly: boolean, direct: boolean): Medium {
  const stats = statsOf(path);
  if (stats === undefined) throw new Error(`${path}: there is no such device`);
  if (!stats.isBlockDevice()) throw new Error(`${path} is not a block device: use backend = "file"`);
  const mode = readOnly ? constants.O_RDONLY : constants.O_RDWR;
  let fd: number;
  try {
    fd = openSync(path, mode | constants.O_EXCL | (direct ? constants.O_DIRECT : 0));
  } catch (error) {
    if (codeOf(error) !== "EBUSY") throw openError(path, error);
    throw new Error(`${path} is in use: it is mounted, part of a RAID or LVM volume, or served by another process`, {
      cause: error,
    });
  }
  return orClose(fd, () => {
    if (!readOnly && isDeviceReadOnly(fd)) {
      throw new Error(`${path} is a read-only device: set read_only = true to serve it so`);
    }
    const sizeBytes = deviceBytes(fd);
    if (sizeBytes <= 0) throw new Error(`${path} has no size: is there a medium in it?`);
    const logicalBytes = deviceLogicalBlockBytes(fd);
    if (direct && logicalBytes !== SECTOR_BYTES) {
      throw new Error(
        `${path} addresses units of ${logicalBytes} bytes, and clients ask for ${SECTOR_BYTES}: leave direct off, ` +
          `the page cache does the rest`,
      );
    }
    return { kind: "device", path, fd, readOnly, sizeBytes: sizeBytes - (sizeBytes % SECTOR_BYTES), notice: undefined };
  });
}

function openError(path: string, error: unknown): Error {
  switch (codeOf(error)) {
    case "EACCES":
    case "EPERM":
      return new Error(`${path} may not be opened by user ${process.getuid?.()}: check its owner and mode`, {
        cause: error,
      });
    case "EROFS":
      return new Error(`${path} lies on a read-only filesystem: set read_only = true to serve it so`, { cause: error });
    case "ENOENT":
      return new Error(`${path} cannot be created, its directory does not exist`, { cause: error });
    case "ENXIO":
    case "ENODEV":
      return new Error(`${path}: there is no such device`, { cause: error });
    default:
      return error instanceof Error ? error : new Error(String(error));
  }
}
