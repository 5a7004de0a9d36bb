/**
 * Whose refs are whose: every namespace has refs of its own, and blobs are the server's. The namespace without a name is
 * the store itself; one with a name is a store of refs alone below it, `namespaces/NAME/`.
 */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { BlobStoreError, type BlobStore } from "../../blob/blob-store.ts";
import { openFileStore } from "../../blob/file-store.ts";

const DIRECTORY = "namespaces";
/** Each holds a descriptor. */
const MOST_NAMESPACES = 256;

export interface Namespaces {
  /** The refs of a namespace; undefined where it has none yet and `create` is false. Rejects with BlobStoreError. */
  open(name: string | undefined, create: boolean): Promise<BlobStore | undefined>;
  close(): Promise<void>;
}

/** `path` is the directory of `store`. */
export function createNamespaces(path: string, store: BlobStore): Namespaces {
  const directory = join(path, DIRECTORY);
  const stores = new Map<string, Promise<BlobStore>>();

  const openNamed = async (name: string): Promise<BlobStore> => {
    const isNew = !existsSync(join(directory, name));
    if (isNew && existsSync(directory) && readdirSync(directory).length >= MOST_NAMESPACES) {
      throw new BlobStoreError(
        "full",
        `there are ${MOST_NAMESPACES} namespaces in ${directory}, and ${name} would be one more: use one of them, or ` +
          `delete one that is no longer needed while the server is stopped`,
      );
    }
    return await openFileStore(join(directory, name), { create: true });
  };

  return {
    async open(name, create) {
      if (name === undefined) return store;
      const opened = stores.get(name);
      if (opened !== undefined) return opened;
      if (!create && !existsSync(join(directory, name))) return undefined;
      const opening = openNamed(name);
      stores.set(name, opening);
      opening.catch(() => stores.delete(name));
      return opening;
    },
    async close() {
      for (const opening of stores.values()) await (await opening.catch(() => undefined))?.close();
    },
  };
}
