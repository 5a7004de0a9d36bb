import { expect, test } from "bun:test";
import { allocateMemory } from "../../../../ffi/memory.ts";
import { createCompression } from "../../../../src/base/compression.ts";
import { createHasher, DIGEST_BYTES } from "../../../../src/base/hash.ts";
import { BlobStoreError, type BlobStore } from "../../../../src/blob/blob-store.ts";
import { createMemoryStore, emptyContents, type MemoryStoreContents } from "../../../../src/blob/memory-store.ts";
import { LATER, MEDIUM_ERROR, OK } from "../../../../src/storage/block-storage.ts";
import type { Blocks } from "../../../../src/storage/cas/blocks.ts";
import { openIndex, type BlockIndex } from "../../../../src/storage/cas/index/block-index.ts";
import { eventLoop } from "../../../../src/base/event-loop.ts";
import { ENTRY_BYTES, FOOTER_BYTES } from "../../../../src/storage/cas/pack-format.ts";
import { inThreadRunner, type PackRunner } from "../../../../src/storage/cas/pack-runner.ts";
import {
  packedBlocks,
  type PackedBlocks,
  type PackedBlocksOptions,
} from "../../../../src/storage/cas/packed-blocks.ts";
import { NOT_IN_MEMORY } from "../../../../src/storage/cas/tree/node-store.ts";
import { SimulatedDisk } from "../../../simulation/simulated-disk.ts";
import { fillRandom, fillText } from "../../../support/block-content.ts";
import { seededRandom } from "../../../support/seeded-random.ts";

const hasher = createHasher("sha256");
const compression = createCompression();
const PACK_BYTES = 256 * 1024;

interface Bed {
  readonly packed: PackedBlocks;
  readonly said: string[];
  readonly gets: [name: string, offset: number, length: number][];
  /** While it is set, `put` fails with it. */
  failure: BlobStoreError | undefined;
}

async function newIndex(): Promise<BlockIndex> {
  const disk = new SimulatedDisk(seededRandom(1));
  const place = { disk: disk.session(), directory: "/index", pause: () => eventLoop.turn() };
  return openIndex(place, {
    damaged(error) {
      throw error;
    },
    report: () => {},
  });
}

/** The blocks of a store on `contents`; with an index of its own that knows all of its packs, unless given. */
function makeBed(contents: MemoryStoreContents, index: BlockIndex, options: Partial<PackedBlocksOptions> = {}): Bed {
  const store = createMemoryStore(contents);
  const gets: Bed["gets"] = [];
  const said: string[] = [];
  const bed = { said, gets, failure: undefined as BlobStoreError | undefined };
  const blobs: BlobStore = {
    ...store,
    async put(name, bytes) {
      if (bed.failure !== undefined) throw bed.failure;
      await store.put(name, bytes);
    },
    get: (name, offset, length, ...rest) => {
      gets.push([name, offset, length]);
      return store.get(name, offset, length, ...rest);
    },
  };
  const report = (key: string, message: string): void => void said.push(`${key}: ${message}`);
  const given = { hasher, compression, compresses: true, blobs, index, packBytes: PACK_BYTES, report, ...options };
  return Object.assign(bed, { packed: packedBlocks(given) });
}

/** Content of blocks by number: text, random, and every eighth zeros. */
function contentOf(number: number, blockBytes: number): Uint8Array {
  const bytes = new Uint8Array(blockBytes);
  const random = seededRandom(number + 1);
  if (number % 8 === 0) return bytes;
  if (number % 2 === 0) fillText(random, bytes);
  else fillRandom(random, bytes);
  return bytes;
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, index) => from + index);

/** Puts blocks of these numbers, in batches of at most 64 KiB, and returns their hashes. */
async function put(blocks: Blocks, numbers: readonly number[]): Promise<Uint8Array> {
  const { blockBytes } = blocks;
  const all = new Uint8Array(numbers.length * DIGEST_BYTES);
  const most = 65536 / blockBytes;
  for (let at = 0; at < numbers.length; at += most) {
    const part = numbers.slice(at, at + most);
    const batch = await blocks.emptyBatch();
    for (const [i, number] of part.entries()) batch.memory.bytes.set(contentOf(number, blockBytes), i * blockBytes);
    all.set(await blocks.put(batch, part.length), at * DIGEST_BYTES);
  }
  return all;
}

