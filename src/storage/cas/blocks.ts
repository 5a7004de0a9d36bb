import type { Memory } from "../../base/memory.ts";
import type { StorageStatus } from "../block-storage.ts";
import type { BlockBatch } from "./block-batch.ts";

/** The blocks of one size in a store, by their hash: what volumes read from between checkpoints, and write to at them. */
export interface Blocks {
  /** Bytes of a block. */
  readonly blockBytes: number;
  /** Copies the block, verified, to `target`; LATER where it takes `read`. */
  tryRead(hash: Uint8Array, target: Memory, at: number): StorageStatus;
  /**
   * The same, off the event loop: OK, or MEDIUM_ERROR where the block is damaged or missing, which was reported. `hash`
   * and `target` must stay as they are until it resolves. Never rejects.
   */
  read(hash: Uint8Array, target: Memory, at: number): Promise<StorageStatus>;
  /**
   * What `tryRead` does for `count` blocks that lie side by side in the target, with their hashes side by side too, 32
   * zero bytes being a block of zeros. Blocks that are neighbours in a pack are read together.
   */
  tryReadMany(hashes: Uint8Array, count: number, target: Memory, at: number): StorageStatus;
  readMany(hashes: Uint8Array, count: number, target: Memory, at: number): Promise<StorageStatus>;
  /** A batch to be filled, then put or given back. Waits for one; rejects where the store takes no more. */
  emptyBatch(): Promise<BlockBatch>;
  /**
   * Takes the first `count` blocks of a batch, which must not be used any more, and resolves to their hashes, 32 zero
   * bytes for a block of zeros, which is stored nowhere. What was put stays put: what the store does not take yet is
   * kept and tried again. Rejects where the blocks could not be hashed or looked up; then none was put.
   */
  put(batch: BlockBatch, count: number): Promise<Uint8Array>;
  giveBack(batch: BlockBatch): void;
  /** Makes everything that was put survive power loss. */
  sync(): Promise<void>;
}
