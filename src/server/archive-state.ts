/**
 * Where the server keeps what belongs to an archive store: `state_dir/archives/ID/`, with the store's own id. Which
 * store it belongs to, and where that was last, is in `store.json`: so a wrong directory, or a mount point without its
 * filesystem, is not taken for a new store.
 */
import { closeSync, constants, mkdirSync, openSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { lockFile } from "../../ffi/file.ts";
import { BlobStoreError, type BlobStore } from "../blob/blob-store.ts";
import { replaceFile } from "./replace-file.ts";

const STORE_ID_REF = "store/id";
const VERSION = 1;

export interface ArchiveState {
  /** The store's own, 32 hexadecimal digits. */
  readonly id: string;
  readonly directory: string;
  unlock(): void;
}

interface KnownStore {
  readonly id: string;
  readonly location: string;
}

const root = (stateDirectory: string): string => join(stateDirectory, "archives");

/** The store that was last at a location, which must not be made anew there; undefined where there was none. */
export const knownStoreAt = (stateDirectory: string, location: string): KnownStore | undefined =>
  knownStores(stateDirectory).find((known) => known.location === location);

function knownStores(stateDirectory: string): KnownStore[] {
  let names: string[];
  try {
    names = readdirSync(root(stateDirectory));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
  return names.flatMap((id) => {
    const path = join(root(stateDirectory), id, "store.json");
    let text: string;
    try {
      text = readFileSync(path, "utf8");
    } catch (error) {
      // Made and not finished: nothing was ever kept there.
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
      throw error;
    }
    return [{ id, location: locationIn(text, path) }];
  });
}

function locationIn(text: string, path: string): string {
  let saved: unknown;
  try {
    saved = JSON.parse(text);
  } catch {
    // Told below.
  }
  const { version, location } = (saved ?? {}) as { version?: unknown; location?: unknown };
  if (version === VERSION && typeof location === "string") return location;
  throw new Error(
    `${path} is damaged. It says where the archive store is whose journal lies beside it: write ` +
      `{"version":${VERSION},"location":"file:/PATH/OF/THE/STORE"} into it, or restore it from a backup`,
  );
}

/**
 * Finds or makes the state of an open store, and locks it. `newId` draws the id of a store that has none yet; without
 * it such a store is refused. Throws where the store is not the one that was at its
 * location before, and where another process has the state.
 */
export async function openArchiveState(
  stateDirectory: string,
  location: string,
  blobs: BlobStore,
  newId?: () => string,
): Promise<ArchiveState> {
  const known = knownStoreAt(stateDirectory, location);
  const id = await storeId(blobs, known, newId);
  const directory = join(root(stateDirectory), id);
  if (known !== undefined && known.id !== id) {
    throw new Error(
      `${blobs.description} is another store than the one that was there before: that one's journal is in ` +
        `${join(root(stateDirectory), known.id)}. Is the right filesystem mounted? Move that directory away only to give ` +
        `up what was answered and is not in its store yet`,
    );
  }
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const lock = openSync(join(directory, "lock"), constants.O_RDWR | constants.O_CREAT, 0o600);
  if (!lockFile(lock, true)) {
    closeSync(lock);
    throw new Error(`${directory} is in use by another voe, and only one may write: stop that one`);
  }
  try {
    if (known === undefined) {
      await replaceFile(join(directory, "store.json"), `${JSON.stringify({ version: VERSION, location })}\n`);
    }
  } catch (error) {
    closeSync(lock);
    throw error;
  }
  return { id, directory, unlock: () => closeSync(lock) };
}

async function storeId(
  blobs: BlobStore,
  known: KnownStore | undefined,
  newId: (() => string) | undefined,
): Promise<string> {
  const read = async (): Promise<string> => {
    const id = new TextDecoder().decode(await blobs.readRef(STORE_ID_REF)).trim();
    if (!/^[0-9a-f]{32}$/.test(id))
      throw new Error(`${STORE_ID_REF} of ${blobs.description} is damaged: restore it from a copy`);
    return id;
  };
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof BlobStoreError) || error.failure !== "missing") throw error;
  }
  if (known !== undefined) {
    throw new Error(
      `${blobs.description} has lost ${STORE_ID_REF}, so it is not whole, or is another one than before. Is the right ` +
        `filesystem mounted? Restore it from a copy`,
    );
  }
  if (newId === undefined) {
    throw new Error(
      `${blobs.description} has no ${STORE_ID_REF}: it never held an archive, or is an incomplete copy of one. Is it the right store?`,
    );
  }
  await blobs.createRef(STORE_ID_REF, new TextEncoder().encode(`${newId()}\n`));
  return read();
}