/** Reads the blocks with these hashes, one by one and all at once, and expects them to be those of the numbers. */
async function expectBlocks(blocks: Blocks, hashes: Uint8Array, numbers: readonly number[]): Promise<void> {
  const { blockBytes } = blocks;
  const target = allocateMemory(numbers.length * blockBytes + 512);
  for (const attempt of ["many", "many at once", "each"] as const) {
    target.bytes.fill(0xee);
    let status = OK;
    if (attempt === "many") status = await blocks.readMany(hashes, numbers.length, target, 512);
    else if (attempt === "many at once") {
      status = blocks.tryReadMany(hashes, numbers.length, target, 512);
      // Where a directory is not in memory it may have to wait.
      if (status === LATER) continue;
    } else {
      for (const i of numbers.keys()) {
        const hash = hashes.slice(i * DIGEST_BYTES, (i + 1) * DIGEST_BYTES);
        status = Math.max(status, await blocks.read(hash, target, 512 + i * blockBytes));
      }
    }
    expect({ attempt, status }).toEqual({ attempt, status: OK });
    for (const [i, number] of numbers.entries()) {
      const at = 512 + i * blockBytes;
      const same = Buffer.compare(target.bytes.subarray(at, at + blockBytes), contentOf(number, blockBytes)) === 0;
      if (!same) throw new Error(`${attempt}: block ${number} is another one`);
    }
    expect(target.bytes.subarray(0, 512).every((byte) => byte === 0xee)).toBe(true);
  }
}

const full = (): BlobStoreError => new BlobStoreError("full", "no space");

for (const blockBytes of [512, 4096, 65536]) {
  test(`blocks of ${blockBytes} bytes read as they were put, before they are durable and after`, async () => {
    const contents = emptyContents();
    const index = await newIndex();
    const { packed, said } = makeBed(contents, index);
    const blocks = packed.blocksOf(blockBytes);
    const numbers = range(0, 1_500_000 / (blockBytes + 4096));
    const hashes = await put(blocks, numbers);
    expect(hashes.subarray(0, DIGEST_BYTES).every((byte) => byte === 0)).toBe(true);
    await expectBlocks(blocks, hashes, numbers);
    await blocks.sync();
    await expectBlocks(blocks, hashes, numbers);
    await packed.close();
    // Another process, which knows no directory.
    const later = makeBed(contents, index);
    await expectBlocks(later.packed.blocksOf(blockBytes), hashes, numbers);
    expect(later.packed.blocksOf(blockBytes).tryReadMany(hashes, numbers.length, allocateMemory(2 ** 22), 0)).toBe(OK);
    expect([...said, ...later.said]).toEqual([]);
    await later.packed.close();
  });
}

test("a block is stored once, whether it comes again in its batch, before it is durable, or after, or in another size", async () => {
  const contents = emptyContents();
  const index = await newIndex();
  const { packed } = makeBed(contents, index);
  const blocks = packed.blocksOf(4096);
  const numbers = [1, 2, 3, 1, 2, 3, ...range(1, 40), ...range(1, 40)].filter((number) => number % 8 !== 0);
  await put(blocks, numbers);
  await put(blocks, numbers);
  await blocks.sync();
  await put(blocks, numbers);
  const distinct = new Set(numbers).size;
  expect(packed.counters).toMatchObject({ newBlocks: distinct, newBytes: distinct * 4096 });
  expect(packed.counters.knownBlocks).toBe(3 * numbers.length - distinct);
  // A tree node of the same bytes, and blocks of another size beside them.
  const node = contentOf(5, 4096);
  const hash = await packed.nodes.put(node);
  expect(packed.counters.newBlocks).toBe(distinct);
  const small = packed.blocksOf(512);
  const hashes = await put(small, [1, 2, 3]);
  expect(packed.counters.newBlocks).toBe(distinct + 3);
  await small.sync();
  await expectBlocks(small, hashes, [1, 2, 3]);
  await expectBlocks(blocks, hash, [5]);
  // A hash that is known as that of another length gives no block.
  expect(await small.read(hash, allocateMemory(4096), 0)).toBe(MEDIUM_ERROR);
  await packed.close();
});

