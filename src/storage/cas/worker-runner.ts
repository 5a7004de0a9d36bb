/**
 * Jobs of pack-jobs.ts in a thread of their own, which leaves the event loop to clients. Should the thread not start, or
 * end, its jobs are done by this one, those under way again: they are made so that they can be.
 */
import type { HashAlgorithm } from "../../base/hash.ts";
import type { PackJob, PackJobResult, PackJobsOptions } from "./pack-jobs.ts";
import { inThreadRunner, type PackRunner } from "./pack-runner.ts";

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

export interface WorkerRunnerOptions extends PackJobsOptions {
  /** Is told where this thread does the jobs, and why. */
  readonly report: (key: string, message: string) => void;
  /** Program of the thread, for tests. */
  readonly entry?: string | URL;
}

interface Pending {
  readonly job: PackJob;
  readonly resolve: (result: PackJobResult) => void;
  readonly reject: (error: Error) => void;
}

/** Requests come before packing where both want the same processor. */
const NICE = 10;
/** A thread that has not said anything for so long has not started. */
const START_MOST_MS = 10_000;

/**
 * In the single binary all modules are one file at the root of its own filesystem, and entry points keep their paths
 * below `src`; else this file's folder has the program.
 */
const entryOf = (moduleUrl: string): URL =>
  new URL(moduleUrl.includes("/$bunfs/") ? "./storage/cas/pack-worker.ts" : "./pack-worker.ts", moduleUrl);

/** Starts the thread, without waiting for it. */
export function workerRunner(options: WorkerRunnerOptions): PackRunner {
  const instead = inThreadRunner(options);
  try {
    return runnerOf(new Worker(options.entry ?? entryOf(import.meta.url)), instead, options);
  } catch (error) {
    options.report("pack:worker", lostThread((error as Error).message));
    return instead;
  }
}

const lostThread = (reason: string): string =>
  `the thread that hashes and packs blocks has ended (${reason}). The event loop does its work from now on, which makes ` +
  `requests wait now and then; nothing is lost. A restart begins another thread`;

function runnerOf(worker: Worker, instead: PackRunner, options: WorkerRunnerOptions): PackRunner {
  const { hasher, compression, packBytes, report } = options;
  const pending: Pending[] = [];
  const ended = Promise.withResolvers<void>();
  let reason: string | undefined;
  let isOver = false;
  let closing = false;

  const end = (why: string): void => {
    reason ??= why;
    worker.terminate();
  };
  const startTimer = setTimeout(() => end(`it did not start within ${START_MOST_MS / 1000} s`), START_MOST_MS);
  startTimer.unref();

  worker.addEventListener("message", ({ data }: MessageEvent<PackWorkerAnswer>) => {
    if (data.kind === "ready") {
      clearTimeout(startTimer);
      return;
    }
    const { resolve, reject } = pending.shift()!;
    // It must not keep a program going that has nothing else to do.
    if (pending.length === 0) worker.unref();
    if (data.kind === "done") resolve(data.result);
    else reject(new Error(data.reason));
  });
  worker.addEventListener("error", ({ message }) => end(message));
  worker.addEventListener("close", () => {
    clearTimeout(startTimer);
    isOver = true;
    ended.resolve();
    if (closing) return;
    report("pack:worker", lostThread(reason ?? "for no known reason"));
    for (const { job, resolve, reject } of pending.splice(0)) instead.run(job).then(resolve, reject);
  });

  const first: PackWorkerOptions = {
    algorithm: hasher.algorithm,
    compresses: compression !== undefined,
    packBytes,
    nice: NICE,
  };
  worker.postMessage(first);
  worker.unref();

  return {
    run(job) {
      if (isOver) return instead.run(job);
      return new Promise((resolve, reject) => {
        // Without it a loop that waits for nothing else would spin.
        if (pending.length === 0) worker.ref();
        pending.push({ job, resolve, reject });
        worker.postMessage(job);
      });
    },
    async close() {
      closing = true;
      if (!isOver) {
        worker.ref();
        worker.terminate();
      }
      await ended.promise;
      await instead.close();
    },
  };
}
