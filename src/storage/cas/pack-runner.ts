/** Who does the jobs of pack-jobs.ts: this thread, by its turns of the event loop, or another one (pack-worker.ts). */
import { createPackJobs, type PackJob, type PackJobResult, type PackJobsOptions } from "./pack-jobs.ts";
import { Slice } from "./tree/bounded-work.ts";

export interface PackRunner {
  /** Does a job after those that were given before. Rejects with what the job failed with. */
  run(job: PackJob): Promise<PackJobResult>;
  /** Ends. No job may be under way. */
  close(): Promise<void>;
}

/** Bytes of blocks that are done before the clock is looked at: less than 0.3 ms. */
const PIECE_BYTES = 64 * 1024;

/** Does jobs in this thread, piece by piece, so that others have their turn. Finishing a pack is one piece: 3 ms. */
export function inThreadRunner(options: PackJobsOptions): PackRunner {
  const runJob = createPackJobs(options);
  const slice = new Slice();

  const runPieces = async (job: PackJob): Promise<PackJobResult> => {
    if (slice.isOver) await slice.giveWay();
    if (job.kind === "finish") return runJob(job);
    const pieceBlocks = Math.max(1, PIECE_BYTES / job.blockBytes);
    const reports: (readonly [string, string])[] = [];
    let piece: PackJob = job;
    for (let from = job.from; ;) {
      const to = Math.min(job.to, from + pieceBlocks);
      const result: PackJobResult = runJob({ ...piece, from, to });
      reports.push(...result.reports);
      if (result.next < to || to === job.to) return { ...result, reports };
      from = to;
      if (piece.kind === "append") {
        const { entryCount, dataBytes } = result;
        piece = { ...piece, pack: { ...piece.pack, entryCount, dataBytes } };
      }
      if (slice.isOver) await slice.giveWay();
    }
  };

  let last: Promise<unknown> = Promise.resolve();
  return {
    run(job) {
      const done = last.then(() => runPieces(job));
      last = done.catch(() => {});
      return done;
    },
    async close() {
      await last;
    },
  };
}