test("nodes can be read as soon as they were put, and after", async () => {
  const contents = emptyContents();
  const index = await newIndex();
  const { packed } = makeBed(contents, index);
  const nodes = range(0, 400).map((number) => contentOf(2 * number + 1, 4096));
  const hashes = [];
  for (const node of nodes) hashes.push(await packed.nodes.put(node));
  const target = new Uint8Array(4096);
  for (const [i, node] of nodes.entries()) {
    expect(packed.nodes.tryGet(hashes[i]!, target)).toBe(4096);
    expect(Buffer.compare(target, node)).toBe(0);
  }
  await packed.blocksOf(512).sync();
  for (const [i, node] of nodes.entries()) expect(Buffer.compare(await packed.nodes.get(hashes[i]!), node)).toBe(0);
  expect(packed.nodes.tryGet(new Uint8Array(32).fill(1), target)).toBe(NOT_IN_MEMORY);
  expect(await packed.nodes.get(new Uint8Array(32).fill(1)).catch((error: Error) => error.message)).toContain("read");
  await packed.close();
});

test("a full store refuses batches in the end, and loses nothing of what was put", async () => {
  const contents = emptyContents();
  const index = await newIndex();
  const bed = makeBed(contents, index);
  const blocks = bed.packed.blocksOf(65536);
  bed.failure = full();
  const taken: number[] = [];
  const hashes: Uint8Array[] = [];
  let refusal: unknown;
  for (let number = 1; refusal === undefined && number < 200; number += 2) {
    try {
      hashes.push(await put(blocks, [number]));
      taken.push(number);
    } catch (error) {
      refusal = error;
    }
  }
  expect(refusal).toBe(bed.failure);
  // Three packs of three blocks, and the batches.
  expect(taken.length).toBeGreaterThan(9);
  expect(await blocks.sync().catch((error: unknown) => error)).toBe(bed.failure);
  // A node is refused too, and so still its tree's.
  const node = Promise.resolve(bed.packed.nodes.put(contentOf(999, 4096)));
  expect(await node.catch((error: unknown) => error)).toBe(bed.failure);
  bed.failure = undefined;
  await blocks.sync();
  const { packed } = makeBed(contents, index);
  await expectBlocks(packed.blocksOf(65536), Uint8Array.from(hashes.flatMap((hash) => [...hash])), taken);
  expect(bed.packed.counters.newBlocks).toBe(taken.length);
  await packed.close();
  await bed.packed.close();
});

test("blocks that were written together are read together", async () => {
  const contents = emptyContents();
  const index = await newIndex();
  const first = makeBed(contents, index, { compresses: false });
  const numbers = range(0, 32).map((number) => number * 8 + 1);
  const hashes = await put(first.packed.blocksOf(4096), numbers);
  await first.packed.blocksOf(4096).sync();
  const { packed, gets } = makeBed(contents, index);
  const target = allocateMemory(32 * 4096);
  expect(await packed.blocksOf(4096).readMany(hashes, 32, target, 0)).toBe(OK);
  // The directory, and all blocks in one piece.
  expect(gets.map(([, , length]) => length).slice(1)).toEqual([32 * 4096]);
  await packed.close();
  await first.packed.close();
});

