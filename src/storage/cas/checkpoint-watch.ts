/** Checkpoints that come by themselves, when the journal has reached a size. */
import { eventLoop } from "../../base/event-loop.ts";
import type { Checkpoints } from "./checkpoints.ts";
import type { Journal } from "./journal.ts";

/** How often it is looked whether one is due, in milliseconds. */
const CHECK_MS = 100;
/** How many of these times are let pass after one that failed: the next one hashes everything once more. */
const RETRY_TICKS = 50;
/** Clients who write less than this part of the checkpoint's size in each of so many of these times mind no checkpoint. */
const QUIET_PART = 640;
const QUIET_TICKS = 10;
/** The part of its size at which a journal is checkpointed then, so that a snapshot finds little to do. */
const QUIET_CHECKPOINT_PART = 16;

export interface CheckpointWatchOptions {
  readonly journal: Pick<Journal, "sizeBytes">;
  readonly job: Pick<Checkpoints, "isBusy" | "runUnhurried">;
  /** Size of the journal at which a checkpoint begins while clients write much: up to there it absorbs a burst. */
  readonly checkpointBytes: number;
  readonly report: (key: string, message: string) => void;
}

/** Begins a checkpoint whenever one is due, until the function that it returns is called. */
export function watchJournal({ journal, job, checkpointBytes, report }: CheckpointWatchOptions): () => void {
  let ticksToWait = 0;
  let quietTicks = 0;
  let lastBytes = journal.sizeBytes;
  return eventLoop.every(CHECK_MS, () => {
    quietTicks = journal.sizeBytes - lastBytes < checkpointBytes / QUIET_PART ? quietTicks + 1 : 0;
    lastBytes = journal.sizeBytes;
    const dueBytes = quietTicks < QUIET_TICKS ? checkpointBytes : checkpointBytes / QUIET_CHECKPOINT_PART;
    if (--ticksToWait > 0 || job.isBusy || journal.sizeBytes < dueBytes) return;
    job.runUnhurried().catch((error: Error) => {
      ticksToWait = RETRY_TICKS;
      report(
        "checkpoint",
        `a checkpoint failed: ${error.message}. It is tried again, and the journal keeps what it has`,
      );
    });
  });
}
