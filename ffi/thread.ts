import { libc } from "./libc.ts";

const PRIO_PROCESS = 0;

/**
 * Makes the calling thread step back for others: `nice` from 0 to 19, as of nice(1). Linux keeps it for each thread.
 * Where that is not permitted the thread stays as it is.
 */
export function setThreadNice(nice: number): void {
  libc.setpriority(PRIO_PROCESS, 0, nice);
}
