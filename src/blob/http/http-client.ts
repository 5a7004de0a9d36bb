/**
 * Requests to stores over HTTP: what `fetch` lacks for them. Every request has a timeout that ends one that stalls and
 * never one that is merely large; bodies go out and come in piece by piece, out of and into memory of the caller; what
 * fails on the way is a BlobStoreError. Nothing is tried again here.
 */
import { eventLoop } from "../../base/event-loop.ts";
import type { Memory } from "../../base/memory.ts";
import { networkError, timeoutError } from "./http-failure.ts";

export interface HttpClientOptions {
  /** PEM certificates of the authorities that are trusted, in place of the usual ones. */
  readonly ca?: string | undefined;
  /** How long may pass without a piece of a body sent or received, or an answer begun, in milliseconds. */
  readonly stallTimeoutMs?: number | undefined;
}

export interface HttpRequest {
  readonly method: "GET" | "HEAD" | "PUT" | "POST" | "DELETE";
  /** May hold a secret: appears in no error. */
  readonly url: string;
  /** Never a Content-Encoding: `fetch` and servers would change what is stored. */
  readonly headers?: Readonly<Record<string, string>> | Headers;
  /** Belongs to the request until its promise has settled. */
  readonly body?: Uint8Array;
  readonly signal?: AbortSignal | undefined;
  /** What could not be done where this fails: `blob X could not be read in the S3 store Y`. */
  readonly what: string;
}

/** The beginning of an answer. Its body is read by at most one of the three methods, while `take` is under way. */
export interface HttpAnswer {
  readonly status: number;
  readonly headers: Headers;
  /**
   * Reads the body into `target` from byte `at`. Resolves to the bytes received, and to one more than `mostBytes` where
   * there were more than that; those are not stored.
   */
  into(target: Memory, at: number, mostBytes: number): Promise<number>;
  /** The body, cut off after `mostBytes`. */
  bytes(mostBytes: number): Promise<Uint8Array>;
  /** The body as text, cut off after `mostBytes`. */
  text(mostBytes: number): Promise<string>;
}

export interface HttpClient {
  /**
   * Sends a request and gives its answer, whatever its status, to `take`. Rejects with the signal's reason where that is
   * aborted, with `unavailable` where the network or the server fails or stalls, with `denied` where the server's
   * certificate is not trusted, and with whatever `take` throws.
   */
  exchange<T>(request: HttpRequest, take: (answer: HttpAnswer) => T | Promise<T>): Promise<T>;
}

const STALL_TIMEOUT_MS = 30_000;
/** Small enough that one that is under way says the upload is: at 100 kbit/s it takes 20 s. */
const PIECE_BYTES = 256 * 1024;
const REST_MOST_BYTES = 64 * 1024;

export function createHttpClient({ ca, stallTimeoutMs = STALL_TIMEOUT_MS }: HttpClientOptions = {}): HttpClient {
  return {
    async exchange({ method, url, headers, body, signal, what }, take) {
      signal?.throwIfAborted();
      const { host } = new URL(url);
      const controller = new AbortController();
      const watch = watchProgress(stallTimeoutMs, () => controller.abort(timeoutError(what, host, stallTimeoutMs)));
      const onAbort = (): void => controller.abort(signal?.reason);
      signal?.addEventListener("abort", onAbort, { once: true });
      const all = new Headers(headers);
      // Also said to servers that would compress an answer unasked, which `decompress` leaves as it is.
      all.set("Accept-Encoding", "identity");
      // Small ones too: `fetch` sends what it has as a whole once more, unasked, where a connection that was used before
      // breaks, and of two creations of a ref the second would be told that it exists.
      const upload = body !== undefined && body.length > 0 ? inPieces(body, watch.progress) : undefined;
      if (upload !== undefined) all.set("Content-Length", `${body!.length}`);
      try {
        let response: Response;
        try {
          response = await fetch(url, {
            method,
            headers: all,
            ...(body === undefined ? {} : { body: upload?.pieces ?? "" }),
            signal: controller.signal,
            // A redirection means a wrong region or endpoint: the signature would not hold there.
            redirect: "manual",
            decompress: false,
            // Ours knows progress; the one that fetch has ends large transfers.
            timeout: false,
            ...(ca === undefined ? {} : { tls: { ca } }),
          });
        } catch (error) {
          throw controller.signal.aborted ? controller.signal.reason : networkError(what, host, error);
        }
        watch.progress();
        return await takeAnswer(response, take, watch.progress, (error) =>
          controller.signal.aborted ? controller.signal.reason : networkError(what, host, error),
        );
      } finally {
        // Answered, or given up, before all of it was sent: the connection is of no more use.
        if (upload?.letGo() === true) controller.abort();
        // The piece that was handed over last may be copied in this turn yet.
        if (upload !== undefined && controller.signal.aborted) await eventLoop.turn();
        watch.stop();
        signal?.removeEventListener("abort", onAbort);
      }
    },
  };
}

