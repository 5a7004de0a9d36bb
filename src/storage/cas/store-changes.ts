/** The part of a checkpoint that is a volume's own: what changed becomes blocks, and the blocks a tree. */
import { allocateMemory, freeMemory } from "../../../ffi/memory.ts";
import type { Memory } from "../../base/memory.ts";
import { LATER, OK, SECTOR_BYTES } from "../block-storage.ts";
import { BATCH_BYTES, type BlockBatch } from "./block-batch.ts";
import type { DirtyBlocks } from "./dirty-blocks.ts";
import type { Journal } from "./journal.ts";
import type { Pace } from "./pace.ts";
import { readSectors, RECORD_SECTORS, tryReadSectors, type SectorSource } from "./sector-source.ts";

/** Most bytes that are read in one go: with 0.1 ms no one has to wait for it. */
const RUN_MOST_BYTES = 256 * 1024;

/**
 * Puts the changed blocks into the store and the tree, makes both durable, and yields the root. `keep` is given the
 * blocks that cannot be made whole, since what did not change of them cannot be read: they stay as they are in the
 * tree, and their changes must not be forgotten. Rejects where a block cannot be stored, or `keep` rejects; then nothing
 * is lost, and it can be tried again.
 */
export async function storeChanges(
  source: SectorSource,
  changes: DirtyBlocks,
  pace: Pace,
  keep: (block: number) => Promise<void>,
): Promise<Uint8Array> {
  const { tree, blocks } = source;
  for (const [from, to] of changes.zeroRanges()) await tree.clear(from, to - from);
  const changed = changes.blocks();
  const batchBlocks = BATCH_BYTES / blocks.blockBytes;
  const scratch = allocateMemory(blocks.blockBytes);
  const failures: unknown[] = [];
  const underWay = new Set<Promise<void>>();
  try {
    for (let start = 0; start < changed.length && failures.length === 0; start += batchBlocks) {
      const batch = await blocks.emptyBatch();
      let numbers = changed.subarray(start, start + batchBlocks);
      try {
        // Nearly always all of them, once.
        for (let unreadable; (unreadable = await fill(batch, numbers, source, changes, scratch, pace)) !== undefined;) {
          for (const block of unreadable) await keep(block);
          numbers = numbers.filter((block) => !unreadable.includes(block));
        }
      } catch (error) {
        blocks.giveBack(batch);
        throw error;
      }
      if (numbers.length === 0) {
        blocks.giveBack(batch);
        continue;
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

/**
 * Reads sectors that are in the journal, record by record, as nearly all that changed are, without asking for the place
 * of each; yields how many, up to one that is elsewhere or takes waiting.
 */
function tryReadPlaced(
  journal: Journal,
  changes: DirtyBlocks,
  sector: number,
  count: number,
  memory: Memory,
  at: number,
): number {
  let done = 0;
  while (done < count) {
    const place = changes.placeOf(sector + done);
    const inRecord = RECORD_SECTORS - (place % RECORD_SECTORS);
    const run = changes.placedRun(sector + done, Math.min(count - done, inRecord));
    if (run === 0 || journal.tryRead(place, run * SECTOR_BYTES, memory, at + done * SECTOR_BYTES) !== OK) break;
    done += run;
  }
  return done;
}

/**
 * Fills a batch with the blocks of these ascending numbers, those that are neighbours in one go. Where some cannot be
 * read it yields those of one run, and the batch has to be filled again without them.
 */
async function fill(
  { memory }: BlockBatch,
  numbers: Float64Array,
  source: SectorSource,
  changes: DirtyBlocks,
  scratch: Memory,
  pace: Pace,
): Promise<number[] | undefined> {
  const { blockBytes } = source.blocks;
  const blockSectors = blockBytes / SECTOR_BYTES;
  const runMost = RUN_MOST_BYTES / blockBytes;
  const placeOf = (sector: number): number => changes.placeOf(sector);
  // It waited for the batch, and before that for there being anything to do.
  pace.resume();
  for (let first = 0, end = 0; first < numbers.length; first = end) {
    const block = numbers[first]!;
    for (end = first + 1; end < numbers.length && end - first < runMost; end++) {
      if (numbers[end] !== block + end - first) break;
    }
    const sector = block * blockSectors;
    const count = (end - first) * blockSectors;
    const at = first * blockBytes;
    const done = tryReadPlaced(source.journal, changes, sector, count, memory, at);
    const doneBytes = done * SECTOR_BYTES;
    let status =
      done === count
        ? OK
        : tryReadSectors(source, placeOf, sector + done, count - done, memory, at + doneBytes, scratch);
    if (status === LATER) status = await readSectors(source, placeOf, sector, count, memory, at);
    if (status !== OK) {
      const unreadable: number[] = [];
      for (let next = block; next < block + end - first; next++) {
        // To its own place: where each of them can be read now, that is what the batch has to hold.
        const to = at + (next - block) * blockBytes;
        const read = await readSectors(source, placeOf, next * blockSectors, blockSectors, memory, to);
        if (read !== OK) unreadable.push(next);
      }
      if (unreadable.length > 0) return unreadable;
    }
    if (pace.isDue) await pace.rest();
  }
  return undefined;
}
