import { OK, type Completion, type StorageStatus } from "../../storage/block-storage.ts";

export interface RequestWindow {
  /** Resolves when another request may begin. Rejects where an earlier one has failed. */
  room(): Promise<void> | undefined;
  /** Counts a request that begins now; told its end by the storage. `failed` names the failure. */
  begin(failed: (status: StorageStatus) => Error): Completion;
  /** Resolves when nothing is in flight. Rejects where a request has failed. */
  drained(): Promise<void>;
  /** Resolves when nothing is in flight, whatever became of it. */
  settled(): Promise<void>;
}

/** Bounds how many requests to a storage are in flight, and keeps the first failure. */
export function requestWindow(mostInFlight: number): RequestWindow {
  let inFlight = 0;
  let failure: Error | undefined;
  let wake: (() => void) | undefined;

  const until = async (isReached: () => boolean): Promise<void> => {
    while (!isReached()) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  const settled = (): Promise<void> => until(() => inFlight === 0);
  const orFailure = async (reached: Promise<void>): Promise<void> => {
    await reached;
    if (failure !== undefined) throw failure;
  };

  return {
    room() {
      if (failure === undefined && inFlight < mostInFlight) return undefined;
      return orFailure(until(() => failure !== undefined || inFlight < mostInFlight));
    },
    begin(failed) {
      inFlight++;
      return {
        complete(status) {
          inFlight--;
          if (status !== OK) failure ??= failed(status);
          wake?.();
        },
      };
    },
    drained: () => orFailure(settled()),
    settled,
  };
}
