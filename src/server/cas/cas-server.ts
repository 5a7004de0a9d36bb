/** A content-addressed store over HTTP, on a directory of this host: who may ask, how much at once, and for how long. */
import { timingSafeEqual } from "node:crypto";
import { statfs } from "node:fs/promises";
import { formatListenAddress, isLoopback, type ListenAddress } from "../../base/listen-address.ts";
import { HASH_ALGORITHMS, type HashAlgorithm } from "../../base/hash.ts";
import { isOwnHost } from "../../base/own-host.ts";
import { METRICS_CONTENT_TYPE } from "../../base/prometheus-text.ts";
import { BlobStoreError } from "../../blob/blob-store.ts";
import { FAILURE_HEADER, HEALTH_PATH, METRICS_PATH } from "../../blob/cas/cas-protocol.ts";
import { openFileStore } from "../../blob/file-store.ts";
import { PACK_MOST_BYTES } from "../../storage/cas/pack-format.ts";
import { casCounters, countAnswer, renderCasMetrics, type CasOperation } from "./cas-metrics.ts";
import { casRequests, refusal } from "./cas-requests.ts";
import { createNamespaces } from "./namespaces.ts";

/** Requests that are answered at the same time. Each holds at most two pieces of a blob. */
const MOST_REQUESTS = 256;
/** How long a client may neither send nor take anything. */
const IDLE_MS = 30_000;
/** The largest blob over a line of 2.3 Mbit/s. Slower ones would hold a request of all for hours. */
const REQUEST_MOST_MS = 15 * 60_000;

export interface CasServerOptions {
  /** The directory of the blob store, which is created where there is nothing yet. */
  readonly storage: string;
  readonly bind: ListenAddress;
  /** What clients must know; undefined: everyone on this machine may ask. */
  readonly token: string | undefined;
  /** PEM texts; undefined: no TLS. */
  readonly tls: { readonly cert: string; readonly key: string } | undefined;
  /** By which of these blobs may be named; absent: by any. */
  readonly hashes?: readonly HashAlgorithm[];
  readonly allowsDelete: boolean;
  readonly requestsMost?: number;
  readonly requestMostMs?: number;
  readonly idleMs?: number;
}

export interface CasServer {
  /** Where it is, with a slash at the end. */
  readonly url: string;
  readonly description: string;
  /** Answers what is under way, for `drainMs` at most, and lets go of the store. */
  close(drainMs: number): Promise<void>;
}

/**
 * Opens the store and listens. Rejects where either cannot be done, and with RangeError for an address that others can
 * reach without a token.
 */
export async function openCasServer(options: CasServerOptions): Promise<CasServer> {
  const { storage, bind, token, tls } = options;
  if (token === undefined && !isLoopback(bind)) {
    throw new RangeError(
      `${formatListenAddress(bind)} can be reached from other hosts, and there is no token: anyone could read and write the ` +
        `store. Give one with --token-file or VOE_CAS_TOKEN, or bind to 127.0.0.1`,
    );
  }
  const store = await openFileStore(storage, { create: true });
  const namespaces = createNamespaces(storage, store);
  const counters = casCounters();
  const { hashes = HASH_ALGORITHMS, allowsDelete } = options;
  const requests = casRequests({ store, namespaces, counters, hashes, allowsDelete });
  const { requestsMost = MOST_REQUESTS, requestMostMs = REQUEST_MOST_MS } = options;
  const isPermitted = token === undefined ? undefined : tokenCheck(token);
  const closing = new AbortController();

  const forbidden = (request: Request): Response | undefined => {
    if (isPermitted === undefined) {
      if (isOwnHost(request.headers.get("host"), bind.host)) return undefined;
      return refusal(403, "this server does not go by that name: use its address");
    }
    if (isPermitted(request.headers.get("authorization"))) return undefined;
    const reason = request.headers.has("authorization") ? "that is not this server's token" : "a token is needed";
    return refusal(401, `${reason}: send Authorization: Bearer TOKEN`, {
      "www-authenticate": "Bearer",
      [FAILURE_HEADER]: "denied",
    });
  };

  const metrics = async (): Promise<Response> => {
    const { bavail, bsize } = await statfs(storage);
    return new Response(renderCasMetrics(counters, bavail * bsize), {
      headers: { "content-type": METRICS_CONTENT_TYPE, "cache-control": "no-store" },
    });
  };

  const busy = (): Response =>
    refusal(503, `${requestsMost} requests are being answered: try again`, {
      "retry-after": "1",
      [FAILURE_HEADER]: "unavailable",
    });

  /** Answers within the limits. What is held goes on until the body of the answer was read. */
  const limited = async (path: string, query: URLSearchParams, request: Request): Promise<[CasOperation, Response]> => {
    const asked = requests(path, query);
    const { operation } = asked;
    if (counters.underWay >= requestsMost) return [operation, busy()];
    counters.underWay++;
    let isHeld = false;
    let isReleased = false;
    const release = (): void => {
      if (!isReleased) counters.underWay--;
      isReleased = true;
    };
    const hold = (): (() => void) => {
      isHeld = true;
      return release;
    };
    const deadline = new AbortController();
    const late = new BlobStoreError("unavailable", `the request took over ${requestMostMs / 1000} s`);
    const timer = setTimeout(() => deadline.abort(late), requestMostMs);
    try {
      return [operation, await asked.answer(request, hold, AbortSignal.any([deadline.signal, closing.signal]))];
    } finally {
      clearTimeout(timer);
      if (!isHeld) release();
    }
  };

  const answer = async (request: Request): Promise<Response> => {
    const { pathname, searchParams } = new URL(request.url);
    let operation: CasOperation = "other";
    let response: Response;
    if (pathname === HEALTH_PATH) response = new Response("ok\n");
    else {
      const refused = forbidden(request);
      if (refused !== undefined) response = refused;
      else if (pathname === METRICS_PATH) response = await metrics();
      else [operation, response] = await limited(pathname, searchParams, request);
    }
    countAnswer(counters, request.method, operation, response.status);
    return response;
  };

  let server: Bun.Server<undefined>;
  try {
    server = Bun.serve({
      hostname: bind.host,
      port: bind.port,
      maxRequestBodySize: PACK_MOST_BYTES,
      idleTimeout: Math.ceil((options.idleMs ?? IDLE_MS) / 1000),
      ...(tls === undefined ? {} : { tls }),
      fetch: answer,
      error: (error) => refusal(500, `the server failed: ${error.message}`),
    });
  } catch (error) {
    await store.close();
    throw new Error(`cannot listen on ${formatListenAddress(bind)}: ${(error as Error).message}`, { cause: error });
  }

  return {
    url: String(server.url),
    description: store.description,
    async close(drainMs) {
      const stopped = server.stop();
      const timer = setTimeout(() => {
        closing.abort(new BlobStoreError("unavailable", "the server was stopped"));
        void server.stop(true);
      }, drainMs);
      // Idle connections are kept open by clients, and would be waited for.
      if (counters.underWay === 0) void server.stop(true);
      await stopped;
      clearTimeout(timer);
      await namespaces.close();
      await store.close();
    },
  };
}

const digestOf = (text: string): Uint8Array => new Bun.CryptoHasher("sha256").update(text).digest();

/** Whether an Authorization header has the token. Takes the same time whatever is wrong with it. */
function tokenCheck(token: string): (header: string | null) => boolean {
  const right = digestOf(token);
  return (header) => {
    const [, said = ""] = /^Bearer +(\S+)$/i.exec(header ?? "") ?? [];
    return timingSafeEqual(digestOf(said), right);
  };
}
