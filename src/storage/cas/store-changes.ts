/** The part of a checkpoint that is a volume's own: what changed becomes blocks, and the blocks a tree. */
import { allocateMemory, freeMemory } from "../../../ffi/memory.ts";
import { LATER, OK, SECTOR_BYTES, type StorageStatus } from "../block-storage.ts";
import type { DirtyBlocks } from "./dirty-blocks.ts";
import { readSectors, tryReadSectors, type SectorSource } from "./sector-source.ts";
import { Slice } from "./tree/bounded-work.ts";
import { HASH_BYTES } from "./tree/shape.ts";

/** Blocks whose hashes go into the tree together. */
const CHUNK_BLOCKS = 4096;

/**
 * Puts the changed blocks into the store and the tree, makes both durable, and yields the root. Rejects where a block
 * cannot be read or stored; then nothing is lost, and it can be tried again.
 */
export async function storeChanges(source: SectorSource, changes: DirtyBlocks): Promise<Uint8Array> {
  const { tree, blocks } = source;
  const slice = new Slice();
  const placeOf = (sector: number): number => changes.placeOf(sector);
  for (const [from, to] of changes.zeroRanges()) await tree.clear(from, to - from);
  const changed = Float64Array.from(changes.blocks()).sort();
  const memory = allocateMemory(blocks.blockBytes);
  const scratch = allocateMemory(blocks.blockBytes);
  const zeros = Buffer.alloc(blocks.blockBytes);
  const view = Buffer.from(memory.bytes.buffer, memory.bytes.byteOffset, blocks.blockBytes);
  const blockSectors = blocks.blockBytes / SECTOR_BYTES;
  const hashes = new Uint8Array(changed.length * HASH_BYTES);
  try {
    for (let i = 0; i < changed.length; i++) {
      const sector = changed[i]! * blockSectors;
      let status: StorageStatus = tryReadSectors(source, placeOf, sector, blockSectors, memory, 0, scratch);
      if (status === LATER) status = await readSectors(source, placeOf, sector, blockSectors, memory, 0);
      if (status !== OK)
        throw new Error(`block ${changed[i]} (sector ${sector}) cannot be read, so it cannot be stored`);
      // A block of zeros is a hole, which the zero hash stands for.
      if (view.compare(zeros) !== 0) {
        const put = blocks.put(memory, 0, hashes, i * HASH_BYTES);
        if (put !== undefined) await put;
      }
      if (slice.isOver) await slice.giveWay();
    }
    // Before the tree has them: sectors of these blocks that did not change are read through it from then on.
    await blocks.sync();
    for (let start = 0; start < changed.length; start += CHUNK_BLOCKS) {
      const end = Math.min(start + CHUNK_BLOCKS, changed.length);
      await tree.setMany(changed.subarray(start, end), hashes.subarray(start * HASH_BYTES, end * HASH_BYTES));
    }
    const root = await tree.commit();
    await blocks.sync();
    return root;
  } finally {
    freeMemory(memory);
    freeMemory(scratch);
  }
}
