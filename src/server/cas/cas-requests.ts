/** What a CAS server answers to a request, once it is known that it may be made. docs/cas-server.md has the protocol. */
import { createHasher, type HashAlgorithm } from "../../base/hash.ts";
import {
  BlobStoreError,
  isBlobName,
  isRefName,
  REF_MOST_BYTES,
  type BlobFailure,
  type BlobStore,
} from "../../blob/blob-store.ts";
import {
  BLOBS_PATH,
  DIGEST_HEADER,
  digestHeader,
  EXISTS_MOST,
  FAILURE_HEADER,
  isNamespace,
  LIST_END,
  LIST_MORE,
  LIST_MOST,
  MARKER_PATH,
  REFS_PATH,
} from "../../blob/cas/cas-protocol.ts";
import type { FileStore } from "../../blob/file-store.ts";
import { bodyDigest } from "../../blob/http/body-digest.ts";
import { markerBytes } from "../../blob/store-marker.ts";
import { PACK_MOST_BYTES } from "../../storage/cas/pack-format.ts";
import { blobBody, BodyRefusal, boundedPieces, namedPieces, smallBody } from "./blob-bodies.ts";
import type { CasCounters, CasOperation } from "./cas-metrics.ts";
import type { Namespaces } from "./namespaces.ts";

/** A name and the end of its line. */
const NAME_LINE_BYTES = 66;
const SIZES_AT_ONCE = 32;

export interface CasRequestsOptions {
  readonly store: FileStore;
  readonly namespaces: Namespaces;
  readonly counters: CasCounters;
  /** By which of these blobs may be named. */
  readonly hashes: readonly HashAlgorithm[];
  /** Whether blobs may be deleted: nothing knows whether a namespace still needs them. */
  readonly allowsDelete: boolean;
}

/** A request whose path was taken apart. */
export interface CasRequest {
  readonly operation: CasOperation;
  /**
   * Resolves to the answer. Where its body is read only later on, `hold` has been called, and what that returned is
   * called at the end. Never rejects.
   */
  answer(request: Request, hold: () => () => void, signal: AbortSignal): Promise<Response>;
}

const STATUS: Record<BlobFailure, number> = {
  missing: 404,
  truncated: 416,
  denied: 403,
  unavailable: 503,
  corrupt: 500,
  full: 507,
};

/** Text and a line feed. Nothing here is to be kept or shown as anything else. */
const TEXT_HEADERS = {
  "content-type": "text/plain; charset=utf-8",
  "x-content-type-options": "nosniff",
  "cache-control": "no-store",
};
const BYTES_HEADERS = {
  "content-type": "application/octet-stream",
  "x-content-type-options": "nosniff",
  "cache-control": "no-store",
};

export const refusal = (status: number, reason: string, headers: Record<string, string> = {}): Response =>
  new Response(`${reason}\n`, { status, headers: { ...TEXT_HEADERS, ...headers } });

const done = (status: 200 | 201 | 204, text = ""): Response =>
  new Response(status === 204 ? null : text, { status, headers: TEXT_HEADERS });

function refusalOf(error: unknown): Response {
  if (!(error instanceof BlobStoreError)) return refusal(500, `the server failed: ${(error as Error).message}`);
  const status = error instanceof BodyRefusal ? error.status : STATUS[error.failure];
  return refusal(status, error.message, { [FAILURE_HEADER]: error.failure });
}

/** A small answer, with which it can be told whether all of it arrived. */
const whole = (bytes: Uint8Array): Response =>
  new Response(bytes as Uint8Array<ArrayBuffer>, {
    headers: { ...BYTES_HEADERS, [DIGEST_HEADER]: digestHeader(new Bun.CryptoHasher("sha256").update(bytes).digest()) },
  });

const notAllowed = (allow: string): Response => refusal(405, `only ${allow} is served here`, { allow });

type Route = (request: Request, hold: () => () => void, signal: AbortSignal) => Response | Promise<Response>;

