import type { Completion, StorageStatus } from "./block-storage.ts";

/** Tells a completion after the present call: a storage never does so within the call that it was given it in. */
export function tell(completion: Completion, status: StorageStatus): void {
  queueMicrotask(() => completion.complete(status));
}
