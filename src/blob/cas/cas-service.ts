/** The service of objects that a `voe cas-server` is: keys are those of a file store, and become its paths. */
import { createHasher, DIGEST_BYTES, HASH_ALGORITHMS } from "../../base/hash.ts";
import { BlobStoreError, isBlobName, REF_MOST_BYTES, type BlobFailure } from "../blob-store.ts";
import { bodyDigest } from "../http/body-digest.ts";
import type { HttpAnswer, HttpClient, HttpRequest } from "../http/http-client.ts";
import { failureOfStatus } from "../http/http-failure.ts";
import type { ObjectInfo, ObjectService } from "../objects/object-service.ts";
import {
  BLOBS_PATH,
  DIGEST_HEADER,
  digestHeader,
  FAILURE_HEADER,
  isBlobFailure,
  LIST_END,
  LIST_MORE,
  LIST_MOST,
  REFS_PATH,
} from "./cas-protocol.ts";

export interface CasServiceOptions {
  readonly client: HttpClient;
  /** Of the server, with a namespace where there is one: "http://127.0.0.1:3000/host7". Without a slash at the end. */
  readonly endpoint: string;
  readonly token: string | undefined;
}

const ERROR_MOST_BYTES = 4096;
/** A name, a size and a line feed for each, twice over. */
const PAGE_MOST_BYTES = LIST_MOST * 200;
/** Hundreds of thousands of refs. */
const REFS_MOST_BYTES = 64 * 2 ** 20;

type CasRequest = Pick<HttpRequest, "method" | "body" | "what"> & {
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal: AbortSignal | undefined;
};

export function createCasService({ client, endpoint, token }: CasServiceOptions): ObjectService {
  const authorization: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const description = `CAS server ${endpoint}`;

  const send = async <T>(
    { path, headers, body, method, what, signal }: CasRequest,
    expected: readonly number[],
    take: (answer: HttpAnswer) => T | Promise<T>,
  ): Promise<T> =>
    await client.exchange(
      {
        method,
        url: `${endpoint}/${path}`,
        headers: { ...headers, ...authorization },
        ...(body === undefined ? {} : { body }),
        signal,
        what,
      },
      async (answer) => {
        if (expected.includes(answer.status)) return await take(answer);
        throw await errorOf(answer, what, endpoint);
      },
    );

  const lengthIn = (header: string | null, what: string): number => {
    if (header !== null && /^\d{1,15}$/.test(header)) return Number(header);
    throw new BlobStoreError(
      "unavailable",
      `${what} (${endpoint} did not say how long it is): is it a voe cas-server?`,
    );
  };

  const size = (key: string, what: string, signal: AbortSignal | undefined): Promise<number> =>
    send({ method: "HEAD", path: pathOf(key), what, signal }, [200], ({ headers }) =>
      lengthIn(headers.get("content-length"), what),
    );

  /** The lines of a list without the last one, which says whether there is more. */
  const lines = async (
    path: string,
    mostBytes: number,
    what: string,
    signal: AbortSignal | undefined,
  ): Promise<{ lines: string[]; isLast: boolean }> => {
    const text = await send({ method: "GET", path, what, signal }, [200], (answer) => answer.text(mostBytes));
    const found = text.split("\n");
    const end = found.splice(-2);
    const isLast = end[0] === LIST_END;
    if (end[1] === "" && (isLast || end[0] === LIST_MORE)) return { lines: found, isLast };
    throw new BlobStoreError("unavailable", `${what} (the list of ${endpoint} broke off): try again`);
  };

  async function* listBlobs(what: string, signal: AbortSignal | undefined): AsyncGenerator<ObjectInfo[]> {
    for (let after = ""; ;) {
      const page = await lines(`${BLOBS_PATH}?after=${after}&limit=${LIST_MOST}`, PAGE_MOST_BYTES, what, signal);
      const objects = page.lines.map((line): ObjectInfo => {
        const [name = "", sizeText = ""] = line.split(" ");
        if (isBlobName(name)) after = name;
        return { key: `${name.slice(0, 2)}/${name.slice(2)}`, sizeBytes: lengthIn(sizeText, what) };
      });
      yield objects;
      if (page.isLast || objects.length === 0) return;
    }
  }

  return {
    description,

    async put(key, bytes, what, signal) {
      try {
        await send({ method: "PUT", path: pathOf(key), body: bytes, what, signal }, [201], () => {});
      } catch (error) {
        // The server hashes what arrives: what has the right name here was damaged on the way.
        if (error instanceof BlobStoreError && error.failure === "corrupt" && isNamed(key, bytes)) {
          throw damagedOnTheWay(what, endpoint, error);
        }
        throw error;
      }
    },

    async create(key, bytes, what, signal) {
      const headers = { [DIGEST_HEADER]: digestHeader(await bodyDigest("sha256", bytes, signal)) };
      const request = { method: "PUT", path: pathOf(key), headers, body: bytes, what, signal } as const;
      return await send(request, [201, 409, 422], ({ status }) => {
        if (status === 422) throw damagedOnTheWay(what, endpoint);
        return status === 201 ? "created" : "exists";
      });
    },

    async get(key, offsetBytes, lengthBytes, target, at, what, signal) {
      const headers = { range: `bytes=${offsetBytes}-${offsetBytes + lengthBytes - 1}` };
      return await send({ method: "GET", path: pathOf(key), headers, what, signal }, [206, 416], async (answer) => {
        const [, sizeText = null] = /\/(\d+)$/.exec(answer.headers.get("content-range") ?? "") ?? [];
        const sizeBytes = lengthIn(sizeText, what);
        if (answer.status === 416) return sizeBytes;
        const receivedBytes = await answer.into(target, at, lengthBytes);
        if (receivedBytes === lengthBytes) return undefined;
        if (sizeBytes < offsetBytes + lengthBytes) return sizeBytes;
        throw damagedOnTheWay(what, endpoint);
      });
    },

    read: (key, mostBytes, what, signal) =>
      send({ method: "GET", path: pathOf(key), what, signal }, [200], async (answer) => {
        const bytes = await answer.bytes(mostBytes + 1);
        const digest = answer.headers.get(DIGEST_HEADER);
        if (bytes.length > mostBytes || digest === null) return bytes;
        if (digest === digestHeader(await bodyDigest("sha256", bytes, signal))) return bytes;
        throw damagedOnTheWay(what, endpoint);
      }),

    size,

    async *list(prefix, what, signal) {
      const refs = `${REFS_PATH}/`;
      if (!prefix.startsWith(refs)) {
        yield* listBlobs(what, signal);
        return;
      }
      const path = `${REFS_PATH}?prefix=${encodeURIComponent(prefix.slice(refs.length))}`;
      const found = await lines(path, REFS_MOST_BYTES, what, signal);
      yield found.lines.map((name) => ({ key: refs + name, sizeBytes: REF_MOST_BYTES }));
    },

    async delete(key, what, signal) {
      await send({ method: "DELETE", path: pathOf(key), what, signal }, [204], () => {});
    },
  };
}

