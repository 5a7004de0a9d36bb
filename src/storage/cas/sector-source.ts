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

const hash = new Uint8Array(HASH_BYTES);

/** How many sectors from `sector` on, at most `most`, are read in one go: those of one record, of one block, or zeros. */
function runLength(placeOf: PlaceOf, sector: number, most: number, blockSectors: number): number {
  const place = placeOf(sector);
  let run = 1;
  if (place === ZERO) {
    while (run < most && placeOf(sector + run) === ZERO) run++;
  } else if (place === CLEAN) {
    const inBlock = Math.min(most, blockSectors - (sector % blockSectors));
    while (run < inBlock && placeOf(sector + run) === CLEAN) run++;
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
          ? tryReadBlock(source, next, run, target, to, scratch)
          : source.journal!.tryRead(place, run * SECTOR_BYTES, target, to);
    if (status !== OK) return status;
    done += run;
  }
  return OK;
}

function tryReadBlock(
  { tree, blocks }: BlockSource,
  sector: number,
  count: number,
  target: Memory,
  at: number,
  scratch: Memory,
): StorageStatus {
  const blockSectors = blocks.blockBytes / SECTOR_BYTES;
  const block = Math.floor(sector / blockSectors);
  const found = tree.tryLookup(block, hash, 0);
  if (found === LATER) return LATER;
  if (found === HOLE) return zero(target, at, count);
  if (count === blockSectors) return blocks.tryRead(hash, target, at);
  const status = blocks.tryRead(hash, scratch, 0);
  if (status === OK) copyPart(scratch, sector - block * blockSectors, count, target, at);
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
    done += run;
    if (place === ZERO) {
      zero(target, to, run);
      continue;
    }
    const part =
      place === CLEAN ? readBlock(source, next, run, target, to) : readRecord(source, place, run, target, to);
    parts.push(failed === undefined ? part : part.then((status) => told(failed, next, run, status)));
  }
  const statuses = await Promise.all(parts);
  return statuses.find((status) => status !== OK) ?? OK;
}

function told(failed: Failed, sector: number, count: number, status: StorageStatus): StorageStatus {
  if (status !== OK) failed(sector, count, status);
  return status;
}

async function readRecord(
  { journal, report }: BlockSource,
  place: number,
  count: number,
  target: Memory,
  at: number,
): Promise<StorageStatus> {
  try {
    return await journal!.read(place, count * SECTOR_BYTES, target, at);
  } catch (error) {
    report("journal:read", (error as Error).message);
    return MEDIUM_ERROR;
  }
}

async function readBlock(
  { tree, blocks, report }: BlockSource,
  sector: number,
  count: number,
  target: Memory,
  at: number,
): Promise<StorageStatus> {
  const blockSectors = blocks.blockBytes / SECTOR_BYTES;
  const block = Math.floor(sector / blockSectors);
  const blockHash = new Uint8Array(HASH_BYTES);
  try {
    if ((await tree.lookup(block, blockHash, 0)) === HOLE) return zero(target, at, count);
  } catch (error) {
    report("tree", (error as Error).message);
    return MEDIUM_ERROR;
  }
  if (count === blockSectors) return blocks.read(blockHash, target, at);
  const whole = allocateMemory(blocks.blockBytes);
  try {
    const status = await blocks.read(blockHash, whole, 0);
    if (status === OK) copyPart(whole, sector - block * blockSectors, count, target, at);
    return status;
  } finally {
    freeMemory(whole);
  }
}
