/**
 * The blocks of an archive store: new ones go into packs, known ones are found by the index and read from their pack.
 * Data blocks and tree nodes alike. Packs are put into the blob store in the background; `sync` waits for them.
 */
import { allocateMemory, freeMemory } from "../../../ffi/memory.ts";
import type { Compression } from "../../base/compression.ts";
import { DIGEST_BYTES, type Hasher } from "../../base/hash.ts";
import type { Memory } from "../../base/memory.ts";
import type { BlobStore } from "../../blob/blob-store.ts";
import { LATER, MEDIUM_ERROR, OK, type StorageStatus } from "../block-storage.ts";
import type { Blocks } from "./blocks.ts";
import { FOUND, LATER as LOOK_LATER, type BlockIndex } from "./index/block-index.ts";
import { createPlaces } from "./index/places.ts";
import { PackBuilder, type FinishedPack } from "./pack-builder.ts";
import type { PackDirectory } from "./pack-directory.ts";
import { BLOCK_MOST_BYTES, KIND_DATA, KIND_NODE, packBlobName, type BlockKind } from "./pack-format.ts";
import { readEntry } from "./pack.ts";
import { readPackDirectory } from "./read-pack-directory.ts";
import { NODE_BYTES } from "./tree/shape.ts";
import { NOT_IN_MEMORY, type NodeStore } from "./tree/node-store.ts";

/** Packs that are filled or stored at a time: one is filled while the others are on their way. */
const BUILDERS = 3;
/** Directories that are kept: about 200 KiB each with blocks of 4 KiB. */
const MOST_DIRECTORIES = 128;

export interface PackedBlocksOptions {
  readonly hasher: Hasher;
  /** Absent: blocks are stored plain. */
  readonly compression: Compression;
  readonly compresses: boolean;
  readonly blobs: BlobStore;
  readonly index: BlockIndex;
  /** Size of packs, that of the format unless given. */
  readonly packBytes?: number;
  readonly report: (key: string, message: string) => void;
}

export interface PackedBlocks {
  /** The blocks of volumes that have blocks of this size. */
  blocksOf(blockBytes: number): Blocks;
  readonly nodes: NodeStore;
  /** Blocks that were put and new, and those that the store had; bytes of the new ones, and of packs stored. */
  readonly counters: { newBlocks: number; knownBlocks: number; newBytes: number; packBytes: number };
  close(): Promise<void>;
}

/** A block's hash as a key: a string of 32 characters is found faster than any other form of 32 bytes. */
const keyOf = (hash: Uint8Array, at: number): string =>
  Buffer.from(hash.buffer, hash.byteOffset + at, DIGEST_BYTES).toString("latin1");

