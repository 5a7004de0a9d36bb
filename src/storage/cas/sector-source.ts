/**
 * Where a volume's sectors are, run by run: in the journal, nowhere (discarded or never written), or in a block of the
 * tree. One place for what reading and checkpoints have in common.
 */
import { allocateMemory, freeMemory } from "../../../ffi/memory.ts";
import type { Memory } from "../../base/memory.ts";
import { LATER, MEDIUM_ERROR, OK, SECTOR_BYTES, type StorageStatus } from "../block-storage.ts";
import type { Blocks } from "./blocks.ts";
import { CLEAN, ZERO } from "./dirty-blocks.ts";
import type { Journal } from "./journal.ts";
import { HASH_BYTES } from "./tree/shape.ts";
import { HOLE, type VolumeTree } from "./tree/volume-tree.ts";

/** Most sectors of a record. The places of a record's sectors follow on each other, and the first is a multiple of it. */
export const RECORD_SECTORS = 128;

/** What is at rest: a tree, and the blocks that it refers to. */
export interface BlockSource {
  readonly blocks: Blocks;
  readonly tree: VolumeTree;
  readonly report: (key: string, message: string) => void;
  /** Absent where no sector has a place in it. */
  readonly journal?: Journal;
}

export interface SectorSource extends BlockSource {
  readonly journal: Journal;
}

/** Is told what could not be read. */
export type Failed = (sector: number, count: number, status: StorageStatus) => void;

/** Where the newest data of a sector is: see `DirtyBlocks.placeOf`. */
export type PlaceOf = (sector: number) => number;

/** Most blocks that are read together. */
const MOST_BLOCKS = 128;
const hashes = new Uint8Array(MOST_BLOCKS * HASH_BYTES);

/**
 * How many sectors from `sector` on, at most `most`, are read in one go: those of one record, of whole blocks or a part
 * of one, or zeros.
 */
function runLength(placeOf: PlaceOf, sector: number, most: number, blockSectors: number): number {
  const place = placeOf(sector);
  let run = 1;
  if (place === ZERO) {
    while (run < most && placeOf(sector + run) === ZERO) run++;
  } else if (place === CLEAN) {
    const inBlock = sector % blockSectors;
    const upTo = Math.min(most, inBlock === 0 ? MOST_BLOCKS * blockSectors : blockSectors - inBlock);
    while (run < upTo && placeOf(sector + run) === CLEAN) run++;
    if (run > blockSectors) run -= run % blockSectors;
  } else {
    while (run < most && (place + run) % RECORD_SECTORS !== 0 && placeOf(sector + run) === place + run) run++;
  }
  return run;
}

const zero = (target: Memory, at: number, sectors: number): typeof OK => {
  target.bytes.fill(0, at, at + sectors * SECTOR_BYTES);
  return OK;
};

/** Fills `target` with sectors where that does not have to wait: OK, LATER (its content means nothing), or a failure. */
export function tryReadSectors(
  source: BlockSource,
  placeOf: PlaceOf,
  sector: number,
  count: number,
  target: Memory,
  at: number,
  scratch: Memory,
): StorageStatus {
  const blockSectors = source.blocks.blockBytes / SECTOR_BYTES;
  for (let done = 0; done < count;) {
    const next = sector + done;
    const place = placeOf(next);
    const run = runLength(placeOf, next, count - done, blockSectors);
    const to = at + done * SECTOR_BYTES;
    const status =
      place === ZERO
        ? zero(target, to, run)
        : place === CLEAN
          ? tryReadBlocks(source, next, run, target, to, scratch)
          : source.journal!.tryRead(place, run * SECTOR_BYTES, target, to);
    if (status !== OK) return status;
    done += run;
  }
  return OK;
}

function tryReadBlocks(
  { tree, blocks }: BlockSource,
  sector: number,
  count: number,
  target: Memory,
  at: number,
  scratch: Memory,
): StorageStatus {
  const blockSectors = blocks.blockBytes / SECTOR_BYTES;
  const first = Math.floor(sector / blockSectors);
  const blockCount = Math.ceil(count / blockSectors);
  for (let i = 0; i < blockCount; i++) {
    const found = tree.tryLookup(first + i, hashes, i * HASH_BYTES);
    if (found === LATER) return LATER;
    if (found === HOLE) hashes.fill(0, i * HASH_BYTES, (i + 1) * HASH_BYTES);
  }
  if (count % blockSectors === 0) return blocks.tryReadMany(hashes, blockCount, target, at);
  const status = blocks.tryReadMany(hashes, 1, scratch, 0);
  if (status === OK) copyPart(scratch, sector - first * blockSectors, count, target, at);
  return status;
}

