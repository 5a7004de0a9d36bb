import { chmodSync, lstatSync, mkdirSync, unlinkSync } from "node:fs";
import { connect } from "node:net";
import { dirname } from "node:path";
import { METRICS_CONTENT_TYPE } from "../base/prometheus-text.ts";
import { renderMetrics } from "./metrics.ts";
import type { StatusReport } from "./status.ts";

/**
 * Answers requests of its own, undefined being "not mine". `closing` is aborted when the server is being closed: an
 * answer that goes on for long must end then.
 */
export type ControlRoute = (request: Request, url: URL, closing: AbortSignal) => Promise<Response> | undefined;

export interface ControlServerOptions {
  /** Where the socket is made, with its directory where that is absent. */
  readonly path: string;
  readonly report: () => StatusReport;
  /** Reads the configuration again and says what has changed, a sentence each; rejects when it is wrong. */
  readonly reload: () => Promise<readonly string[]>;
  /** What is served beside status and reload. */
  readonly routes?: readonly ControlRoute[];
}

/** How long a client has to take its answer when the server is being closed. */
const SEND_MS = 1000;

export interface ControlServer {
  /** Answers what has been asked, cutting off answers that go on for long, then removes the socket. */
  close(): Promise<void>;
}

/**
 * Serves `GET /status`, `/metrics`, `/version`, `POST /reload` and further routes over HTTP on a unix socket, for the
 * user of this process and root. Rejects when another server lives on the path, or when it cannot be used.
 */
export async function openControlServer(options: ControlServerOptions): Promise<ControlServer> {
  const { path } = options;
  await clearPath(path);
  const closing = new AbortController();
  const answering = new Set<Promise<Response>>();
  const server = listen(path, async (request) => {
    const answered = answer(request, options, closing.signal);
    answering.add(answered);
    try {
      return await answered;
    } finally {
      answering.delete(answered);
    }
  });
  return {
    async close() {
      closing.abort();
      const stopped = server.stop();
      await Promise.allSettled(answering);
      // A client that takes nothing, such as a pager, must not keep the server from ending.
      const timer = setTimeout(() => void server.stop(true), SEND_MS);
      await stopped;
      clearTimeout(timer);
    },
  };
}

function listen(path: string, fetch: (request: Request) => Promise<Response>): Bun.Server<undefined> {
  // The mode has to be right from the first moment, not from a chmod later on.
  const umask = process.umask(0o177);
  try {
    const server = Bun.serve({
      unix: path,
      // A snapshot may take minutes. Bun honours this for unix sockets, which its types do not know; what is said per
      // request, by `timeout`, it does not honour there.
      idleTimeout: 0 as never,
      // An image that is imported has no bound, and is not kept.
      maxRequestBodySize: Number.MAX_SAFE_INTEGER,
      fetch,
      error: (error) => Response.json({ error: error.message }, { status: 500 }),
    });
    chmodSync(path, 0o600);
    return server;
  } catch (error) {
    throw new Error(`cannot open the control socket ${path}: ${reasonOf(error)}. ${HINT}`, { cause: error });
  } finally {
    process.umask(umask);
  }
}

const HINT = "Set control_socket to a path in a directory that this user may write.";

async function answer(request: Request, options: ControlServerOptions, closing: AbortSignal): Promise<Response> {
  const url = new URL(request.url);
  const { pathname } = url;
  switch (`${request.method} ${pathname}`) {
    case "GET /status":
      return Response.json(options.report());
    case "GET /metrics":
      return new Response(renderMetrics(options.report()), { headers: { "content-type": METRICS_CONTENT_TYPE } });
    case "GET /version": {
      const { version, commit } = options.report();
      return Response.json({ version, commit });
    }
    case "POST /reload":
      try {
        return Response.json({ changes: await options.reload() });
      } catch (error) {
        return Response.json({ error: reasonOf(error) }, { status: 422 });
      }
    default:
      for (const route of options.routes ?? []) {
        const answered = route(request, url, closing);
        if (answered !== undefined) return answered;
      }
      return Response.json({ error: `no such request: ${request.method} ${pathname}` }, { status: 404 });
  }
}

/** Makes the directory, and removes the socket that a server left when it was killed. */
async function clearPath(path: string): Promise<void> {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  } catch (error) {
    throw new Error(`cannot make the directory of the control socket ${path}: ${reasonOf(error)}. ${HINT}`, {
      cause: error,
    });
  }
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) {
    throw new Error(`${path} is in the way of the control socket and is no socket. Remove it, or set control_socket.`);
  }
  if (await isAlive(path)) {
    throw new Error(`another voe serves with the control socket ${path}. Stop it, or set control_socket.`);
  }
  try {
    unlinkSync(path);
  } catch (error) {
    throw new Error(`cannot remove the left-over control socket ${path}: ${reasonOf(error)}`, { cause: error });
  }
}

/** Whether someone listens on a socket. Where that cannot be told, someone else's socket is left in peace. */
function isAlive(path: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect(path);
  socket.once("connect", () => resolve(true));
  socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code !== "ECONNREFUSED"));
  return promise.finally(() => socket.destroy());
}

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
