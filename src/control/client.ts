import { existsSync } from "node:fs";
import type { StatusReport } from "./status.ts";

/** Where a server is found that was not told otherwise: as a service, and in the directory it was started in. */
const DEFAULT_PATHS = ["/run/voe/voe.sock", "./voe-data/voe.sock"];

const ANSWER_TIMEOUT_MS = 5000;

/** The sockets to try in turn: the one that was asked for (`--control`, else `VOE_CONTROL`), else the usual ones. */
export function controlPaths(asked: string | undefined, environment: NodeJS.ProcessEnv): readonly string[] {
  const one = asked ?? environment["VOE_CONTROL"];
  return one === undefined || one === "" ? DEFAULT_PATHS : [one];
}

/** The status report of the first server that answers. Rejects with what was tried and what can be done. */
export async function fetchStatus(paths: readonly string[]): Promise<StatusReport> {
  return (await findServer(paths)).report;
}

/** The first server that answers: its socket and its status report. Rejects as `fetchStatus`. */
export async function findServer(paths: readonly string[]): Promise<{ path: string; report: StatusReport }> {
  const failures: string[] = [];
  for (const path of paths) {
    try {
      return { path, report: await ask(path) };
    } catch (error) {
      failures.push(`${path}: ${reasonOf(error, path)}`);
    }
  }
  throw new Error(
    `no voe server answers (${failures.join("; ")}). ` +
      "Start one with `voe serve`, or name its socket with --control PATH or VOE_CONTROL.",
  );
}

async function ask(path: string): Promise<StatusReport> {
  const response = await fetch("http://voe/status", { unix: path, signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS) });
  if (!response.ok) throw new Error(`it answered ${response.status}: ${(await response.text()).slice(0, 200)}`);
  const report = (await response.json()) as StatusReport;
  if (!Array.isArray(report.targets)) throw new Error("what listens there is no voe");
  return report;
}

function reasonOf(error: unknown, path: string): string {
  const { code, name, message } = error as Error & { code?: string };
  if (name === "TimeoutError") return `no answer within ${ANSWER_TIMEOUT_MS / 1000} s`;
  switch (code) {
    case "ENOENT":
      return "no such socket";
    case "ECONNREFUSED":
      return existsSync(path) ? "nothing listens on it" : "no such socket";
    case "EACCES":
    case "EPERM":
      return "permission denied, run as the user of the server or as root";
    default:
      return message;
  }
}
