import type { Memory } from "../../base/memory.ts";
import type { Completion, StorageStatus } from "../../storage/block-storage.ts";
import type { RequestIdentity } from "./reply-header.ts";

/** What takes a request back when its storage is done with it. */
export interface RequestEnd {
  endRequest(request: NbdRequest, status: StorageStatus): void;
}

/**
 * A request of a client, from its header to its reply. A connection has as many of them as may be in flight, and uses
 * them again: a request allocates nothing.
 */
export class NbdRequest implements RequestIdentity, Completion {
  cookieHigh = 0;
  cookieLow = 0;
  offsetHigh = 0;
  offsetLow = 0;
  flags = 0;
  type = 0;
  /** Exact up to 2^53, beyond which no disk goes. */
  offsetBytes = 0;
  lengthBytes = 0;
  /** The data of a READ on its way, or the room for that of a CACHE. */
  buffer: Memory | undefined;
  /** How much of a CACHE is done. */
  doneBytes = 0;

  constructor(readonly end: RequestEnd) {}

  complete(status: StorageStatus): void {
    this.end.endRequest(this, status);
  }
}