/** Whether a hash of a blob's bytes is its name. In one go, 13 ms for 16 MiB: only asked where something is wrong. */
const isNamed = (key: string, bytes: Uint8Array): boolean =>
  HASH_ALGORITHMS.some((algorithm) => {
    const digest = new Uint8Array(DIGEST_BYTES);
    createHasher(algorithm).hash(bytes, 0, bytes.length, digest, 0);
    return `${BLOBS_PATH}/${digest.toHex()}` === pathOf(key);
  });

const damagedOnTheWay = (what: string, endpoint: string, cause?: unknown): BlobStoreError =>
  new BlobStoreError(
    "unavailable",
    `${what} (it was cut or changed on the way to or from ${endpoint}): check what is between this host and the server`,
    cause,
  );

/** The path that a file store's key has on the server. */
function pathOf(key: string): string {
  const blob = key[2] === "/" ? key.slice(0, 2) + key.slice(3) : "";
  return isBlobName(blob) ? `${BLOBS_PATH}/${blob}` : key;
}

async function errorOf(answer: HttpAnswer, what: string, endpoint: string): Promise<BlobStoreError> {
  const { status, headers } = answer;
  const said = headers.get(FAILURE_HEADER);
  const failure: BlobFailure = isBlobFailure(said) ? said : failureOfStatus(status);
  const reason = (await answer.text(ERROR_MOST_BYTES)).trim();
  if (status === 401) {
    return new BlobStoreError(
      "denied",
      `${what} (${endpoint} does not take the token): check token, token_file or VOE_CAS_TOKEN against the server's`,
    );
  }
  return new BlobStoreError(failure, `${what} (${endpoint} answered ${status}: ${reason.slice(0, 300)})`);
}