interface Watch {
  /** Says that something was sent or received. */
  readonly progress: () => void;
  readonly stop: () => void;
}

/** Calls `stalled` once where there is no progress for so long. A timer is set anew only when it has run out. */
function watchProgress(timeoutMs: number, stalled: () => void): Watch {
  let lastMs = eventLoop.nowMs();
  const check = (): void => {
    const restMs = lastMs + timeoutMs - eventLoop.nowMs();
    if (restMs <= 0) stalled();
    else cancel = eventLoop.after(restMs, check);
  };
  let cancel = eventLoop.after(timeoutMs, check);
  return {
    progress() {
      lastMs = eventLoop.nowMs();
    },
    stop: () => cancel(),
  };
}

interface Upload {
  readonly pieces: ReadableStream<Uint8Array>;
  /** Sees to it that the body is read no more. Returns whether a part of it was not taken. */
  readonly letGo: () => boolean;
}

/**
 * A body of known length that is taken piece by piece, each of which is copied when it is taken: so that a stalled
 * upload is told from a slow one, and that the copy of 16 MiB (9 ms) does not hold the event loop in one go.
 */
function inPieces(body: Uint8Array, taken: () => void): Upload {
  let at = 0;
  let isOver = false;
  const pieces = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        taken();
        if (isOver) return controller.error(new Error("the request is over"));
        const piece = body.subarray(at, at + PIECE_BYTES);
        at += piece.length;
        controller.enqueue(piece);
        // At once: a connection whose answer comes before `fetch` knows of the end of the request is not used again.
        if (at === body.length) controller.close();
      },
    },
    { highWaterMark: 0 },
  );
  return {
    pieces,
    letGo() {
      isOver = true;
      return at < body.length;
    },
  };
}

async function takeAnswer<T>(
  response: Response,
  take: (answer: HttpAnswer) => T | Promise<T>,
  progress: () => void,
  failed: (error: unknown) => unknown,
): Promise<T> {
  const reader = response.body?.getReader();
  let ended = reader === undefined;
  const next = async (): Promise<Uint8Array | undefined> => {
    if (reader === undefined || ended) return undefined;
    try {
      const { done, value } = await reader.read();
      progress();
      ended = done;
      return value;
    } catch (error) {
      ended = true;
      throw failed(error);
    }
  };
  const collect = async (mostBytes: number): Promise<Uint8Array> => {
    const pieces: Uint8Array[] = [];
    let lengthBytes = 0;
    for (let piece = await next(); piece !== undefined; piece = await next()) {
      pieces.push(piece);
      lengthBytes += piece.length;
      if (lengthBytes > mostBytes) break;
    }
    return Buffer.concat(pieces, Math.min(lengthBytes, mostBytes));
  };
  try {
    return await take({
      status: response.status,
      headers: response.headers,
      async into(target, at, mostBytes) {
        let doneBytes = 0;
        for (let piece = await next(); piece !== undefined; piece = await next()) {
          if (doneBytes + piece.length > mostBytes) return mostBytes + 1;
          target.bytes.set(piece, at + doneBytes);
          doneBytes += piece.length;
        }
        return doneBytes;
      },
      bytes: collect,
      text: async (mostBytes) => new TextDecoder().decode(await collect(mostBytes)),
    });
  } finally {
    // A short rest is read, so that the connection is used again; a long one is not worth it, and closes it.
    if (!ended) await collect(REST_MOST_BYTES).catch(() => {});
    if (!ended) await reader?.cancel().catch(() => {});
  }
}
