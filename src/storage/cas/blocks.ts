import type { Memory } from "../../base/memory.ts";
import type { StorageStatus } from "../block-storage.ts";

/** The blocks of a store by their hash: what volumes read from between checkpoints, and write to at them. */
export interface Blocks {
  /** Bytes of a block. */
  readonly blockBytes: number;
  /** Copies the block, verified, to `target`; LATER where it takes `read`, MEDIUM_ERROR where it is damaged or missing. */
  tryRead(hash: Uint8Array, target: Memory, at: number): StorageStatus;
  /** The same, off the event loop. `hash` and `target` must stay as they are until it resolves. Never rejects. */
  read(hash: Uint8Array, target: Memory, at: number): Promise<StorageStatus>;
  /**
   * Takes a block that is not all zeros, unless the store has it, and puts its hash at `hashes[hashAt]`. Where it
   * returns a promise, `source` must stay as it is until that resolves. Rejects where the store cannot take it.
   */
  put(source: Memory, at: number, hashes: Uint8Array, hashAt: number): void | Promise<void>;
  /** Makes everything that was put survive power loss. */
  sync(): Promise<void>;
}
