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
export const fetchStatus = (paths: readonly string[]): Promise<StatusReport> => firstAnswer(paths, askStatus);

/** The socket of the first server that answers. Rejects as `fetchStatus`. */
export const findServer = (paths: readonly string[]): Promise<string> =>
  firstAnswer(paths, async (path) => {
    await askStatus(path);
    return path;
  });

/**
 * The answer of the first server that there is to a request, for example `/targets/e1.0/snapshots`, however long that
 * takes. Rejects with what was tried where there is none, and with the reason where it refuses.
 */
export async function request(paths: readonly string[], where: string, init: RequestInit = {}): Promise<Response> {
  const response = await firstAnswer(paths, async (path) => {
    try {
      return await fetch(`http://voe${where}`, { ...init, unix: path, timeout: false } as BunFetchRequestInit);
    } catch (error) {
      if (isAbsent(error)) throw error;
      // It may have been done, so nobody else is asked.
      return new Error(`${path}: the server did not answer to the end: ${reasonOf(error, path)}`, { cause: error });
    }
  });
  if (response instanceof Error) throw response;
  if (response.ok) return response;
  const text = await response.text();
  throw new Error(reasonIn(text) ?? `the server answered ${response.status}: ${text.slice(0, 200)}`);
}

function reasonIn(text: string): string | undefined {
  try {
    const { error } = JSON.parse(text) as { error?: unknown };
    return typeof error === "string" ? error : undefined;
  } catch {
    return undefined;
  }
}

async function firstAnswer<T>(paths: readonly string[], ask: (path: string) => Promise<T>): Promise<T> {
  const failures: string[] = [];
  for (const path of paths) {
    try {
      return await ask(path);
    } catch (error) {
      failures.push(`${path}: ${reasonOf(error, path)}`);
    }
  }
  throw new Error(
    `no voe server answers (${failures.join("; ")}). ` +
      "Start one with `voe serve`, or name its socket with --control PATH or VOE_CONTROL.",
  );
}

/** Whether nobody was there to be asked. */
const isAbsent = (error: unknown): boolean =>
  ["ENOENT", "ECONNREFUSED", "EACCES", "EPERM"].includes((error as { code?: string }).code ?? "");

async function askStatus(path: string): Promise<StatusReport> {
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