test("single blocks here and there do not read the directories of their packs, once memory for them is used up", async () => {
  const contents = emptyContents();
  const index = await newIndex();
  const first = makeBed(contents, index);
  const blocks = first.packed.blocksOf(512);
  const numbers = range(0, 8000).filter((number) => number % 8 !== 0);
  const hashes = await put(blocks, numbers);
  await blocks.sync();
  expect(contents.blobs.size).toBeGreaterThan(6);
  const { packed, gets, said } = makeBed(contents, index, { directoryCacheBytes: 0 });
  const later = packed.blocksOf(512);
  // One block of each pack or so, from the last to the first: never two of neighbouring packs in order.
  const some = range(0, 6).map((step) => numbers.length - 1 - step * 1000);
  for (const place of some) {
    await expectSame(later, hashes, numbers, place);
  }
  expect(gets.every(([, , length]) => length <= 512)).toBe(true);
  // As duplicates they are known, and what looks like one and is not is stored.
  const before = packed.counters.newBlocks;
  await put(
    later,
    some.map((place) => numbers[place]!),
  );
  expect(packed.counters.newBlocks).toBe(before);
  expect(said).toEqual([]);
  await packed.close();
  await first.packed.close();
});

async function expectSame(
  blocks: Blocks,
  hashes: Uint8Array,
  numbers: readonly number[],
  place: number,
): Promise<void> {
  const target = allocateMemory(4096);
  const hash = hashes.subarray(place * DIGEST_BYTES, (place + 1) * DIGEST_BYTES);
  expect(await blocks.read(hash, target, 0)).toBe(OK);
  expect(Buffer.compare(target.bytes.subarray(0, 512), contentOf(numbers[place]!, 512))).toBe(0);
}

/** Stores blocks, changes the bytes of every pack, and opens the store again with little or much memory. */
async function damaged(
  numbers: readonly number[],
  change: (pack: Uint8Array) => void,
  directoryCacheBytes: number,
): Promise<Bed & { hashes: Uint8Array }> {
  const contents = emptyContents();
  const index = await newIndex();
  const first = makeBed(contents, index);
  const hashes = await put(first.packed.blocksOf(4096), numbers);
  await first.packed.blocksOf(4096).sync();
  await first.packed.close();
  for (const pack of contents.blobs.values()) change(pack);
  return Object.assign(makeBed(contents, index, { directoryCacheBytes }), { hashes });
}

for (const directoryCacheBytes of [0, 2 ** 24]) {
  const memory = directoryCacheBytes === 0 ? "no memory for directories" : "its directory in memory";
  test(`a damaged block is an error and never data, with ${memory}`, async () => {
    const bed = await damaged([1, 3, 5], (pack) => void (pack[4096 + 77]! ^= 4), directoryCacheBytes);
    const blocks = bed.packed.blocksOf(4096);
    const target = allocateMemory(3 * 4096);
    target.bytes.fill(0xee);
    expect(await blocks.readMany(bed.hashes, 3, target, 0)).toBe(MEDIUM_ERROR);
    expect(Buffer.compare(target.bytes.subarray(0, 4096), contentOf(1, 4096))).toBe(0);
    expect(target.bytes.subarray(4096, 8192).every((byte) => byte === 0)).toBe(true);
    expect(Buffer.compare(target.bytes.subarray(8192), contentOf(5, 4096))).toBe(0);
    expect(blocks.tryReadMany(bed.hashes, 3, target, 0)).toBe(LATER);
    expect(bed.said.join("\n")).toContain("voe verify");
    // Written again it is stored again, though the index has it, and then it is whole.
    const hashes = await put(blocks, [1, 3, 5]);
    expect(bed.packed.counters.newBlocks).toBe(1);
    await expectBlocks(blocks, hashes, [1, 3, 5]);
    await blocks.sync();
    await expectBlocks(blocks, hashes, [1, 3, 5]);
    await bed.packed.close();
  });
}

test("an entry that nothing vouches for is not believed to be a duplicate: the block is stored again", async () => {
  // The directory is damaged, so nothing of it may be believed; the entry of block 1 points at block 3.
  const change = (pack: Uint8Array): void => {
    const directoryAt = pack.length - FOOTER_BYTES - 2 * ENTRY_BYTES;
    new DataView(pack.buffer).setUint32(directoryAt + 32, 4096, true);
  };
  const bed = await damaged([1, 3], change, 0);
  const blocks = bed.packed.blocksOf(4096);
  const hashes = await put(blocks, [1]);
  expect(bed.packed.counters.newBlocks).toBe(1);
  await blocks.sync();
  await expectBlocks(blocks, hashes, [1]);
  await bed.packed.close();
});

