/** How the checkpoints of an archive went, for status and warnings. */

export interface CheckpointStatistics {
  /** How long the one that is under way has taken so far, in milliseconds; undefined: none is. */
  readonly runningMs: number | undefined;
  /** Those that had something to do, since the archive was opened; snapshots of what had changed among them. */
  readonly completed: number;
  readonly failed: number;
  /** How long the last one that was completed took, in milliseconds; undefined: there was none. */
  readonly lastMs: number | undefined;
  /** What the last one failed with, and since when none was completed, in milliseconds since 1970; undefined: it did not. */
  readonly failure: { readonly message: string; readonly sinceMs: number } | undefined;
}

export interface CheckpointLog {
  /** Does the work of a checkpoint, and notes how long it took and how it ended. */
  measured<T>(work: () => Promise<T>): Promise<T>;
  statistics(): CheckpointStatistics;
}

/** `nowMs` counts from 1970, `monotonicMs` from any moment. */
export function checkpointLog(nowMs: () => number, monotonicMs: () => number): CheckpointLog {
  let startMs: number | undefined;
  let completed = 0;
  let failed = 0;
  let lastMs: number | undefined;
  let failure: CheckpointStatistics["failure"];
  return {
    async measured(work) {
      const beganMs = monotonicMs();
      startMs = beganMs;
      try {
        const result = await work();
        completed++;
        lastMs = monotonicMs() - beganMs;
        failure = undefined;
        return result;
      } catch (error) {
        failed++;
        failure = { message: (error as Error).message, sinceMs: failure?.sinceMs ?? nowMs() };
        throw error;
      } finally {
        startMs = undefined;
      }
    },
    statistics: () => ({
      runningMs: startMs === undefined ? undefined : monotonicMs() - startMs,
      completed,
      failed,
      lastMs,
      failure,
    }),
  };
}
