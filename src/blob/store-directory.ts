/**
 * Opening the directory of a file store: it is recognised by a marker, so that a wrong directory, or a mount point whose
 * filesystem is absent, is never taken for an empty store; and locked, so that there is one writer.
 */
import { dirname, join } from "node:path";
import { BlobStoreError } from "./blob-store.ts";
import { failureOf, fileError } from "./file-error.ts";
import { codeOf, type DirectoryEntry, type FileSystem } from "./file-system.ts";
import { checkMarker, MARKER, MARKER_MOST_BYTES, markerBytes } from "./store-marker.ts";

const LOCK = "lock";
/** Names of refs are paths below it. */
export const REFS = "refs";
/** Files that are being written. What is in it when a store is opened was left by a crash. */
export const TEMPORARY = "tmp";

/** What may lie in a directory that is to become a store: what a creation that was interrupted leaves, and mke2fs. */
const EMPTY_ENOUGH = new Set([LOCK, REFS, TEMPORARY, "lost+found"]);

export interface LockedDirectory {
  /** Lets another process open the store. */
  unlock(): void;
}

/** Opens the store at `path`; where `create`, also one that is not there yet or is an empty directory. */
export async function openStoreDirectory(path: string, create: boolean, files: FileSystem): Promise<LockedDirectory> {
  try {
    if (create) await makeWithParents(path, files);
    await checkIsStore(path, create, files);
    const unlock = lock(path, files);
    try {
      // Once more, now that no other process can be creating it.
      if (await checkIsStore(path, create, files)) await repair(path, files);
      else await initialise(path, files);
    } catch (error) {
      unlock();
      throw error;
    }
    return { unlock };
  } catch (error) {
    throw error instanceof BlobStoreError ? error : notOpened(path, error);
  }
}

/** Checks that there is a store at `path`, as it is, beside a process that may have it open. Locks and changes nothing. */
export async function lookAtStoreDirectory(path: string, files: FileSystem): Promise<LockedDirectory> {
  try {
    await checkIsStore(path, false, files);
    return { unlock() {} };
  } catch (error) {
    throw error instanceof BlobStoreError ? error : notOpened(path, error);
  }
}

const notOpened = (path: string, error: unknown): BlobStoreError =>
  fileError(`the blob store ${path} could not be opened`, path, failureOf(error), error);

async function makeWithParents(path: string, files: FileSystem): Promise<void> {
  try {
    await files.makeDirectory(path);
  } catch (error) {
    if (codeOf(error) !== "ENOENT" || dirname(path) === path) throw error;
    await makeWithParents(dirname(path), files);
    await files.makeDirectory(path);
  }
  await files.syncDirectory(dirname(path));
}

/** Whether there is a store; false: nothing, where one may be created. Everything else is refused. */
async function checkIsStore(path: string, create: boolean, files: FileSystem): Promise<boolean> {
  const entries = await listOrMissing(path, files);
  const names = entries.map(({ name }) => name);
  if (names.includes(MARKER)) {
    checkMarker(path, await files.readFile(join(path, MARKER), MARKER_MOST_BYTES));
    if (names.includes(REFS)) return true;
    throw new BlobStoreError(
      "corrupt",
      `the blob store ${path} is not whole: ${REFS}, which says what its volumes are, is not there. Restore it from a copy`,
    );
  }
  if (!create) {
    throw new BlobStoreError(
      "missing",
      `${path} is no blob store, it has no ${MARKER}: is its filesystem mounted, and the path right?`,
    );
  }
  const strangers = names.filter((name) => !EMPTY_ENOUGH.has(name));
  if (names.includes(REFS))
    strangers.push(...(await files.list(join(path, REFS))).map(({ name }) => `${REFS}/${name}`));
  if (strangers.length === 0) return false;
  throw new BlobStoreError(
    "corrupt",
    `${path} is neither a blob store, it has no ${MARKER}, nor empty, it has ${strangers.slice(0, 3).join(", ")}: ` +
      `name an empty directory for a new store, or restore ${MARKER} from a copy if this was one`,
  );
}

async function listOrMissing(path: string, files: FileSystem): Promise<DirectoryEntry[]> {
  try {
    return await files.list(path);
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw error;
    throw new BlobStoreError(
      "missing",
      `the blob store ${path} is not there: is its filesystem mounted, and the path right?`,
      error,
    );
  }
}

function lock(path: string, files: FileSystem): () => void {
  const unlock = files.lock(join(path, LOCK));
  if (unlock !== undefined) return unlock;
  throw new BlobStoreError(
    "denied",
    `the blob store ${path} is in use by another process, and only one may write: stop that one, or use another store`,
  );
}

/** The marker comes last: until it is durable there is no store, and creating begins again. */
async function initialise(path: string, files: FileSystem): Promise<void> {
  await files.makeDirectory(join(path, REFS));
  await prepareTemporary(path, files);
  await files.syncDirectory(path);
  const written = join(path, TEMPORARY, MARKER);
  await files.createFile(written, [markerBytes()]);
  await files.rename(written, join(path, MARKER));
  await files.syncDirectory(path);
}

/** An empty directory for temporary files. A copy of a store may lack it. */
async function prepareTemporary(path: string, files: FileSystem): Promise<void> {
  const temporary = join(path, TEMPORARY);
  await files.makeDirectory(temporary);
  for (const { name } of await files.list(temporary)) await files.remove(join(temporary, name));
}

/**
 * After a crash. A process that was killed between a rename and the sync of its directory leaves names that are there
 * and not durable. Whoever opens the store relies on what it sees, so it is made durable before anyone sees it.
 */
async function repair(path: string, files: FileSystem): Promise<void> {
  await prepareTemporary(path, files);
  await syncTree(path, files, ({ name }) => name === REFS || /^[0-9a-f]{2}$/.test(name));
  await syncTree(join(path, REFS), files, () => true);
}

async function syncTree(path: string, files: FileSystem, into: (entry: DirectoryEntry) => boolean): Promise<void> {
  const below = (await files.list(path)).filter((entry) => entry.isDirectory && into(entry));
  for (const { name } of below) await syncTree(join(path, name), files, into);
  await files.syncDirectory(path);
}
