import { dirname, join, resolve } from "node:path";
import {
  assertBlobName,
  assertRefBytes,
  assertRefName,
  assertTarget,
  BlobStoreError,
  isBlobName,
  isRefName,
  REF_MOST_BYTES,
  type BlobFailure,
  type BlobInfo,
  type BlobStore,
} from "./blob-store.ts";
import { failureOf, fileError } from "./file-error.ts";
import { codeOf, realFileSystem, type FileSystem, type Pieces } from "./file-system.ts";
import { createOpenBlobs } from "./open-blobs.ts";
import { lookAtStoreDirectory, openStoreDirectory, REFS, TEMPORARY } from "./store-directory.ts";

export interface FileStoreOptions {
  /** Whether the store may be created where there is nothing yet; without, that is refused as a wrong path. */
  readonly create: boolean;
  /**
   * Neither lock nor repair: for reading a store beside the process that writes it. What would change it is `denied`,
   * and what is seen may not be durable yet. `create` means nothing then.
   */
  readonly readOnly?: boolean;
  /** Most blobs that are kept open for reading. */
  readonly openMost?: number;
  /** For tests. */
  readonly fileSystem?: FileSystem;
}

/** A blob store that is on this machine. */
export interface FileStore extends BlobStore {
  /**
   * As `put`, from pieces as they come: no more than one is held. Nothing is stored where they throw, which it rejects
   * with where that is a BlobStoreError: so they can check what they yield, to the end.
   */
  putPieces(name: string, pieces: AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<void>;
  /** As `list`, by ascending names, those after `name` only. */
  listAfter(name: string, signal?: AbortSignal): AsyncIterable<BlobInfo>;
}

const OPEN_MOST = 256;
/** How many sizes a listing asks for at once. */
const SIZES_AT_ONCE = 32;

/**
 * A blob store in a directory, `<path>/XX/<the other 62 digits>` for each blob and `<path>/refs/<name>` for each ref.
 * Rejects with `missing` or `corrupt` where the directory is not a whole store, with `denied` where another process has
 * it open. Refs need a filesystem with hard links.
 */
export async function openFileStore(path: string, options: FileStoreOptions): Promise<FileStore> {
  const root = resolve(path);
  const files = options.fileSystem ?? realFileSystem;
  const readOnly = options.readOnly === true;
  const directory = readOnly
    ? await lookAtStoreDirectory(root, files)
    : await openStoreDirectory(root, options.create, files);
  const pathOfBlob = (name: string): string => join(root, name.slice(0, 2), name.slice(2));
  const pathOfRef = (name: string): string => join(root, REFS, name);
  const openBlobs = createOpenBlobs(files, pathOfBlob, options.openMost ?? OPEN_MOST);
  /** Directories whose own name is known to be durable. */
  const durable = new Set([root, join(root, REFS)]);
  const underWay = new Set<Promise<unknown>>();
  let temporaryCount = 0;
  let closed = false;

  /** Runs an operation, says in its errors what could not be done, and lets `close` wait for it. */
  const run = <T>(
    what: string,
    signal: AbortSignal | undefined,
    missing: BlobFailure,
    work: () => Promise<T>,
  ): Promise<T> => {
    if (closed) throw new RangeError(`the blob store ${root} is closed`);
    signal?.throwIfAborted();
    const operation = work().catch((error: unknown) => {
      if (error instanceof BlobStoreError || (signal?.aborted === true && error === signal.reason)) throw error;
      const failure = failureOf(error);
      throw fileError(`${what} in the blob store ${root}`, root, failure === "missing" ? missing : failure, error);
    });
    underWay.add(operation);
    const done = (): void => void underWay.delete(operation);
    operation.then(done, done);
    return operation;
  };

  const ensureDirectory = async (path: string): Promise<void> => {
    if (durable.has(path)) return;
    await ensureDirectory(dirname(path));
    await files.makeDirectory(path);
    // Also where it was there: another operation may have made it just now, and not synced it yet.
    await files.syncDirectory(dirname(path));
    durable.add(path);
  };

  /** Writes a durable file without a name of its own, and lets `place` give it one. */
  const writeThen = async <T>(
    pieces: Pieces,
    signal: AbortSignal | undefined,
    place: (temporary: string) => Promise<T>,
  ): Promise<T> => {
    const temporary = join(root, TEMPORARY, `${temporaryCount++}`);
    try {
      await files.createFile(temporary, pieces);
      signal?.throwIfAborted();
      return await place(temporary);
    } catch (error) {
      // Where this fails too, the next opening of the store removes it.
      await files.remove(temporary).catch(() => {});
      throw error;
    }
  };

  const assertWritable = (): void => {
    if (readOnly) throw new BlobStoreError("denied", `the blob store ${root} is open for reading only`);
  };

  const store = (name: string, pieces: Pieces, signal: AbortSignal | undefined): Promise<void> =>
    run(`blob ${name} could not be stored`, signal, "unavailable", async () => {
      assertWritable();
      const path = pathOfBlob(name);
      await writeThen(pieces, signal, async (temporary) => {
        await ensureDirectory(dirname(path));
        await files.rename(temporary, path);
      });
      // What is open under this name may be a damaged blob that was just replaced.
      openBlobs.drop(name);
      await files.syncDirectory(dirname(path));
    });

  const removeName = async (path: string): Promise<void> => {
    try {
      await files.remove(path);
    } catch (error) {
      if (codeOf(error) !== "ENOENT") throw error;
    }
    try {
      // Also where it was not there: another operation may have removed it just now, and not synced it yet.
      await files.syncDirectory(dirname(path));
    } catch (error) {
      if (codeOf(error) !== "ENOENT") throw error;
    }
  };

  const sizeOrGone = async (name: string): Promise<BlobInfo | undefined> => {
    try {
      return { name, sizeBytes: await files.sizeBytes(pathOfBlob(name)) };
    } catch (error) {
      if (codeOf(error) === "ENOENT") return undefined;
      throw error;
    }
  };

  const blobsIn = async (prefix: string, after: string): Promise<string[]> => {
    const entries = await files.list(join(root, prefix));
    return entries
      .map(({ name }) => prefix + name)
      .filter((name) => isBlobName(name) && name > after)
      .toSorted();
  };

  async function* listAfter(after: string, signal?: AbortSignal): AsyncGenerator<BlobInfo, void, undefined> {
    const listing = <T>(work: () => Promise<T>): Promise<T> =>
      run("blobs could not be listed", signal, "unavailable", work);
    const inRoot = (await listing(() => files.list(root)))
      .filter(({ name, isDirectory }) => isDirectory && /^[0-9a-f]{2}$/.test(name) && name >= after.slice(0, 2))
      .map(({ name }) => name);
    for (const prefix of inRoot.toSorted()) {
      const names = await listing(() => blobsIn(prefix, after));
      for (let at = 0; at < names.length; at += SIZES_AT_ONCE) {
        const blobs = await listing(() => Promise.all(names.slice(at, at + SIZES_AT_ONCE).map(sizeOrGone)));
        for (const blob of blobs) if (blob !== undefined) yield blob;
      }
    }
  }

  const refsBelow = async (name: string, prefix: string): Promise<string[]> => {
    const found: string[] = [];
    for (const entry of await files.list(pathOfRef(name))) {
      const full = name === "" ? entry.name : `${name}/${entry.name}`;
      if (entry.isDirectory) {
        const within = `${full}/`.startsWith(prefix) || prefix.startsWith(`${full}/`);
        if (within) found.push(...(await refsBelow(full, prefix)));
      } else if (full.startsWith(prefix) && isRefName(full)) {
        found.push(full);
      }
    }
    return found;
  };

  return {
    description: `file store ${root}`,
    atomicRefs: true,

    async put(name, bytes, signal) {
      assertBlobName(name);
      await store(name, [bytes], signal);
    },

    async putPieces(name, pieces, signal) {
      assertBlobName(name);
      await store(name, pieces, signal);
    },

    async get(name, offsetBytes, lengthBytes, target, at, signal) {
      assertBlobName(name);
      assertTarget(offsetBytes, lengthBytes, target, at);
      await run(`blob ${name} could not be read`, signal, "missing", async () => {
        const doneBytes = await openBlobs.read(name, offsetBytes, lengthBytes, target, at);
        signal?.throwIfAborted();
        if (doneBytes === lengthBytes) return;
        throw new BlobStoreError(
          "truncated",
          `blob ${name} in the blob store ${root} ends at byte ${offsetBytes + doneBytes}, and ${lengthBytes} at ` +
            `${offsetBytes} were asked for: it was cut`,
        );
      });
    },

    tryGet(name, offsetBytes, lengthBytes, target, at) {
      assertTarget(offsetBytes, lengthBytes, target, at);
      return !closed && openBlobs.tryRead(name, offsetBytes, lengthBytes, target, at);
    },

    willRead(name, offsetBytes, lengthBytes) {
      if (!closed) openBlobs.willRead(name, offsetBytes, lengthBytes);
    },

    async forgetCached(name, signal) {
      assertBlobName(name);
      await run(`blob ${name} could not be opened`, signal, "missing", () => openBlobs.forgetCached(name));
    },

    async size(name, signal) {
      assertBlobName(name);
      return await run(`the size of blob ${name} could not be read`, signal, "missing", () =>
        files.sizeBytes(pathOfBlob(name)),
      );
    },

    list: (signal) => listAfter("", signal),
    listAfter,

    async delete(name, signal) {
      assertBlobName(name);
      await run(`blob ${name} could not be deleted`, signal, "unavailable", async () => {
        assertWritable();
        try {
          await removeName(pathOfBlob(name));
        } finally {
          // After its name is gone, or a read in between would open it again and keep its space.
          openBlobs.drop(name);
        }
      });
    },

    async createRef(name, bytes, signal) {
      assertRefName(name);
      assertRefBytes(name, bytes);
      return await run(`ref ${name} could not be created`, signal, "unavailable", async () => {
        assertWritable();
        const path = pathOfRef(name);
        const outcome = await writeThen([bytes], signal, async (temporary) => {
          await ensureDirectory(dirname(path));
          const created = await linkUnlessThere(files, temporary, path);
          await files.remove(temporary);
          return created ? "created" : "exists";
        });
        // Also where it exists: whoever created it may not have synced it yet.
        await files.syncDirectory(dirname(path));
        return outcome;
      });
    },

    async readRef(name, signal) {
      assertRefName(name);
      return await run(`ref ${name} could not be read`, signal, "missing", async () => {
        const bytes = await files.readFile(pathOfRef(name), REF_MOST_BYTES);
        if (bytes.length <= REF_MOST_BYTES) return bytes;
        throw new BlobStoreError(
          "corrupt",
          `ref ${name} in the blob store ${root} has more than the ${REF_MOST_BYTES} bytes that voe writes: restore it from a copy`,
        );
      });
    },

    async listRefs(prefix, signal) {
      const names = await run("refs could not be listed", signal, "unavailable", () => refsBelow("", prefix));
      return names.toSorted();
    },

    async deleteRef(name, signal) {
      assertRefName(name);
      await run(`ref ${name} could not be deleted`, signal, "unavailable", async () => {
        assertWritable();
        await removeName(pathOfRef(name));
      });
    },

    async close() {
      if (closed) return;
      closed = true;
      await Promise.allSettled(underWay);
      await openBlobs.close();
      directory.unlock();
    },
  };
}

async function linkUnlessThere(files: FileSystem, from: string, to: string): Promise<boolean> {
  try {
    await files.link(from, to);
    return true;
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false;
    throw error;
  }
}
