/** Which blocks the packs of a store have intact, as far as is known: what a walk through the trees asks. */
import { allocateMemory, freeMemory } from "../../../../ffi/memory.ts";
import type { Compression } from "../../../base/compression.ts";
import type { Hasher } from "../../../base/hash.ts";
import type { BlobStore } from "../../../blob/blob-store.ts";
import { FOUND, LATER, type BlockIndex } from "../index/block-index.ts";
import { createPlaces } from "../index/places.ts";
import type { PackDirectory } from "../pack-directory.ts";
import { BLOCK_MOST_BYTES, packBlobName } from "../pack-format.ts";
import { readEntry } from "../pack.ts";
import { readPackDirectory } from "../read-pack-directory.ts";
import { NOT_IN_MEMORY, type NodeStore } from "../tree/node-store.ts";
import { NODE_BYTES } from "../tree/shape.ts";
import { isMediumFailure } from "./check-pack.ts";

export type HintIndex = Pick<BlockIndex, "tryLookup" | "lookup" | "packName" | "packNames">;

/** What is wrong with a pack: `entries` are bad, or all where there are none named. */
export interface BadPack {
  readonly entries: ReadonlySet<number> | undefined;
}

export interface IntactBlocks {
  /** Packs that were found bad, by blob name; whoever finds one adds it. */
  readonly bad: Map<string, BadPack>;
  /**
   * Whether a pack has the block with this hash and length: undefined where one has, else why not. `hash` must stay as
   * it is until a promise settles. Rejects where the store or the index cannot be asked.
   */
  whyNot(hash: Uint8Array, lengthBytes: number): undefined | Promise<string | undefined>;
  /** The tree nodes of the store, read from its packs. */
  readonly nodes: NodeStore;
  close(): void;
}

export interface IntactBlocksOptions {
  readonly blobs: BlobStore;
  readonly hasher: Hasher;
  readonly compression: Compression;
  readonly index: HintIndex;
}

/** Directories that are kept: about 200 KiB each with blocks of 4 KiB. */
const MOST_DIRECTORIES = 64;

/** Where a block is, or what keeps it from being anywhere. */
type Place = { readonly pack: string; readonly entry: number; readonly directory: PackDirectory };

export function intactBlocks(options: IntactBlocksOptions): IntactBlocks {
  const { blobs, hasher, compression, index } = options;
  const bad = new Map<string, BadPack>();
  /** By number of the pack; a text says why there is none. */
  const directories = new Map<number, PackDirectory | string>();
  const places = createPlaces();
  const plain = allocateMemory(BLOCK_MOST_BYTES);

  const readDirectory = async (number: number): Promise<PackDirectory | string> => {
    let found: PackDirectory | string;
    try {
      const read = await readPackDirectory(blobs, index.packName(number), hasher);
      found = "reason" in read ? read.reason : read.directory;
    } catch (error) {
      if (!isMediumFailure(error)) throw error;
      found = (error as Error).message;
    }
    directories.delete(number);
    directories.set(number, found);
    if (directories.size > MOST_DIRECTORIES) directories.delete(directories.keys().next().value!);
    return found;
  };

  /** Whether this is the block and intact; else why not; undefined: it is another one with the same beginning. */
  const judge = (
    directory: PackDirectory,
    number: number,
    entry: number,
    hash: Uint8Array,
    lengthBytes: number,
  ): true | string | undefined => {
    if (entry >= directory.entryCount || !directory.holds(entry, hash, 0)) return undefined;
    if (bad.size === 0 && directory.plainBytes(entry) === lengthBytes) return true;
    const pack = packBlobName(index.packName(number));
    if (directory.plainBytes(entry) !== lengthBytes) {
      return `pack ${pack} has it with ${directory.plainBytes(entry)} bytes instead of ${lengthBytes}`;
    }
    const known = bad.get(pack);
    if (known === undefined) return true;
    if (known.entries !== undefined && !known.entries.has(entry)) return true;
    return `pack ${pack} has it at byte ${directory.offsetBytes(entry)}, and is damaged`;
  };

  const findLater = async (hash: Uint8Array, lengthBytes: number, skip?: string): Promise<Place | string> => {
    const found = createPlaces();
    if ((await index.lookup(hash, 0, found)) !== FOUND) return "no pack has it";
    let why = "no pack has it";
    for (let i = 0; i < found.count; i++) {
      const number = found.packs[i]!;
      const entry = found.ordinals[i]!;
      const pack = packBlobName(index.packName(number));
      if (pack === skip) continue;
      const directory = directories.get(number) ?? (await readDirectory(number));
      if (typeof directory === "string") {
        why = `pack ${pack} should have it, and is damaged: ${directory}`;
        continue;
      }
      const verdict = judge(directory, number, entry, hash, lengthBytes);
      if (verdict === true) return { pack, entry, directory };
      why = verdict ?? why;
    }
    return why;
  };

  const whyNotLater = async (hash: Uint8Array, lengthBytes: number): Promise<string | undefined> => {
    const found = await findLater(hash, lengthBytes);
    return typeof found === "string" ? found : undefined;
  };

  /** Reads and verifies; a second time past the page cache where that fails. Yields undefined, or what is wrong. */
  const readAt = async ({ pack, entry, directory }: Place, into: Uint8Array): Promise<string | undefined> => {
    let why = "";
    const from = allocateMemory(BLOCK_MOST_BYTES);
    try {
      for (let attempt = 0; attempt < 2; attempt++) {
        try {
          if (attempt > 0) await blobs.forgetCached(pack);
          await blobs.get(pack, directory.offsetBytes(entry), directory.storedBytes(entry), from, 0);
        } catch (error) {
          if (!isMediumFailure(error)) throw error;
          why = `pack ${pack} has it, and cannot be read: ${(error as Error).message}`;
          continue;
        }
        if (readEntry(directory, entry, from, 0, plain, 0, hasher, compression) === "verified") {
          into.set(plain.bytes.subarray(0, into.length));
          return undefined;
        }
        why = `pack ${pack} has it at byte ${directory.offsetBytes(entry)}, and it is damaged`;
      }
    } finally {
      freeMemory(from);
    }
    return why;
  };

  return {
    bad,
    whyNot(hash, lengthBytes) {
      const status = index.tryLookup(hash, 0, places);
      if (status === LATER) return whyNotLater(hash, lengthBytes);
      if (status !== FOUND) return Promise.resolve("no pack has it");
      for (let i = 0; i < places.count; i++) {
        const number = places.packs[i]!;
        const directory = directories.get(number);
        if (directory === undefined || typeof directory === "string") continue;
        if (judge(directory, number, places.ordinals[i]!, hash, lengthBytes) === true) return undefined;
      }
      return whyNotLater(hash, lengthBytes);
    },
    nodes: {
      tryGet: () => NOT_IN_MEMORY,
      async get(hash) {
        let place = await findLater(hash, NODE_BYTES);
        for (let tried: string | undefined; typeof place !== "string";) {
          const bytes = new Uint8Array(NODE_BYTES);
          const why = await readAt(place, bytes);
          if (why === undefined) return bytes;
          if (tried !== undefined) throw new Error(why);
          // One other pack may have it too.
          tried = place.pack;
          place = await findLater(hash, NODE_BYTES, tried);
          if (typeof place === "string") throw new Error(why);
        }
        throw new Error(place);
      },
      put() {
        throw new Error("a verification writes nothing");
      },
    },
    close: () => freeMemory(plain),
  };
}
