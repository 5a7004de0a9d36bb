import type { Memory } from "../../base/memory.ts";
import type { BlockStorage } from "../../storage/block-storage.ts";

/** Where the data of a reply or of a request begins in a buffer: aligned for direct I/O, with room for a header before it. */
export const BUFFER_DATA_AT = 512;

/**
 * Takes the replies of a connection, in the order in which they leave. It always has room for the replies, without
 * data, of all requests that are in flight: only those that come with data of their own ask first.
 */
export interface ReplySink {
  /** Where replies are built. */
  readonly memory: Memory;
  /** Whether a body of this length may be lent (`BlockStorage.lend`). */
  mayLend(lengthBytes: number): boolean;
  /** Whether one more request may be taken whose reply has up to this many bytes in `memory`. */
  hasRoom(lengthBytes: number): boolean;
  /** Where in `memory` the next reply is to be built. */
  readonly at: number;
  /** Queues what was built there. */
  push(lengthBytes: number): void;
  /** Queues sectors that a storage has lent. */
  pushLent(address: number, storage: BlockStorage, sector: number, count: number): void;
  /** Queues a part of a buffer, which the sink gives back when that has left. */
  pushBuffer(buffer: Memory, at: number, lengthBytes: number): void;
  /** Sees to it that a write changes nothing that was lent. */
  settleLent(): void;
  /** Memory for the data of a request, from BUFFER_DATA_AT on; undefined while clients together have too much. */
  takeBuffer(dataBytes: number): Memory | undefined;
  giveBuffer(buffer: Memory): void;
  /** Called after replies were queued outside of `Transmission.take`. */
  onReply(): void;
}
