/** The thread that does the jobs of pack-jobs.ts. It is an entry point of its own: scripts/build.ts names it. */
import { setThreadNice } from "../../../ffi/thread.ts";
import { createCompression } from "../../base/compression.ts";
import { createHasher } from "../../base/hash.ts";
import { createPackJobs, type PackJob } from "./pack-jobs.ts";
import type { PackWorkerAnswer, PackWorkerOptions } from "./worker-runner.ts";

declare const self: Worker;

const answer = (message: PackWorkerAnswer): void => self.postMessage(message);

function begin({ algorithm, compresses, packBytes, nice }: PackWorkerOptions): void {
  setThreadNice(nice);
  const compression = compresses ? createCompression() : undefined;
  const runJob = createPackJobs({ hasher: createHasher(algorithm), compression, packBytes });
  self.addEventListener("message", ({ data }: MessageEvent<PackJob>) => {
    try {
      answer({ kind: "done", result: runJob(data) });
    } catch (error) {
      answer({ kind: "failed", reason: (error as Error).message });
    }
  });
  answer({ kind: "ready" });
}

self.addEventListener("message", ({ data }: MessageEvent<PackWorkerOptions>) => begin(data), { once: true });
