/** Blocks of one size on their way into packs, with room for their hashes: memory that every thread may be told of. */
import { allocateMemory, freeMemory, memoryAt } from "../../../ffi/memory.ts";
import { DIGEST_BYTES } from "../../base/hash.ts";
import type { Memory } from "../../base/memory.ts";

/** Bytes of blocks in a batch: what a worker does in about a millisecond, so that telling it costs little beside that. */
export const BATCH_BYTES = 2 ** 20;
const BLOCK_LEAST_BYTES = 512;
const MOST_BLOCKS = BATCH_BYTES / BLOCK_LEAST_BYTES;
const HASHES_AT = BATCH_BYTES;
const CHOSEN_AT = HASHES_AT + MOST_BLOCKS * DIGEST_BYTES;
const TOTAL_BYTES = CHOSEN_AT + MOST_BLOCKS * 2;

export interface BlockBatch {
  readonly address: number;
  /** The blocks, back to back from byte 0, BATCH_BYTES at most, and behind them what follows here. */
  readonly memory: Memory;
  /** Their hashes, 32 bytes each; 32 zero bytes for a block of zeros. */
  readonly hashes: Uint8Array;
  /** The same memory. */
  readonly hashWords: Int32Array;
  /** Numbers, within the batch, of the blocks that are to be packed. */
  readonly chosen: Uint16Array;
}

const batchIn = (memory: Memory): BlockBatch => ({
  address: memory.address,
  memory,
  hashes: memory.bytes.subarray(HASHES_AT, CHOSEN_AT),
  hashWords: new Int32Array(memory.bytes.buffer as ArrayBuffer, HASHES_AT, (CHOSEN_AT - HASHES_AT) / 4),
  chosen: new Uint16Array(memory.bytes.buffer as ArrayBuffer, CHOSEN_AT, MOST_BLOCKS),
});

export const allocateBatch = (): BlockBatch => batchIn(allocateMemory(TOTAL_BYTES));

/** A batch that another thread allocated. */
export const batchAt = (address: number): BlockBatch => batchIn(memoryAt(address, TOTAL_BYTES));

export const freeBatch = (batch: BlockBatch): void => freeMemory(batch.memory);
