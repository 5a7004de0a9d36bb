import { SystemError } from "../../../../ffi/libc.ts";
import { emptyHistory, type VerifyHistory } from "./history.ts";
import type { VerifyEvent, VerifyOptions, VerifyProgress } from "./verify-events.ts";
import { verifyStore, type VerifiedStore } from "./verify-store.ts";

/** What is known of the health of a store. Times are milliseconds since 1970, 0 where there is none. */
export interface VerificationStatistics {
  /** How far the run that is under way has come; undefined: none is. */
  readonly running: VerifyProgress | undefined;
  readonly lastRunMs: number;
  /** Packs that were found good, and when the one was whose last time is longest ago. */
  readonly verifiedPacks: number;
  readonly oldestVerifiedMs: number;
  /** Packs and parts of the trees that were found damaged, and have not been found good since. */
  readonly damagedPacks: number;
  readonly damagedParts: number;
}

/** The verifications of an open store, one at a time. */
export interface Verifier {
  /** As verifyStore. Throws where one is under way. */
  verify(options?: VerifyOptions): AsyncGenerator<VerifyEvent, void, undefined>;
  statistics(): VerificationStatistics;
  /** Ends what is under way, and resolves once that has let go of the store. */
  close(): Promise<void>;
}

/** Reads what earlier runs have found. `report` is told where that cannot be read. */
export async function openVerifier(
  store: VerifiedStore & { readonly report: (key: string, message: string) => void },
): Promise<Verifier> {
  let running: { readonly work: AsyncGenerator<VerifyEvent, void>; readonly stop: AbortController } | undefined;
  let progress: VerifyProgress | undefined;
  const earlier = await store.history.load().catch((error: unknown) => {
    if (!(error instanceof SystemError)) throw error;
    store.report("verify:history", `when what was verified is not known: ${error.message}`);
    return emptyHistory();
  });
  let known = summaryOf(earlier);
  /** The history, of which is remembered what was saved last. */
  const history: VerifiedStore["history"] = {
    load: () => store.history.load(),
    save(next) {
      known = summaryOf(next);
      return store.history.save(next);
    },
  };
  return {
    async *verify(options = {}) {
      const { description } = store.blobs;
      if (running !== undefined) {
        throw new Error(`a verification of ${description} is under way already: wait for it, or end it`);
      }
      const stop = new AbortController();
      const signals = options.signal === undefined ? [stop.signal] : [stop.signal, options.signal];
      const work = verifyStore({ ...store, history }, { ...options, signal: AbortSignal.any(signals) });
      running = { work, stop };
      try {
        for await (const event of work) {
          if (event.event === "progress") progress = event;
          yield event;
        }
      } finally {
        running = undefined;
        progress = undefined;
      }
    },
    statistics: () => ({ running: progress, ...known }),
    async close() {
      if (running === undefined) return;
      const { work, stop } = running;
      stop.abort(new Error(`${store.blobs.description} is being closed`));
      // Whoever reads the events may be waiting for its own client: that must not hold this up.
      await work.return().catch(() => {});
    },
  };
}

const summaryOf = ({
  packs,
  badPacks,
  badParts,
  lastRunMs,
}: VerifyHistory): Omit<VerificationStatistics, "running"> => {
  let oldestVerifiedMs = packs.size === 0 ? 0 : Number.POSITIVE_INFINITY;
  for (const verifiedMs of packs.values()) oldestVerifiedMs = Math.min(oldestVerifiedMs, verifiedMs);
  return {
    lastRunMs,
    verifiedPacks: packs.size,
    oldestVerifiedMs,
    damagedPacks: badPacks.size,
    damagedParts: badParts.size,
  };
};
