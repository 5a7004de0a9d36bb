/** A number of bytes a second, on average: what was let begin has to be paid for before the next one may. */
import { eventLoop } from "../../base/event-loop.ts";
import { pause } from "./pause.ts";
import { turnstile } from "./turnstile.ts";

export interface Bandwidth {
  /** Resolves when a transfer of so many bytes may begin, urgent ones first. Rejects with the signal's reason. */
  take(bytes: number, urgent: boolean, signal?: AbortSignal): Promise<void>;
}

/** Without a limit nothing waits. */
export function bandwidth(bytesPerSecond: number | undefined): Bandwidth {
  if (bytesPerSecond === undefined) return { async take() {} };
  /** One at a time waits until those before it are paid for. */
  const gate = turnstile(1);
  let paidAtMs = 0;
  return {
    async take(bytes, urgent, signal) {
      await gate.enter(1, urgent, signal);
      try {
        const waitMs = paidAtMs - eventLoop.nowMs();
        if (waitMs > 0) await pause(waitMs, signal);
        paidAtMs = Math.max(paidAtMs, eventLoop.nowMs()) + (bytes / bytesPerSecond) * 1000;
      } finally {
        gate.leave(1);
      }
    },
  };
}
