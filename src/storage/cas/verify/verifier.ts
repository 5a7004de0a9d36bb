import type { VerifyEvent, VerifyOptions } from "./verify-events.ts";
import { verifyStore, type VerifiedStore } from "./verify-store.ts";

/** The verifications of an open store, one at a time. */
export interface Verifier {
  /** As verifyStore. Throws where one is under way. */
  verify(options?: VerifyOptions): AsyncGenerator<VerifyEvent, void, undefined>;
  /** Ends what is under way, and resolves once that has let go of the store. */
  close(): Promise<void>;
}

export function verifier(store: VerifiedStore): Verifier {
  let running: { readonly work: AsyncGenerator<VerifyEvent, void>; readonly stop: AbortController } | undefined;
  return {
    async *verify(options = {}) {
      const { description } = store.blobs;
      if (running !== undefined) {
        throw new Error(`a verification of ${description} is under way already: wait for it, or end it`);
      }
      const stop = new AbortController();
      const signals = options.signal === undefined ? [stop.signal] : [stop.signal, options.signal];
      const work = verifyStore(store, { ...options, signal: AbortSignal.any(signals) });
      running = { work, stop };
      try {
        yield* work;
      } finally {
        running = undefined;
      }
    },
    async close() {
      if (running === undefined) return;
      const { work, stop } = running;
      stop.abort(new Error(`${store.blobs.description} is being closed`));
      // Whoever reads the events may be waiting for its own client: that must not hold this up.
      await work.return().catch(() => {});
    },
  };
}
