/** The files of a file store on a simulated disk, as the present process has them: dead after the next crash. */
import { EEXIST, errorName, SystemError } from "../../ffi/libc.ts";
import { allocateMemory, freeMemory } from "../../ffi/memory.ts";
import type { FileSystem, Pieces } from "../../src/blob/file-system.ts";
import type { Disk, DiskFile } from "../../src/storage/cas/disk.ts";
import type { SimulatedDisk } from "./simulated-disk.ts";

/** Locks of a machine's processes, which end with them. */
export class SimulatedLocks {
  readonly #held = new Map<string, () => boolean>();

  /** Locks a path for a process that is alive as long as `isAlive` says so. */
  lock(path: string, isAlive: () => boolean): (() => void) | undefined {
    if (this.#held.get(path)?.() === true) return undefined;
    this.#held.set(path, isAlive);
    return () => {
      if (this.#held.get(path) === isAlive) this.#held.delete(path);
    };
  }
}

/** The error as node:fs has it, with a `code`. */
function asNode(error: unknown): unknown {
  return error instanceof SystemError
    ? Object.assign(error, { code: errorName(error.errno).replace(/:.*/, "") })
    : error;
}

/** `disk` is the process's session of `simulated`. */
export function simulatedFileSystem(
  simulated: SimulatedDisk,
  disk: Disk,
  locks: SimulatedLocks,
  isAlive: () => boolean,
): FileSystem {
  /** A call that takes effect some time before it is told. */
  const later = async <T>(work: () => T): Promise<T> => {
    if (!isAlive()) await disk.list("/");
    try {
      return await simulated.later(work);
    } catch (error) {
      throw asNode(error);
    }
  };
  const told = async <T>(call: () => Promise<T>): Promise<T> => {
    try {
      return await call();
    } catch (error) {
      throw asNode(error);
    }
  };
  const readAll = async (file: DiskFile, mostBytes: number): Promise<Uint8Array> => {
    const wantedBytes = Math.min(mostBytes + 1, file.sizeBytes());
    const memory = allocateMemory(Math.max(1, wantedBytes));
    try {
      const done = await file.read(memory, 0, wantedBytes, 0);
      if (done < 0) throw new SystemError(`${file.path} cannot be read`, -done);
      return memory.bytes.slice(0, done);
    } finally {
      freeMemory(memory);
    }
  };
  const writeAll = async (file: DiskFile, pieces: Pieces): Promise<void> => {
    let at = 0;
    for await (const bytes of pieces) {
      const memory = allocateMemory(Math.max(1, bytes.length));
      memory.bytes.set(bytes);
      try {
        for (let done = 0; done < bytes.length;) {
          const written = await later(() => file.write(memory, done, bytes.length - done, at));
          if (written < 0) throw new SystemError(`${file.path} cannot be written`, -written);
          done += written;
          at += written;
        }
      } finally {
        freeMemory(memory);
      }
    }
    await file.sync();
  };
  return {
    makeDirectory: (path) => later(() => disk.makeDirectory(path)),
    list: (path) =>
      told(async () => {
        const names = await disk.list(path);
        return names.map((name) => ({ name, isDirectory: simulated.isDirectory(`${path}/${name}`) }));
      }),
    sizeBytes: (path) => later(() => disk.open(path, true).sizeBytes()),
    readFile: (path, mostBytes) =>
      told(async () => {
        const file = await later(() => disk.open(path, true));
        return readAll(file, mostBytes);
      }),
    createFile: (path, pieces) =>
      told(async () => {
        const file = await later(() => disk.create(path));
        await writeAll(file, pieces);
      }),
    rename: (from, to) => later(() => disk.rename(from, to)),
    link: (path, to) => later(() => simulated.link(path, to)),
    remove: (path) => later(() => disk.remove(path)),
    syncDirectory: (path) => told(() => disk.syncDirectory(path)),
    open: (path) =>
      told(async () => {
        const file = await later(() => disk.open(path, true));
        return {
          tryRead: (target, at, lengthBytes, offsetBytes) =>
            file.tryRead(target, at, lengthBytes, offsetBytes) === lengthBytes,
          async read(target, at, lengthBytes, offsetBytes) {
            const done = await told(() => file.read(target, at, lengthBytes, offsetBytes));
            if (done < 0) throw asNode(new SystemError(`${path} cannot be read`, -done));
            return done;
          },
          forgetCached: () => file.forgetCached(),
          willRead() {},
          close: () => file.close(),
        };
      }),
    lock(path) {
      try {
        disk.create(path);
      } catch (error) {
        if (!(error instanceof SystemError && error.errno === EEXIST)) throw asNode(error);
      }
      return locks.lock(path, isAlive);
    },
  };
}
