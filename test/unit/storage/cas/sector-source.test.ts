import { afterEach, beforeEach, expect, test } from "bun:test";
import { allocateMemory, freeMemory } from "../../../../ffi/memory.ts";
import type { Memory } from "../../../../src/base/memory.ts";
import { MEDIUM_ERROR, OK, SECTOR_BYTES, type StorageStatus } from "../../../../src/storage/block-storage.ts";
import type { Blocks } from "../../../../src/storage/cas/blocks.ts";
import { CLEAN } from "../../../../src/storage/cas/dirty-blocks.ts";
import { readSectors, type BlockSource } from "../../../../src/storage/cas/sector-source.ts";
import { HASH_BYTES } from "../../../../src/storage/cas/tree/shape.ts";
import { VolumeTree } from "../../../../src/storage/cas/tree/volume-tree.ts";
import { makeReader } from "../../../support/test-tree.ts";
import { makeTestNodeStore } from "../../../support/test-node-store.ts";

const BLOCK_BYTES = 4096;
const BLOCK_SECTORS = BLOCK_BYTES / SECTOR_BYTES;
const BLOCKS = 40;

let memory: Memory;
let source: BlockSource;
let damaged: Set<number>;

/** Blocks that are full of their number, which their hash begins with. */
function numberedBlocks(): Blocks {
  const one = (hash: Uint8Array, target: Memory, at: number): StorageStatus => {
    target.bytes.fill(hash[0]!, at, at + BLOCK_BYTES);
    return damaged.has(hash[0]!) ? MEDIUM_ERROR : OK;
  };
  const many = async (hashes: Uint8Array, count: number, target: Memory, at: number): Promise<StorageStatus> => {
    let worst: StorageStatus = OK;
    for (let i = 0; i < count; i++) {
      const status = one(hashes.subarray(i * HASH_BYTES), target, at + i * BLOCK_BYTES);
      if (status !== OK) worst = status;
    }
    return worst;
  };
  const refuse = (): never => {
    throw new Error("nothing is written here");
  };
  return {
    blockBytes: BLOCK_BYTES,
    tryRead: refuse,
    tryReadMany: refuse,
    read: (hash, target, at) => many(hash, 1, target, at),
    readMany: many,
    emptyBatch: refuse,
    put: refuse,
    giveBack: refuse,
    sync: refuse,
  };
}

beforeEach(async () => {
  memory = allocateMemory(BLOCKS * BLOCK_BYTES);
  damaged = new Set();
  const tree = new VolumeTree(makeReader(makeTestNodeStore()), BLOCKS);
  const hashes = new Uint8Array(BLOCKS * HASH_BYTES);
  for (let block = 0; block < BLOCKS; block++) hashes[block * HASH_BYTES] = block + 1;
  await tree.setMany(
    Array.from({ length: BLOCKS }, (_, block) => block),
    hashes,
  );
  source = { blocks: numberedBlocks(), tree, report: () => {} };
});

afterEach(() => freeMemory(memory));

async function readAll(sector: number, count: number): Promise<{ status: StorageStatus; failed: number[] }> {
  const failed: number[] = [];
  const status = await readSectors(
    source,
    () => CLEAN,
    sector,
    count,
    memory,
    0,
    (first, length, how) => {
      expect(how).toBe(MEDIUM_ERROR);
      for (let i = 0; i < length; i++) failed.push(first + i);
    },
  );
  return { status, failed };
}

const sectorsOf = (block: number): number[] =>
  Array.from({ length: BLOCK_SECTORS }, (_, i) => block * BLOCK_SECTORS + i);

test("of blocks that are read together, those alone fail that cannot be read, and the others are there", async () => {
  damaged.add(3).add(9);
  const { status, failed } = await readAll(0, BLOCKS * BLOCK_SECTORS);
  expect(status).toBe(MEDIUM_ERROR);
  expect(failed).toEqual([...sectorsOf(2), ...sectorsOf(8)]);
  for (const block of [0, 1, 3, 7, 9, BLOCKS - 1]) expect(memory.bytes[block * BLOCK_BYTES + 17]).toBe(block + 1);
});

test("of a block that is read in part, that part fails", async () => {
  damaged.add(1);
  expect(await readAll(2, 3)).toEqual({ status: MEDIUM_ERROR, failed: [2, 3, 4] });
});

test("where all can be read nothing fails", async () => {
  expect(await readAll(5, 100)).toEqual({ status: OK, failed: [] });
  expect(memory.bytes[0]).toBe(1);
  expect(memory.bytes[3 * SECTOR_BYTES]).toBe(2);
});