test("a block that is damaged in a cache on the way is read once more past it, and nobody notices", async () => {
  const contents = emptyContents();
  const index = await newIndex();
  const bed = makeBed(contents, index);
  const blocks = bed.packed.blocksOf(4096);
  const numbers = range(1, 20);
  const hashes = await put(blocks, numbers);
  await blocks.sync();
  const intact = new Map(contents.blobs);
  for (const [name, bytes] of contents.blobs) {
    const damaged = bytes.slice();
    damaged[100]! ^= 1;
    contents.blobs.set(name, damaged);
  }
  const target = allocateMemory(4096);
  const first = hashes.slice(0, DIGEST_BYTES);
  expect(await blocks.read(first, target, 0)).toBe(MEDIUM_ERROR);
  expect(bed.said.join()).toContain("is damaged");

  const forgotten: string[] = [];
  const store = createMemoryStore(contents);
  const blobs: BlobStore = {
    ...store,
    async forgetCached(name) {
      forgotten.push(name);
      contents.blobs.set(name, intact.get(name)!);
    },
  };
  const cached = makeBed(contents, index, { blobs });
  expect(await cached.packed.blocksOf(4096).read(first, target, 0)).toBe(OK);
  expect(Buffer.compare(target.bytes, contentOf(1, 4096))).toBe(0);
  expect(forgotten.length).toBe(1);
  expect(cached.said).toEqual([]);
});

test.each([2, 5])("of %i packs in memory one is filled while the others are stored at once", async (packsAtOnce) => {
  const contents = emptyContents();
  const store = createMemoryStore(contents);
  let underWay = 0;
  let most = 0;
  const blobs: BlobStore = {
    ...store,
    async put(name, bytes) {
      most = Math.max(most, ++underWay);
      // Long enough for all that may begin.
      for (let turn = 0; turn < 200; turn++) await eventLoop.turn();
      await store.put(name, bytes);
      underWay--;
    },
  };
  const bed = makeBed(contents, await newIndex(), { blobs, packsAtOnce, compresses: false });
  const blocks = bed.packed.blocksOf(4096);
  const numbers = range(1, 600).filter((number) => number % 8 !== 0);
  const hashes = await put(blocks, numbers);
  await blocks.sync();
  expect(contents.blobs.size).toBeGreaterThan(7);
  expect(most).toBe(packsAtOnce);
  await expectBlocks(blocks, hashes, numbers);
});

test("a sync waits for all that was put before it, whichever moment it comes at", async () => {
  const contents = emptyContents();
  const index = await newIndex();
  const inThread = inThreadRunner({ hasher, compression, packBytes: PACK_BYTES });
  let packed = Promise.withResolvers<void>();
  const packRunner: PackRunner = {
    ...inThread,
    async run(job) {
      const result = await inThread.run(job);
      if (job.kind === "append") packed.resolve();
      return result;
    },
  };
  const { packed: store } = makeBed(contents, index, { packRunner });
  const blocks = store.blocksOf(512);
  let stored = 0;
  for (let turns = 0; turns < 20; turns++) {
    packed = Promise.withResolvers();
    await store.nodes.put(contentOf(turns * 8 + 1, 4096));
    await put(blocks, [turns * 8 + 2]);
    await packed.promise;
    // The queue becomes empty in these turns, and the sync puts the node into it.
    for (let turn = 0; turn < turns; turn++) await Promise.resolve();
    await blocks.sync();
    for (const [name, pack] of contents.blobs) {
      stored += new DataView(pack.buffer).getUint32(pack.length - FOOTER_BYTES + 12, true);
      contents.blobs.delete(name);
    }
    expect([turns, stored]).toEqual([turns, 2 * (turns + 1)]);
  }
  await store.close();
  await index.close();
});
