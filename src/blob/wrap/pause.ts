import { eventLoop } from "../../base/event-loop.ts";

/** Resolves after so many milliseconds, or when `hurry` is aborted; rejects with the reason of `signal`. */
export function pause(ms: number, signal?: AbortSignal, hurry?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = (): void => {
      cancel();
      signal?.removeEventListener("abort", end);
      hurry?.removeEventListener("abort", end);
      if (signal?.aborted === true) reject(signal.reason as Error);
      else resolve();
    };
    const cancel = eventLoop.after(ms, end);
    signal?.addEventListener("abort", end, { once: true });
    hurry?.addEventListener("abort", end, { once: true });
  });
}
