/** Objects in a bucket of Amazon S3, or of whatever speaks its protocol: signed requests, and what their answers mean. */
import { AwsV4Signer } from "aws4fetch";
import { BlobStoreError } from "../blob-store.ts";
import { bodyDigest } from "../http/body-digest.ts";
import type { HttpAnswer, HttpClient, HttpRequest } from "../http/http-client.ts";
import type { ObjectService } from "../objects/object-service.ts";
import { bucketUrl, objectUrl, queryUrl, type S3Style } from "./s3-address.ts";
import { s3Error } from "./s3-failure.ts";
import { parseList } from "./s3-xml.ts";

export interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Of temporary credentials. */
  readonly sessionToken?: string | undefined;
}

export interface S3ServiceOptions {
  readonly client: HttpClient;
  /** Without a slash at the end. */
  readonly endpoint: string;
  readonly bucket: string;
  readonly region: string;
  readonly style: S3Style;
  /** Asked for each request, so that they may be renewed. */
  readonly credentials: () => S3Credentials;
  /** Absent: as many as the server likes, 1000 at Amazon. */
  readonly pageMostObjects?: number | undefined;
}

const EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/** What an object is stored with, and read whole with: HTTP does not tell an answer that something on the way cut. */
const DIGEST_HEADER = "x-amz-meta-sha256";
const SIGNING_KEYS_MOST = 8;
const ERROR_MOST_BYTES = 16 * 1024;
/** 1000 keys of at most 1024 bytes, each of which XML may make six times as long, and what else is said of them. */
const LIST_MOST_BYTES = 16 * 2 ** 20;

type S3Request = Pick<HttpRequest, "method" | "url" | "body" | "what"> & {
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal: AbortSignal | undefined;
};

