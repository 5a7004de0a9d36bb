/**
 * The files of a cache of packs: `PACK.SIZE.NUMBER`, each the whole of a pack or a part of it. One that is whole has the
 * size in its name; one that is being filled has a byte more, until it is whole. So a crash leaves nothing that is taken
 * for a whole pack. Nothing is synced: what is in the cache is in the store, and whoever reads a pack verifies it.
 */
import { closeSync, constants, openSync } from "node:fs";
import { mkdir, open, readdir, readFile, rename, stat, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { lockFile } from "../../../ffi/file.ts";
import { isBlobName } from "../blob-store.ts";
import { codeOf } from "../file-system.ts";

export interface CachedFile {
  /** The pack that it is of. */
  readonly name: string;
  readonly sizeBytes: number;
  /** Its own name, which no other file had before. */
  readonly file: string;
}

export interface CacheDirectory {
  /** The whole packs that were there, those that were not used for longest first. */
  readonly found: readonly CachedFile[];
  readonly pathOf: (file: string) => string;
  /** Names a file for a pack that is about to be written. */
  name(pack: string, sizeBytes: number): string;
  /** Creates a file with the whole pack. */
  writeWhole(file: string, bytes: Uint8Array): Promise<void>;
  /** Writes a part of a pack, and creates the file where it is the first one. */
  writePart(file: string, sizeBytes: number, bytes: Uint8Array, offsetBytes: number): Promise<void>;
  /** Says that every part of the file was written. */
  complete(file: string, sizeBytes: number): Promise<void>;
  /** One that is not there is no failure. */
  remove(file: string): Promise<void>;
  /** Notes the order of use of the whole packs, for the next start. */
  saveOrder(files: readonly string[]): Promise<void>;
  unlock(): void;
}

const LOCK = "lock";
const ORDER = "order";
const DIRECTORY_MODE = 0o700;
const FILE_MODE = 0o600;

/**
 * Opens or makes the directory; undefined where another process has it. Removes what a crash left in it. Rejects with
 * errors of node:fs.
 */
export async function openCacheDirectory(path: string): Promise<CacheDirectory | undefined> {
  await mkdir(path, { recursive: true, mode: DIRECTORY_MODE });
  const lock = openSync(join(path, LOCK), constants.O_RDWR | constants.O_CREAT, FILE_MODE);
  if (!lockFile(lock, true)) {
    closeSync(lock);
    return undefined;
  }
  try {
    const { found, lastNumber } = await scan(path);
    return cacheDirectory(path, found, lastNumber, () => closeSync(lock));
  } catch (error) {
    closeSync(lock);
    throw error;
  }
}

function parseFile(file: string): (CachedFile & { readonly number: number }) | undefined {
  const [name = "", size = "", number = "", ...rest] = file.split(".");
  if (!isBlobName(name) || !/^\d{1,12}$/.test(size) || !/^\d{1,15}$/.test(number) || rest.length > 0) return undefined;
  return { name, sizeBytes: Number(size), file, number: Number(number) };
}

async function scan(path: string): Promise<{ found: CachedFile[]; lastNumber: number }> {
  const packs = new Map<string, CachedFile>();
  let lastNumber = 0;
  for (const entry of await readdir(path)) {
    const parsed = parseFile(entry);
    if (parsed === undefined) continue;
    lastNumber = Math.max(lastNumber, parsed.number);
    const { size } = await stat(join(path, entry));
    if (size === parsed.sizeBytes && !packs.has(parsed.name)) packs.set(parsed.name, parsed);
    else await unlink(join(path, entry));
  }
  const order = new Map((await readOrder(path)).map((file, at) => [file, at]));
  // What is not in the list was written since it was saved, which may be long ago: a guess does no harm.
  const rank = ({ file }: CachedFile): number => order.get(file) ?? -1;
  return { found: [...packs.values()].toSorted((one, other) => rank(one) - rank(other)), lastNumber };
}

async function readOrder(path: string): Promise<string[]> {
  try {
    return (await readFile(join(path, ORDER), "utf8")).split("\n");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return [];
    throw error;
  }
}

function cacheDirectory(
  path: string,
  found: readonly CachedFile[],
  lastNumber: number,
  unlock: () => void,
): CacheDirectory {
  let number = lastNumber;
  const pathOf = (file: string): string => join(path, file);
  return {
    found,
    pathOf,
    name: (pack, sizeBytes) => `${pack}.${sizeBytes}.${++number}`,
    writeWhole: (file, bytes) => writeFile(pathOf(file), bytes, { flag: "wx", mode: FILE_MODE }),
    async writePart(file, sizeBytes, bytes, offsetBytes) {
      const handle = await open(pathOf(file), constants.O_WRONLY | constants.O_CREAT, FILE_MODE);
      try {
        // First, or a crash would leave a file of the size of a whole pack: often it is the end that is read first.
        if ((await handle.stat()).size <= sizeBytes) await handle.truncate(sizeBytes + 1);
        for (let done = 0; done < bytes.length;) {
          done += (await handle.write(bytes, done, bytes.length - done, offsetBytes + done)).bytesWritten;
        }
      } finally {
        await handle.close();
      }
    },
    async complete(file, sizeBytes) {
      const handle = await open(pathOf(file), "r+");
      try {
        await handle.truncate(sizeBytes);
      } finally {
        await handle.close();
      }
    },
    async remove(file) {
      await unlink(pathOf(file)).catch((error: unknown) => {
        if (codeOf(error) !== "ENOENT") throw error;
      });
    },
    async saveOrder(files) {
      await writeFile(pathOf(`${ORDER}.new`), files.join("\n"), { mode: FILE_MODE });
      await rename(pathOf(`${ORDER}.new`), pathOf(ORDER));
    },
    unlock,
  };
}