/** Takes requests apart. `path` has neither host nor query. */
export function casRequests(options: CasRequestsOptions): (path: string, query: URLSearchParams) => CasRequest {
  const { store, namespaces, counters, allowsDelete } = options;
  const hashers = options.hashes.map((algorithm) => createHasher(algorithm));

  const piecesOf = (
    { body }: Request,
    mostBytes: number,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array, void, undefined> =>
    boundedPieces(body, mostBytes, signal, (bytes) => (counters.receivedBytes += bytes));

  const putBlob = async (name: string, request: Request, signal: AbortSignal): Promise<Response> => {
    try {
      await store.putPieces(name, namedPieces(name, piecesOf(request, PACK_MOST_BYTES, signal), hashers), signal);
      return done(201);
    } catch (error) {
      if (error instanceof BodyRefusal && error.status === 422) counters.mismatches++;
      throw error;
    }
  };

  const getBlob = async (name: string, request: Request, hold: () => () => void): Promise<Response> => {
    const sizeBytes = await store.size(name);
    const headers = { ...BYTES_HEADERS, "accept-ranges": "bytes" };
    if (request.method === "HEAD") {
      return new Response(null, { headers: { ...headers, "content-length": String(sizeBytes) } });
    }
    const range = rangeOf(request.headers.get("range"), sizeBytes);
    if (range === undefined) {
      return refusal(416, `blob ${name} has ${sizeBytes} bytes`, { "content-range": `bytes */${sizeBytes}` });
    }
    const { from, end, isPart } = range;
    counters.sentBytes += end - from;
    return new Response(await blobBody(store, name, from, end - from, hold()), {
      status: isPart ? 206 : 200,
      headers: isPart ? { ...headers, "content-range": `bytes ${from}-${end - 1}/${sizeBytes}` } : headers,
    });
  };

  const deleteBlob = async (name: string): Promise<Response> => {
    if (!allowsDelete) {
      return refusal(
        403,
        `blob ${name} stays: blobs are shared by all namespaces, so this server deletes none. Start it with --allow-delete`,
      );
    }
    await store.delete(name);
    return done(204);
  };

  const blob =
    (name: string): Route =>
    (request, hold, signal) => {
      switch (request.method) {
        case "GET":
        case "HEAD":
          return getBlob(name, request, hold);
        case "PUT":
          return putBlob(name, request, signal);
        case "DELETE":
          return deleteBlob(name);
        default:
          return notAllowed("GET, HEAD, PUT, DELETE");
      }
    };

  const listBlobs = async (query: URLSearchParams, signal: AbortSignal): Promise<Response> => {
    const limitText = query.get("limit") ?? String(LIST_MOST);
    const limit = Number(limitText);
    if (!/^\d{1,6}$/.test(limitText) || limit < 1) return refusal(400, `limit is no number from 1 to ${LIST_MOST}`);
    const after = query.get("after") ?? "";
    if (after !== "" && !isBlobName(after)) return refusal(400, "after is no name of a blob");
    const lines: string[] = [];
    for await (const { name, sizeBytes } of store.listAfter(after, signal)) {
      if (lines.length === Math.min(limit, LIST_MOST)) return done(200, [...lines, LIST_MORE, ""].join("\n"));
      lines.push(`${name} ${sizeBytes}`);
    }
    return done(200, [...lines, LIST_END, ""].join("\n"));
  };

  const sizeLine = async (name: string): Promise<string> => {
    try {
      return `${name} ${await store.size(name)}`;
    } catch (error) {
      if (error instanceof BlobStoreError && error.failure === "missing") return "";
      throw error;
    }
  };

  const existing = async (request: Request, signal: AbortSignal): Promise<Response> => {
    const body = await smallBody(piecesOf(request, EXISTS_MOST * NAME_LINE_BYTES, signal));
    const names = new TextDecoder().decode(body).split(/\r?\n/).filter(Boolean);
    const wrong = names.find((name) => !isBlobName(name));
    if (wrong !== undefined) return refusal(400, "the body is not a name of a blob on each line");
    if (names.length > EXISTS_MOST) return refusal(413, `only ${EXISTS_MOST} names may be asked for at once`);
    const lines: string[] = [];
    for (let at = 0; at < names.length; at += SIZES_AT_ONCE) {
      lines.push(...(await Promise.all(names.slice(at, at + SIZES_AT_ONCE).map(sizeLine))));
    }
    return done(200, [...lines.filter(Boolean), LIST_END, ""].join("\n"));
  };

  const refsOf = async (namespace: string | undefined): Promise<BlobStore | undefined> =>
    namespaces.open(namespace, false);

  const putRef = async (
    namespace: string | undefined,
    name: string,
    request: Request,
    signal: AbortSignal,
  ): Promise<Response> => {
    const bytes = await smallBody(piecesOf(request, REF_MOST_BYTES, signal));
    const said = request.headers.get(DIGEST_HEADER);
    if (said !== null && said !== digestHeader(await bodyDigest("sha256", bytes))) {
      throw new BodyRefusal(422, `the body of ref ${name} does not match its ${DIGEST_HEADER}: send it again`);
    }
    const refs = (await namespaces.open(namespace, true))!;
    if ((await refs.createRef(name, bytes)) === "created") return done(201);
    return refusal(409, `ref ${name} exists, and is created only once`);
  };

  const ref =
    (namespace: string | undefined, name: string): Route =>
    async (request, _, signal) => {
      switch (request.method) {
        case "GET":
        case "HEAD": {
          const refs = await refsOf(namespace);
          if (refs === undefined) return refusal(404, `there is no ref ${name}`, { [FAILURE_HEADER]: "missing" });
          const bytes = await refs.readRef(name);
          return whole(bytes);
        }
        case "PUT":
          return putRef(namespace, name, request, signal);
        case "DELETE":
          await (await refsOf(namespace))?.deleteRef(name);
          return done(204);
        default:
          return notAllowed("GET, HEAD, PUT, DELETE");
      }
    };

  const listRefs = async (namespace: string | undefined, prefix: string): Promise<Response> => {
    const names = (await (await refsOf(namespace))?.listRefs(prefix)) ?? [];
    return done(200, [...names, LIST_END, ""].join("\n"));
  };

  const routeOf = (path: string, query: URLSearchParams): readonly [CasOperation, Route] => {
    const parts = path.split("/").slice(1);
    const namespace = isNamespace(parts[0] ?? "") ? parts.shift() : undefined;
    const [kind, ...rest] = parts;
    const name = rest.join("/");
    if (kind === BLOBS_PATH && name === "") {
      return [
        "list",
        (request, _, signal) => {
          if (request.method === "GET") return listBlobs(query, signal);
          return request.method === "POST" ? existing(request, signal) : notAllowed("GET, POST");
        },
      ];
    }
    if (kind === BLOBS_PATH && isBlobName(name)) return ["blob", blob(name)];
    if (kind === REFS_PATH && name === "") {
      return [
        "list",
        (request) => (request.method === "GET" ? listRefs(namespace, query.get("prefix") ?? "") : notAllowed("GET")),
      ];
    }
    if (kind === REFS_PATH && isRefName(name)) return ["ref", ref(namespace, name)];
    if (kind === MARKER_PATH && name === "") {
      return ["other", ({ method }) => (method === "GET" ? whole(markerBytes()) : notAllowed("GET"))];
    }
    const what = kind === BLOBS_PATH ? "blob: 64 lower-case hexadecimal digits" : "ref";
    const isName = kind === BLOBS_PATH || kind === REFS_PATH;
    const [status, reason] = isName
      ? ([400, `this is no name of a ${what}`] as const)
      : ([404, "there is nothing here: see docs/cas-server.md"] as const);
    return ["other", () => refusal(status, reason)];
  };

  return (path, query) => {
    const [operation, route] = routeOf(path, query);
    return {
      operation,
      async answer(request, hold, signal) {
        try {
          return await route(request, hold, signal);
        } catch (error) {
          return refusalOf(signal.aborted ? signal.reason : error);
        }
      },
    };
  };
}

interface ByteRange {
  readonly from: number;
  readonly end: number;
  /** Whether a part was asked for, be it all there is. */
  readonly isPart: boolean;
}

/**
 * What a Range header asks for (RFC 9110, section 14.2): the whole where there is none, or one that is not understood;
 * undefined where it asks for nothing that there is.
 */
export function rangeOf(header: string | null, sizeBytes: number): ByteRange | undefined {
  const [, first = "", last = ""] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? "") ?? [];
  if (first === "" && last === "") return { from: 0, end: sizeBytes, isPart: false };
  if (first === "") {
    const count = Math.min(sizeBytes, Number(last));
    return count === 0 ? undefined : { from: sizeBytes - count, end: sizeBytes, isPart: true };
  }
  const from = Number(first);
  const end = last === "" ? sizeBytes : Math.min(sizeBytes, Number(last) + 1);
  return from < end ? { from, end, isPart: true } : undefined;
}