export function createS3Service(options: S3ServiceOptions): ObjectService {
  const { client, endpoint, bucket, region } = options;
  const bucketAt = bucketUrl(endpoint, bucket, options.style);
  const place = { host: new URL(bucketAt).host, bucket, region };
  let signingKeys = new Map<string, ArrayBuffer>();
  const urlOf = (key: string): string => objectUrl(bucketAt, key);

  /**
   * Signs a request (SigV4), its body included, and gives the answer to `take` if it has one of the statuses expected;
   * any other is an error.
   */
  const send = async <T>(
    request: S3Request,
    expected: readonly number[],
    take: (answer: HttpAnswer) => T | Promise<T>,
  ): Promise<T> => {
    const { method, url, body, what, signal } = request;
    const hash = body === undefined ? EMPTY_SHA256 : (await bodyDigest("sha256", body, signal)).toHex();
    const { accessKeyId, secretAccessKey, sessionToken } = options.credentials();
    // There is one for each day and secret: those of the past are not kept for the life of the process.
    if (signingKeys.size > SIGNING_KEYS_MOST) signingKeys = new Map();
    const signer = new AwsV4Signer({
      accessKeyId,
      secretAccessKey,
      ...(sessionToken === undefined ? {} : { sessionToken }),
      method,
      url,
      headers: {
        ...request.headers,
        "X-Amz-Content-Sha256": hash,
        ...(body === undefined ? {} : { [DIGEST_HEADER]: hash }),
      },
      service: "s3",
      region,
      cache: signingKeys,
    });
    const { headers } = await signer.sign();
    return await client.exchange(
      { method, url, headers, ...(body === undefined ? {} : { body }), signal, what },
      async (answer) => {
        if (expected.includes(answer.status)) return await take(answer);
        throw s3Error(
          what,
          { status: answer.status, headers: answer.headers, body: await answer.text(ERROR_MOST_BYTES) },
          place,
        );
      },
    );
  };

  const size = (key: string, what: string, signal: AbortSignal | undefined): Promise<number> =>
    send({ method: "HEAD", url: urlOf(key), what, signal }, [200], ({ headers }) =>
      lengthIn(headers.get("content-length"), what, place.host),
    );

  /** After a conflict with another request: that one may have created it, and may as well have failed. */
  const afterConflict = async (key: string, what: string, signal: AbortSignal | undefined): Promise<"exists"> => {
    try {
      await size(key, what, signal);
      return "exists";
    } catch (error) {
      if (!(error instanceof BlobStoreError && error.failure === "missing")) throw error;
      throw new BlobStoreError(
        "unavailable",
        `${what} (${place.host} answered 409, and it is not there): another request for it was under way, try again`,
        error,
      );
    }
  };

  return {
    description: `S3 store ${endpoint}/${bucket}`,

    async put(key, bytes, what, signal) {
      await send({ method: "PUT", url: urlOf(key), body: bytes, what, signal }, [200], () => {});
    },

    async create(key, bytes, what, signal) {
      const headers = { "If-None-Match": "*" };
      const request = { method: "PUT", url: urlOf(key), headers, body: bytes, what, signal } as const;
      const status = await send(request, [200, 409, 412], (answer) => answer.status);
      if (status === 409) return await afterConflict(key, what, signal);
      return status === 200 ? "created" : "exists";
    },

    async get(key, offsetBytes, lengthBytes, target, at, what, signal) {
      const headers = { Range: `bytes=${offsetBytes}-${offsetBytes + lengthBytes - 1}` };
      const sizeBytes = await send(
        { method: "GET", url: urlOf(key), headers, what, signal },
        [200, 206, 416],
        async (answer) => {
          if (answer.status === 416) return "beyond";
          const range = answer.status === 206 ? rangeIn(answer.headers) : { firstBytes: 0, sizeBytes: undefined };
          if (range?.firstBytes !== offsetBytes) {
            throw new BlobStoreError(
              "unavailable",
              `${what} (${place.host} answered ${answer.status} with other bytes than those asked for): check what is ` +
                `between this host and the store`,
            );
          }
          const received = await answer.into(target, at, lengthBytes);
          const sizeBytes = range.sizeBytes ?? offsetBytes + received;
          if (received >= lengthBytes) return undefined;
          if (sizeBytes < offsetBytes + lengthBytes) return sizeBytes;
          throw cutAnswer(what, place.host);
        },
      );
      return sizeBytes === "beyond" ? await size(key, what, signal) : sizeBytes;
    },

    read: (key, mostBytes, what, signal) =>
      send({ method: "GET", url: urlOf(key), what, signal }, [200], async (answer) => {
        const bytes = await answer.bytes(mostBytes + 1);
        // Absent where the object was not stored by voe, but copied there.
        const digest = answer.headers.get(DIGEST_HEADER);
        if (bytes.length > mostBytes || digest === null) return bytes;
        if (digest === (await bodyDigest("sha256", bytes, signal)).toHex()) return bytes;
        throw cutAnswer(what, place.host);
      }),

    size,

    async *list(prefix, what, signal) {
      let token: string | undefined;
      do {
        const query = {
          "list-type": "2",
          prefix,
          ...(options.pageMostObjects === undefined ? {} : { "max-keys": `${options.pageMostObjects}` }),
          ...(token === undefined ? {} : { "continuation-token": token }),
        };
        const url = queryUrl(bucketAt, query);
        const text = await send({ method: "GET", url, what, signal }, [200], (answer) => answer.text(LIST_MOST_BYTES));
        const page = parseList(text);
        if (page === undefined) {
          throw new BlobStoreError(
            "unavailable",
            `${what} (${place.host} answered something that is no whole list): check that endpoint is that of an S3 store`,
          );
        }
        yield page.objects;
        token = page.next;
      } while (token !== undefined);
    },

    async delete(key, what, signal) {
      try {
        await send({ method: "DELETE", url: urlOf(key), what, signal }, [200, 204], () => {});
      } catch (error) {
        if (!(error instanceof BlobStoreError && error.failure === "missing")) throw error;
      }
    },
  };
}

/** The error of an answer whose body is not what was stored, though HTTP took it for whole. */
const cutAnswer = (what: string, host: string): BlobStoreError =>
  new BlobStoreError(
    "unavailable",
    `${what} (the answer of ${host} was cut or changed on the way): check what is between this host and the store`,
  );

/** The first byte of a partial answer and the size of the whole object (RFC 9110, section 14.4). */
function rangeIn(headers: Headers): { firstBytes: number; sizeBytes: number } | undefined {
  const match = /^bytes (\d{1,15})-\d{1,15}\/(\d{1,15})$/.exec(headers.get("content-range") ?? "");
  return match === null ? undefined : { firstBytes: Number(match[1]), sizeBytes: Number(match[2]) };
}

function lengthIn(text: string | null, what: string, host: string): number {
  if (text !== null && /^\d{1,15}$/.test(text)) return Number(text);
  throw new BlobStoreError("unavailable", `${what} (${host} did not say its size): check that endpoint is an S3 store`);
}
