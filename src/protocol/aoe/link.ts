import type { PendingRequest } from "./pending-request.ts";

/** What answers need to know of the interface that a request came from, and can ask of it. */
export interface AoeLink {
  readonly mtuBytes: number;
  readonly mac: Uint8Array;
  /** A pending request to keep this request in, or undefined where as many are kept as there may be. */
  takePending(): PendingRequest | undefined;
  /** Sends what `pending` was answered, then takes it back. */
  finishPending(pending: PendingRequest): void;
}
