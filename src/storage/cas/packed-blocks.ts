/**
 * The blocks of an archive store: new ones go into packs, known ones are found by the index and read from their pack.
 * Data blocks and tree nodes alike. Packs are put into the blob store in the background; `sync` waits for them.
 */
import { allocateMemory, freeMemory } from "../../../ffi/memory.ts";
import type { Compression } from "../../base/compression.ts";
import { DIGEST_BYTES, isZeroDigest, type Hasher } from "../../base/hash.ts";
import type { BlobStore } from "../../blob/blob-store.ts";
import { OK } from "../block-storage.ts";
import { BATCH_BYTES, type BlockBatch } from "./block-batch.ts";
import { createBlockFinder, type Found } from "./block-finder.ts";
import { createBlockReader } from "./block-reader.ts";
import { createBlocksUnderWay } from "./blocks-under-way.ts";
import type { Blocks } from "./blocks.ts";
import { createEntryReader } from "./entry-reader.ts";
import { ABSENT, FOUND, LATER, type BlockIndex } from "./index/block-index.ts";
import { createPlaces } from "./index/places.ts";
import { createPackDirectories } from "./pack-directories.ts";
import type { PackDirectory } from "./pack-directory.ts";
import { KIND_DATA, KIND_NODE, PACK_TARGET_BYTES } from "./pack-format.ts";
import { inThreadRunner, type PackRunner } from "./pack-runner.ts";
import { createPackWriter } from "./pack-writer.ts";
import { forEachBounded, Slice } from "./tree/bounded-work.ts";
import { HASH_WORDS, NODE_BYTES } from "./tree/shape.ts";
import { NOT_IN_MEMORY, type NodeStore } from "./tree/node-store.ts";

/** Memory for directories unless configured: those of 5 GiB of data in blocks of 4 KiB. */
const DIRECTORY_CACHE_BYTES = 64 * 2 ** 20;
/** Lookups that wait for a medium at the same time. */
const LOOKUPS_MOST = 16;
/** Blocks that are looked up before the clock is looked at. */
const LOOKUP_PIECE = 64;

export interface PackedBlocksOptions {
  readonly hasher: Hasher;
  readonly compression: Compression;
  /** Whether new blocks are compressed where that saves space. */
  readonly compresses: boolean;
  readonly blobs: BlobStore;
  readonly index: BlockIndex;
  /** Size of packs, that of the format unless given. */
  readonly packBytes?: number;
  /** Packs that are filled or stored at a time. */
  readonly packsAtOnce?: number;
  /** Memory for directories of packs. */
  readonly directoryCacheBytes?: number;
  /** Who hashes and compresses, for packs of the same size: this thread unless given. It is closed with the blocks. */
  readonly packRunner?: PackRunner;
  readonly report: (key: string, message: string) => void;
}

export interface PackedBlocks {
  /** The store's blocks of one size, a power of two from 512 to 65536. */
  blocksOf(blockBytes: number): Blocks;
  readonly nodes: NodeStore;
  /**
   * Numbers, ascending, of the blocks among `count` hashes that no pack has; one of zeros is not among them. The hashes
   * must stay as they are until it resolves. Rejects where the store or the index cannot be asked.
   */
  missing(hashes: Uint8Array, count: number, blockBytes: number): Promise<number[]>;
  /** Blocks that were put and new, and those that the store had; bytes of the new ones, and of packs stored. */
  readonly counters: { newBlocks: number; knownBlocks: number; newBytes: number; packBytes: number };
  close(): Promise<void>;
}