function copyPart(block: Memory, fromSector: number, count: number, target: Memory, at: number): void {
  target.bytes.set(block.bytes.subarray(fromSector * SECTOR_BYTES, (fromSector + count) * SECTOR_BYTES), at);
}

/**
 * Fills `target` with sectors as they are now, whatever is written meanwhile, off the event loop. Never rejects; what
 * could not be read was reported, and `failed` is told which sectors these are.
 */
export async function readSectors(
  source: BlockSource,
  placeOf: PlaceOf,
  sector: number,
  count: number,
  target: Memory,
  at: number,
  failed?: Failed,
): Promise<StorageStatus> {
  const blockSectors = source.blocks.blockBytes / SECTOR_BYTES;
  // All of them begin before anything else happens: a place of the journal, and what the tree says, hold from now on.
  const parts: Promise<StorageStatus>[] = [];
  for (let done = 0; done < count;) {
    const next = sector + done;
    const place = placeOf(next);
    const run = runLength(placeOf, next, count - done, blockSectors);
    const to = at + done * SECTOR_BYTES;
    if (place === ZERO) zero(target, to, run);
    else if (place === CLEAN) parts.push(readBlocks(source, next, run, target, to, failed));
    else parts.push(readRecord(source, place, next, run, target, to, failed));
    done += run;
  }
  const statuses = await Promise.all(parts);
  return statuses.find((status) => status !== OK) ?? OK;
}

async function readRecord(
  { journal, report }: BlockSource,
  place: number,
  sector: number,
  count: number,
  target: Memory,
  at: number,
  failed: Failed | undefined,
): Promise<StorageStatus> {
  let status: StorageStatus;
  try {
    status = await journal!.read(place, count * SECTOR_BYTES, target, at);
  } catch (error) {
    report("journal:read", (error as Error).message);
    status = MEDIUM_ERROR;
  }
  if (status !== OK) failed?.(sector, count, status);
  return status;
}

async function readBlocks(
  { tree, blocks, report }: BlockSource,
  sector: number,
  count: number,
  target: Memory,
  at: number,
  failed: Failed | undefined,
): Promise<StorageStatus> {
  const blockSectors = blocks.blockBytes / SECTOR_BYTES;
  const first = Math.floor(sector / blockSectors);
  const blockHashes = new Uint8Array(Math.ceil(count / blockSectors) * HASH_BYTES);
  const lookups: Promise<unknown>[] = [];
  for (let i = 0; i * HASH_BYTES < blockHashes.length; i++) {
    // A hole leaves the zeros that stand for it.
    if (tree.tryLookup(first + i, blockHashes, i * HASH_BYTES) === LATER) {
      lookups.push(tree.lookup(first + i, blockHashes, i * HASH_BYTES));
    }
  }
  try {
    await Promise.all(lookups);
  } catch (error) {
    report("tree", (error as Error).message);
    failed?.(sector, count, MEDIUM_ERROR);
    return MEDIUM_ERROR;
  }
  if (count % blockSectors === 0) return readWhole(blocks, blockHashes, sector, target, at, failed);
  const whole = allocateMemory(blocks.blockBytes);
  try {
    const status = await blocks.read(blockHashes, whole, 0);
    if (status === OK) copyPart(whole, sector - first * blockSectors, count, target, at);
    else failed?.(sector, count, status);
    return status;
  } finally {
    freeMemory(whole);
  }
}

async function readWhole(
  blocks: Blocks,
  blockHashes: Uint8Array,
  sector: number,
  target: Memory,
  at: number,
  failed: Failed | undefined,
): Promise<StorageStatus> {
  const count = blockHashes.length / HASH_BYTES;
  const status = await blocks.readMany(blockHashes, count, target, at);
  if (status === OK || failed === undefined) return status;
  // Which of them it was, reading them one by one tells. The others are as good as they were.
  const blockSectors = blocks.blockBytes / SECTOR_BYTES;
  for (let i = 0; i < count; i++) {
    const one = blockHashes.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES);
    const each = await blocks.readMany(one, 1, target, at + i * blocks.blockBytes);
    if (each !== OK) failed(sector + i * blockSectors, blockSectors, each);
  }
  return status;
}
