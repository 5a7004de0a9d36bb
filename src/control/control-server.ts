import { chmodSync, lstatSync, mkdirSync, unlinkSync } from "node:fs";
import { connect } from "node:net";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { ImageOperations } from "../protocol/image/transfer.ts";
import { answerImageRequest } from "./image-routes.ts";
import { METRICS_CONTENT_TYPE, renderMetrics } from "./metrics.ts";
import type { StatusReport } from "./status.ts";

export interface ControlServerOptions {
  /** Where the socket is made, with its directory where that is absent. */
  readonly path: string;
  readonly report: () => StatusReport;
  /** Reads the configuration again and says what has changed, a sentence each; rejects when it is wrong. */
  readonly reload: () => Promise<readonly string[]>;
  /** Disk images in and out; absent: there are none to be had. */
  readonly images?: ImageOperations;
}

export interface ControlServer {
  /** Answers what has been asked, then removes the socket. */
  close(): Promise<void>;
}

/** How long those who have asked are given to take their answers when the server stops. */
const CLOSE_MS = 1000;

/**
 * Serves `GET /status`, `/metrics`, `/version` and `POST /reload` and images over HTTP on a unix socket, for the user of this
 * process and root. Rejects when another server lives on the path, or when it cannot be used.
 */
export async function openControlServer(options: ControlServerOptions): Promise<ControlServer> {
  const { path } = options;
  await clearPath(path);
  const server = listen(options);
  return {
    async close() {
      await Promise.race([server.stop(), sleep(CLOSE_MS, undefined, { ref: false })]);
      // Who does not take an answer must not keep the server from stopping.
      await server.stop(true);
    },
  };
}

function listen(options: ControlServerOptions): Bun.Server<undefined> {
  const { path } = options;
  // The mode has to be right from the first moment, not from a chmod later on.
  const umask = process.umask(0o177);
  try {
    const server = Bun.serve({
      unix: path,
      // Images have no bound.
      maxRequestBodySize: Number.MAX_SAFE_INTEGER,
      fetch(request, server) {
        const image = options.images === undefined ? undefined : answerImageRequest(request, options.images);
        if (image === undefined) return answer(request, options);
        // Either side of an image may be slow.
        server.timeout(request, 0);
        return image;
      },
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

async function answer(request: Request, options: ControlServerOptions): Promise<Response> {
  const { pathname } = new URL(request.url);
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
