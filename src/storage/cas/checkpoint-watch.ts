/** Checkpoints that come by themselves, when the journal has reached a size. */
import { eventLoop } from "../../base/event-loop.ts";
import type { Checkpoints } from "./checkpoints.ts";
import type { Journal } from "./journal.ts";

/** How often it is looked whether one is due, in milliseconds. */
const CHECK_MS = 100;
/** How many of these times are let pass after one that failed: the next one hashes everything once more. */
const RETRY_TICKS = 50;

export interface CheckpointWatchOptions {
  readonly journal: Journal;
  readonly job: Checkpoints;
  /** Size of the journal at which a checkpoint begins. */
  readonly checkpointBytes: number;
  readonly report: (key: string, message: string) => void;
}

/** Begins a checkpoint whenever one is due, until the function that it returns is called. */
export function watchJournal({ journal, job, checkpointBytes, report }: CheckpointWatchOptions): () => void {
  let ticksToWait = 0;
  return eventLoop.every(CHECK_MS, () => {
    if (--ticksToWait > 0 || job.isBusy || journal.sizeBytes < checkpointBytes) return;
    job.runUnhurried().catch((error: Error) => {
      ticksToWait = RETRY_TICKS;
      report(
        "checkpoint",
        `a checkpoint failed: ${error.message}. It is tried again, and the journal keeps what it has`,
      );
    });
  });
}
