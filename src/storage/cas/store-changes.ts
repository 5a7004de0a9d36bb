/** The part of a checkpoint that is a volume's own: what changed becomes blocks, and the blocks a tree. */
import { allocateMemory, freeMemory } from "../../../ffi/memory.ts";
import type { Memory } from "../../base/memory.ts";
import { LATER, OK, SECTOR_BYTES } from "../block-storage.ts";
import { BATCH_BYTES, type BlockBatch } from "./block-batch.ts";
import type { DirtyBlocks } from "./dirty-blocks.ts";
import type { Pace } from "./pace.ts";
import { readSectors, tryReadSectors, type SectorSource } from "./sector-source.ts";

/** Most bytes that are read in one go: with 0.1 ms no one has to wait for it. */
const RUN_MOST_BYTES = 256 * 1024;

/**
 * Puts the changed blocks into the store and the tree, makes both durable, and yields the root. Rejects where a block
 * cannot be read or stored; then nothing is lost, and it can be tried again.
 */
export async function storeChanges(source: SectorSource, changes: DirtyBlocks, pace: Pace): Promise<Uint8Array> {
  const { tree, blocks } = source;
  for (const [from, to] of changes.zeroRanges()) await tree.clear(from, to - from);
  const changed = changes.blocks();
  const batchBlocks = BATCH_BYTES / blocks.blockBytes;
  const scratch = allocateMemory(blocks.blockBytes);
  const failures: unknown[] = [];
  const underWay = new Set<Promise<void>>();
  try {
    for (let start = 0; start < changed.length && failures.length === 0; start += batchBlocks) {
      const numbers = changed.subarray(start, start + batchBlocks);
      const batch = await blocks.emptyBatch();
      try {
        await fill(batch, numbers, source, changes, scratch, pace);
      } catch (error) {
        blocks.giveBack(batch);
        throw error;
      }
      // While this batch is hashed and packed the next one is filled.
      const putting = blocks
        .put(batch, numbers.length)
        .then((hashes) => tree.setMany(numbers, hashes))
        .catch((error: unknown) => void failures.push(error))
        .finally(() => underWay.delete(putting));
      underWay.add(putting);
    }
  } finally {
    await Promise.all(underWay);
    freeMemory(scratch);
  }
  if (failures.length > 0) throw failures[0];
  const root = await tree.commit();
  await blocks.sync();
  return root;
}

/** Fills a batch with the blocks of these ascending numbers, those that are neighbours in one go. */
async function fill(
  { memory }: BlockBatch,
  numbers: Float64Array,
  source: SectorSource,
  changes: DirtyBlocks,
  scratch: Memory,
  pace: Pace,
): Promise<void> {
  const { blockBytes } = source.blocks;
  const blockSectors = blockBytes / SECTOR_BYTES;
  const runMost = RUN_MOST_BYTES / blockBytes;
  const placeOf = (sector: number): number => changes.placeOf(sector);
  for (let first = 0, end = 0; first < numbers.length; first = end) {
    const block = numbers[first]!;
    for (end = first + 1; end < numbers.length && end - first < runMost; end++) {
      if (numbers[end] !== block + end - first) break;
    }
    const sector = block * blockSectors;
    const count = (end - first) * blockSectors;
    const at = first * blockBytes;
    let status = tryReadSectors(source, placeOf, sector, count, memory, at, scratch);
    if (status === LATER) status = await readSectors(source, placeOf, sector, count, memory, at);
    if (status !== OK) {
      throw new Error(
        `blocks ${block} to ${block + end - first - 1} (from sector ${sector}) cannot be read, so they cannot be stored`,
      );
    }
    if (pace.isDue) await pace.rest();
  }
}
