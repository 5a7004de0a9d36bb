/**
 * Jobs of pack-jobs.ts in a thread of their own, which leaves the event loop to clients. Should that thread end, its
 * jobs are done again in this one: they are made so that they can be.
 */
import type { HashAlgorithm } from "../../base/hash.ts";
import type { PackJob, PackJobResult } from "./pack-jobs.ts";
import type { PackRunner } from "./pack-runner.ts";

/** What the thread is told first. */
export interface PackWorkerOptions {
  readonly algorithm: HashAlgorithm;
  readonly compresses: boolean;
  readonly packBytes: number;
  /** Priority of the thread, 0 to 19: see `setThreadNice`. */
  readonly nice: number;
}

/** What it says: that it is ready, then how each job ended, in their order. */
export type PackWorkerAnswer =
  | { readonly kind: "ready" }
  | { readonly kind: "done"; readonly result: PackJobResult }
  | { readonly kind: "failed"; readonly reason: string };

export interface WorkerRunnerOptions {
  readonly worker: PackWorkerOptions;
  /** Does the jobs of a worker that has ended. */
  readonly instead: PackRunner;
  readonly report: (key: string, message: string) => void;
  /** Program of the thread, for tests. */
  readonly entry?: string | URL;
}

interface Pending {
  readonly job: PackJob;
  readonly resolve: (result: PackJobResult) => void;
  readonly reject: (error: Error) => void;
}

/** A thread that has not said anything for so long has not started. */
const START_MOST_MS = 5000;

/**
 * In the single binary all modules are one file at the root of its own filesystem, and entry points keep their paths
 * below `src`; else this file's folder has the program.
 */
const entryOf = (moduleUrl: string): URL =>
  new URL(moduleUrl.includes("/$bunfs/") ? "./storage/cas/pack-worker.ts" : "./pack-worker.ts", moduleUrl);

/** Starts the thread. Rejects where that cannot be done. */
export async function startWorkerRunner(options: WorkerRunnerOptions): Promise<PackRunner> {
  const { instead, report } = options;
  const worker = new Worker(options.entry ?? entryOf(import.meta.url));
  // It must not keep a program going that has nothing else to do.
  worker.unref();
  const pending: Pending[] = [];
  const started = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<void>();
  let reason = "it ended";
  let isOver = false;
  let closing = false;

  worker.addEventListener("message", ({ data }: MessageEvent<PackWorkerAnswer>) => {
    if (data.kind === "ready") {
      started.resolve();
      return;
    }
    const { resolve, reject } = pending.shift()!;
    if (data.kind === "done") resolve(data.result);
    else reject(new Error(data.reason));
  });
  worker.addEventListener("error", (event) => {
    reason = event.message;
    worker.terminate();
  });
  worker.addEventListener("close", () => {
    isOver = true;
    started.reject(new Error(reason));
    ended.resolve();
    if (closing) return;
    report("pack:worker", `the thread that packs blocks ended (${reason}): the event loop does its work from now on`);
    for (const { job, resolve, reject } of pending.splice(0)) instead.run(job).then(resolve, reject);
  });

  const timer = setTimeout(
    () => started.reject(new Error(`it did not start within ${START_MOST_MS} ms`)),
    START_MOST_MS,
  );
  worker.postMessage(options.worker);
  try {
    await started.promise;
  } catch (error) {
    closing = true;
    worker.terminate();
    throw error;
  } finally {
    clearTimeout(timer);
  }

  return {
    description: "a thread of their own",
    run(job) {
      if (isOver) return instead.run(job);
      return new Promise((resolve, reject) => {
        pending.push({ job, resolve, reject });
        worker.postMessage(job);
      });
    },
    async close() {
      closing = true;
      if (!isOver) worker.terminate();
      await ended.promise;
      await instead.close();
    },
  };
}