export function packedBlocks(options: PackedBlocksOptions): PackedBlocks {
  const { hasher, compression, blobs, index, report } = options;
  const packBytes = options.packBytes ?? PACK_TARGET_BYTES;
  const packName = (number: number): Uint8Array => index.packName(number);
  const directories = createPackDirectories({
    blobs,
    hasher,
    packName,
    mostBytes: options.directoryCacheBytes ?? DIRECTORY_CACHE_BYTES,
    report,
  });
  const finder = createBlockFinder(index, directories);
  const entries = createEntryReader({ blobs, hasher, compression, packName });
  const underWay = createBlocksUnderWay(hasher, compression);
  const reader = createBlockReader({ ...options, directories, finder, entries, underWay });
  const runner =
    options.packRunner ??
    inThreadRunner({ hasher, compression: options.compresses ? compression : undefined, packBytes });
  const counters = { newBlocks: 0, knownBlocks: 0, newBytes: 0, packBytes: 0 };
  const nodeMemory = allocateMemory(NODE_BYTES);
  /** Where the last block and the last node that the store had were found. */
  const found: Found = { pack: undefined, ordinal: 0 };
  const foundNode: Found = { pack: undefined, ordinal: 0 };

  const stored = async (name: Uint8Array, directory: PackDirectory, sizeBytes: number): Promise<void> => {
    const hashes = directory.hashes();
    await index.addPack({ name, hashes, plainBytes: directory.plainTotalBytes() });
    counters.packBytes += sizeBytes;
    // What was just written is what is read, or written again, next.
    const places = createPlaces();
    if (index.tryLookup(hashes, 0, places) !== FOUND) return;
    for (const number of places.packs.subarray(0, places.count)) {
      if (Buffer.compare(packName(number), name) === 0) directories.remember(number, directory);
    }
  };
  const writer = createPackWriter({ ...options, runner, packBytes, underWay, stored });

  /**
   * Whether the store has a block, asking the medium. A single block of a pack is believed to be there once it was
   * read: a false yes would lose the block that was to be stored.
   */
  const isStored = async (hashes: Uint8Array, at: number, lengthBytes: number): Promise<boolean> => {
    const places = createPlaces();
    if ((await index.lookup(hashes, at, places)) !== FOUND) return false;
    for (let i = 0; i < places.count; i++) {
      const number = places.packs[i]!;
      const ordinal = places.ordinals[i]!;
      if (finder.isDistrusted(number, ordinal)) continue;
      let pack = directories.tryGet(number);
      if (pack === undefined && !directories.isWorthLoading(number)) {
        const block = allocateMemory(lengthBytes);
        try {
          if (await entries.read(number, ordinal, hashes, at, lengthBytes, block, 0)) return true;
        } finally {
          freeMemory(block);
        }
      }
      pack ??= await directories.load(number);
      if (pack?.directory.holds(ordinal, hashes, at) !== true) continue;
      found.pack = pack;
      found.ordinal = ordinal;
      return true;
    }
    return false;
  };

  /** Notes a block of a batch as being under way, unless it is already. */
  const admit = (batch: BlockBatch, block: number, lengthBytes: number): boolean => {
    if (!underWay.addInBatch(batch.hashWords, block * HASH_WORDS, batch, block)) {
      counters.knownBlocks++;
      return false;
    }
    counters.newBlocks++;
    counters.newBytes += lengthBytes;
    return true;
  };

  /** Numbers of the blocks that the store does not have, ascending; one of zeros counts as one that it has. */
  const findNew = async (hashes: Uint8Array, count: number, blockBytes: number): Promise<number[]> => {
    const slice = new Slice();
    const isNew = new Uint8Array(count);
    const unsure: number[] = [];
    for (let block = 0; block < count; block++) {
      if (isZeroDigest(hashes, block * DIGEST_BYTES)) continue;
      const status = finder.tryFind(hashes, block * DIGEST_BYTES, found);
      if (status === ABSENT) isNew[block] = 1;
      else if (status === FOUND) counters.knownBlocks++;
      else unsure.push(block);
      if (block % LOOKUP_PIECE === LOOKUP_PIECE - 1 && slice.isOver) await slice.giveWay();
    }
    await forEachBounded(unsure, LOOKUPS_MOST, (block) => {
      const take = (known: boolean): void => {
        if (known) counters.knownBlocks++;
        else isNew[block] = 1;
      };
      const at = block * DIGEST_BYTES;
      // A directory that was read for one block tells of those beside it.
      const status = finder.tryFind(hashes, at, found);
      if (status === LATER) return isStored(hashes, at, blockBytes).then(take);
      take(status === FOUND);
      return undefined;
    });
    return Array.from({ length: count }, (_, block) => block).filter((block) => isNew[block] === 1);
  };

  const put = async (batch: BlockBatch, count: number, blockBytes: number): Promise<Uint8Array> => {
    let news: number[];
    try {
      await runner.run({ kind: "hash", batchAddress: batch.address, blockBytes, from: 0, to: count });
      news = await findNew(batch.hashes, count, blockBytes);
    } catch (error) {
      writer.giveBack(batch);
      throw error;
    }
    const hashes = batch.hashes.slice(0, count * DIGEST_BYTES);
    // All that was admitted is appended in the same turn: nobody may rely on a block that then is not.
    let chosen = 0;
    for (const block of news) if (admit(batch, block, blockBytes)) batch.chosen[chosen++] = block;
    writer.append(batch, chosen, blockBytes, KIND_DATA);
    return hashes;
  };

  let nodeBatch: BlockBatch | undefined;
  let nodeCount = 0;
  let gettingNodeBatch: Promise<void> | undefined;

  const appendNodes = (): void => {
    if (nodeBatch === undefined) return;
    writer.append(nodeBatch, nodeCount, NODE_BYTES, KIND_NODE);
    nodeBatch = undefined;
    nodeCount = 0;
  };

  const getNodeBatch = async (): Promise<void> => {
    nodeBatch = await writer.emptyBatch();
  };

  const addNode = (bytes: Uint8Array, hash: Uint8Array): void | Promise<void> => {
    if (nodeBatch === undefined) {
      gettingNodeBatch ??= getNodeBatch().finally(() => (gettingNodeBatch = undefined));
      return gettingNodeBatch.then(() => addNode(bytes, hash));
    }
    nodeBatch.memory.bytes.set(bytes, nodeCount * NODE_BYTES);
    nodeBatch.hashes.set(hash, nodeCount * DIGEST_BYTES);
    if (!admit(nodeBatch, nodeCount, NODE_BYTES)) return undefined;
    nodeBatch.chosen[nodeCount] = nodeCount;
    nodeCount++;
    if (nodeCount === BATCH_BYTES / NODE_BYTES) appendNodes();
    return undefined;
  };

  const sync = (): Promise<void> => {
    appendNodes();
    return writer.sync();
  };

  return {
    blocksOf: (blockBytes) => ({
      blockBytes,
      tryRead: (hash, target, at) => reader.tryReadMany(hash, 1, blockBytes, target, at),
      read: (hash, target, at) => reader.readMany(hash, 1, blockBytes, target, at),
      tryReadMany: (hashes, count, target, at) => reader.tryReadMany(hashes, count, blockBytes, target, at),
      readMany: (hashes, count, target, at) => reader.readMany(hashes, count, blockBytes, target, at),
      emptyBatch: () => writer.emptyBatch(),
      put: (batch, count) => put(batch, count, blockBytes),
      giveBack: (batch) => writer.giveBack(batch),
      sync,
    }),
    nodes: {
      tryGet(hash, target) {
        if (reader.tryReadMany(hash, 1, NODE_BYTES, nodeMemory, 0) !== OK) return NOT_IN_MEMORY;
        target.set(nodeMemory.bytes.subarray(0, NODE_BYTES));
        return NODE_BYTES;
      },
      async get(hash) {
        if (reader.tryReadMany(hash, 1, NODE_BYTES, nodeMemory, 0) === OK) {
          return nodeMemory.bytes.slice(0, NODE_BYTES);
        }
        const memory = allocateMemory(NODE_BYTES);
        try {
          const status = await reader.readMany(hash, 1, NODE_BYTES, memory, 0);
          if (status !== OK) throw new Error("cannot be read, see the log");
          return memory.bytes.slice(0, NODE_BYTES);
        } finally {
          freeMemory(memory);
        }
      },
      put(bytes) {
        const hash = new Uint8Array(DIGEST_BYTES);
        hasher.hash(bytes, 0, bytes.length, hash, 0);
        const status = finder.tryFind(hash, 0, foundNode);
        if (status === LATER) {
          return isStored(hash, 0, NODE_BYTES).then(async (known) => {
            if (known) counters.knownBlocks++;
            else await addNode(bytes, hash);
            return hash;
          });
        }
        if (status === FOUND) {
          counters.knownBlocks++;
          return hash;
        }
        const waits = addNode(bytes, hash);
        return waits === undefined ? hash : waits.then(() => hash);
      },
    },
    missing: findNew,
    counters,
    async close() {
      await writer.close();
      await runner.close();
      reader.close();
      freeMemory(nodeMemory);
    },
  };
}