export function packedBlocks(options: PackedBlocksOptions): PackedBlocks {
  const { hasher, blobs, index, report } = options;
  const places = createPlaces();
  const directories = new Map<number, PackDirectory>();
  const stored = allocateMemory(BLOCK_MOST_BYTES);
  const nodeMemory = allocateMemory(NODE_BYTES);
  const counters = { newBlocks: 0, knownBlocks: 0, newBytes: 0, packBytes: 0 };
  /** Hashes of blocks in packs that are not in the index yet; nodes with their content, which may be read again. */
  const underWay = new Map<string, Uint8Array | undefined>();
  const free = Array.from(
    { length: BUILDERS },
    () =>
      new PackBuilder({
        hasher,
        compression: options.compresses ? options.compression : undefined,
        ...(options.packBytes === undefined ? {} : { targetBytes: options.packBytes }),
        report,
      }),
  );
  /** The one that is being filled; none while all are on their way. */
  let builder: PackBuilder | undefined;
  const storing = new Set<Promise<void>>();
  /** Full packs that the store would not take: they are kept, and tried again, since the journal may not be asked twice. */
  const refused: { pack: FinishedPack; from: PackBuilder }[] = [];
  let failure: Error | undefined;

  const remember = (number: number, directory: PackDirectory): PackDirectory => {
    directories.delete(number);
    directories.set(number, directory);
    if (directories.size > MOST_DIRECTORIES) directories.delete(directories.keys().next().value!);
    return directory;
  };

  const directoryOf = async (number: number): Promise<PackDirectory | undefined> => {
    const known = directories.get(number);
    if (known !== undefined) return known;
    const name = index.packName(number);
    const read = await readPackDirectory(blobs, name, hasher);
    if (!("reason" in read)) return remember(number, read.directory);
    const blob = packBlobName(name);
    report(`pack:${blob}`, `pack ${blob} of ${blobs.description} is damaged: ${read.reason}`);
    return undefined;
  };

  /** Puts a full pack into the blob store and the index, then its builder is free again. */
  const store = (pack: FinishedPack, from: PackBuilder): void => {
    const { name, bytes, directory } = pack;
    const work = (async () => {
      try {
        await blobs.put(packBlobName(name), bytes);
        await index.addPack({ name, hashes: directory.hashes(), plainBytes: directory.plainTotalBytes() });
        counters.packBytes += bytes.length;
      } catch (error) {
        failure = error as Error;
        refused.push({ pack, from });
        return;
      }
      for (let entry = 0; entry < directory.entryCount; entry++) underWay.delete(keyOf(directory.hashOf(entry), 0));
      from.reset();
      free.push(from);
    })();
    storing.add(work);
    void work.then(() => storing.delete(work));
  };

  /** Waits for what is on its way, and tries what was refused once more. Rejects where it is refused again. */
  const settle = async (): Promise<void> => {
    await Promise.all(storing);
    if (refused.length === 0) return;
    failure = undefined;
    for (const { pack, from } of refused.splice(0)) store(pack, from);
    await Promise.all(storing);
    if (failure !== undefined) throw failure;
  };

  const seal = (): void => {
    if (builder === undefined || builder.entryCount === 0) return;
    store(builder.finish(), builder);
    builder = undefined;
  };

  const freeBuilder = async (): Promise<void> => {
    while (free.length === 0 && storing.size > 0) await Promise.race(storing);
    if (free.length === 0) await settle();
  };

  /** Appends a new block; waits where that takes another builder. */
  const append = (
    kind: BlockKind,
    hash: Uint8Array,
    hashAt: number,
    source: Memory,
    at: number,
    lengthBytes: number,
  ): void | Promise<void> => {
    builder ??= free.pop();
    if (builder === undefined || builder.tryAppend(kind, hash, hashAt, source, at, lengthBytes) < 0) {
      seal();
      return freeBuilder().then(() => append(kind, hash, hashAt, source, at, lengthBytes));
    }
    const key = keyOf(hash, hashAt);
    underWay.set(key, kind === KIND_NODE ? source.bytes.slice(at, at + lengthBytes) : undefined);
    counters.newBlocks++;
    counters.newBytes += lengthBytes;
    return undefined;
  };

  /** Whether one of the places found really has the block; undefined where a directory has to be read for that. */
  const isKnown = (hash: Uint8Array, at: number): boolean | undefined => {
    let unsure = false;
    for (let i = 0; i < places.count; i++) {
      const directory = directories.get(places.packs[i]!);
      if (directory === undefined) unsure = true;
      else if (directory.holds(places.ordinals[i]!, hash, at)) return true;
    }
    return unsure ? undefined : false;
  };

  const isKnownLater = async (hash: Uint8Array, at: number): Promise<boolean> => {
    const found = createPlaces();
    if ((await index.lookup(hash, at, found)) !== FOUND) return false;
    for (let i = 0; i < found.count; i++) {
      const directory = await directoryOf(found.packs[i]!);
      if (directory?.holds(found.ordinals[i]!, hash, at) === true) return true;
    }
    return false;
  };

  const putBlock = (
    kind: BlockKind,
    source: Memory,
    at: number,
    lengthBytes: number,
    hashes: Uint8Array,
    hashAt: number,
  ): void | Promise<void> => {
    hasher.hash(source.bytes, at, lengthBytes, hashes, hashAt);
    if (underWay.has(keyOf(hashes, hashAt))) {
      counters.knownBlocks++;
      return undefined;
    }
    const status = index.tryLookup(hashes, hashAt, places);
    const known = status === LOOK_LATER ? undefined : status === FOUND ? isKnown(hashes, hashAt) : false;
    if (known === true) {
      counters.knownBlocks++;
      return undefined;
    }
    if (known === false) return append(kind, hashes, hashAt, source, at, lengthBytes);
    return isKnownLater(hashes, hashAt).then((isThere) => {
      if (!isThere) return append(kind, hashes, hashAt, source, at, lengthBytes);
      counters.knownBlocks++;
      return undefined;
    });
  };

  /** Decodes and verifies an entry that was read into `from`. */
  const deliver = (
    number: number,
    ordinal: number,
    directory: PackDirectory,
    from: Memory,
    target: Memory,
    at: number,
  ): StorageStatus => {
    const status = readEntry(directory, ordinal, from, 0, target, at, hasher, options.compression);
    if (status === "verified") return OK;
    const name = packBlobName(index.packName(number));
    report(
      `block:${name}`,
      `block ${directory.hashOf(ordinal).toHex()} in pack ${name} at byte ${directory.offsetBytes(ordinal)} is damaged ` +
        `(${status}). It is not served. Run voe verify to learn what is affected`,
    );
    return MEDIUM_ERROR;
  };

  /** Reads a block of this length where nothing has to be waited for. */
  const tryReadBlock = (hash: Uint8Array, lengthBytes: number, target: Memory, at: number): StorageStatus => {
    if (index.tryLookup(hash, 0, places) !== FOUND) return LATER;
    for (let i = 0; i < places.count; i++) {
      const number = places.packs[i]!;
      const ordinal = places.ordinals[i]!;
      const directory = directories.get(number);
      if (directory === undefined) return LATER;
      if (!directory.holds(ordinal, hash, 0)) continue;
      if (directory.plainBytes(ordinal) !== lengthBytes) return MEDIUM_ERROR;
      const name = packBlobName(index.packName(number));
      const isThere = blobs.tryGet(name, directory.offsetBytes(ordinal), directory.storedBytes(ordinal), stored, 0);
      return isThere ? deliver(number, ordinal, directory, stored, target, at) : LATER;
    }
    return LATER;
  };

  /** Reads a block of this length from every place that may have it, until one has. */
  const readBlock = async (
    hash: Uint8Array,
    lengthBytes: number,
    target: Memory,
    at: number,
  ): Promise<StorageStatus> => {
    const found = createPlaces();
    const from = allocateMemory(BLOCK_MOST_BYTES);
    let worst = `block ${hash.toHex()} is in no pack of ${blobs.description}`;
    try {
      if ((await index.lookup(hash, 0, found)) !== FOUND) found.count = 0;
      for (let i = 0; i < found.count; i++) {
        const number = found.packs[i]!;
        const ordinal = found.ordinals[i]!;
        try {
          const directory = await directoryOf(number);
          if (directory?.holds(ordinal, hash, 0) !== true || directory.plainBytes(ordinal) !== lengthBytes) continue;
          const name = packBlobName(index.packName(number));
          await blobs.get(name, directory.offsetBytes(ordinal), directory.storedBytes(ordinal), from, 0);
          if (deliver(number, ordinal, directory, from, target, at) === OK) return OK;
        } catch (error) {
          worst = `block ${hash.toHex()} cannot be read: ${(error as Error).message}`;
        }
      }
    } catch (error) {
      worst = `block ${hash.toHex()} cannot be looked up: ${(error as Error).message}`;
    } finally {
      freeMemory(from);
    }
    report("block:unreadable", worst);
    return MEDIUM_ERROR;
  };

  const sync = (): Promise<void> => {
    seal();
    return settle();
  };

  return {
    counters,
    blocksOf: (blockBytes) => ({
      blockBytes,
      tryRead: (hash, target, at) => tryReadBlock(hash, blockBytes, target, at),
      read: (hash, target, at) => readBlock(hash, blockBytes, target, at),
      put: (source, at, hashes, hashAt) => putBlock(KIND_DATA, source, at, blockBytes, hashes, hashAt),
      sync,
    }),
    nodes: {
      tryGet(hash, target) {
        const recent = underWay.get(keyOf(hash, 0));
        if (recent !== undefined) {
          target.set(recent);
          return recent.length;
        }
        if (tryReadBlock(hash, NODE_BYTES, nodeMemory, 0) !== OK) return NOT_IN_MEMORY;
        target.set(nodeMemory.bytes.subarray(0, NODE_BYTES));
        return NODE_BYTES;
      },
      async get(hash) {
        const recent = underWay.get(keyOf(hash, 0));
        if (recent !== undefined) return recent;
        const memory = allocateMemory(NODE_BYTES);
        try {
          if ((await readBlock(hash, NODE_BYTES, memory, 0)) !== OK) throw new Error("cannot be read, see the log");
          return memory.bytes.slice(0, NODE_BYTES);
        } finally {
          freeMemory(memory);
        }
      },
      put(bytes) {
        const memory = allocateMemory(NODE_BYTES);
        memory.bytes.set(bytes);
        const hash = new Uint8Array(DIGEST_BYTES);
        const waits = putBlock(KIND_NODE, memory, 0, bytes.length, hash, 0);
        if (waits === undefined) {
          freeMemory(memory);
          return hash;
        }
        return waits.finally(() => freeMemory(memory)).then(() => hash);
      },
    },
    async close() {
      await Promise.all(storing);
      for (const each of [...free, ...refused.map(({ from }) => from)]) each.free();
      builder?.free();
      freeMemory(stored);
      freeMemory(nodeMemory);
    },
  };
}
