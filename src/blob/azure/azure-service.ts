/** A container of Azure Blob Storage as objects under keys. Objects are block blobs, each stored by one Put Blob. */
import { BlobStoreError } from "../blob-store.ts";
import { bodyDigest } from "../http/body-digest.ts";
import type { ObjectService } from "../objects/object-service.ts";
import type { AzureExchange } from "./azure-request.ts";
import { parseBlobListing } from "./blob-listing.ts";

/** Azure puts 5000 on a page, whose XML holds the event loop for 10 to 140 ms; this many take 3 ms, at first 30. */
export const PAGE_MOST_OBJECTS = 1000;
/** 5000 names of 1024 characters and what else is said of each stay below it. */
const PAGE_MOST_BYTES = 32 * 2 ** 20;

const md5Of = async (bytes: Uint8Array, signal?: AbortSignal): Promise<string> =>
  (await bodyDigest("md5", bytes, signal)).toBase64();

export interface AzureServiceOptions {
  readonly description: string;
  readonly exchange: AzureExchange;
  readonly pageMostObjects: number;
}

export function azureService({ description, exchange, pageMostObjects }: AzureServiceOptions): ObjectService {
  const store = async (
    key: string,
    body: Uint8Array,
    condition: Readonly<Record<string, string>>,
    what: string,
    signal: AbortSignal | undefined,
  ): Promise<"created" | "exists"> => {
    const headers = {
      ...condition,
      "content-md5": await md5Of(body, signal),
      "content-type": "application/octet-stream",
      "x-ms-blob-type": "BlockBlob",
    };
    return await exchange({ method: "PUT", key, headers, body, what, signal }, async (answer) => {
      if (answer.status === 201) return "created";
      const { code, error } = await answer.refusal();
      if ("if-none-match" in condition && (code === "BlobAlreadyExists" || code === "ConditionNotMet")) return "exists";
      throw error;
    });
  };

  const size = (key: string, what: string, signal?: AbortSignal): Promise<number> =>
    exchange({ method: "HEAD", key, what, signal }, async (answer) => {
      if (answer.status !== 200) throw (await answer.refusal()).error;
      const sizeBytes = Number(answer.headers.get("content-length") ?? Number.NaN);
      if (Number.isSafeInteger(sizeBytes)) return sizeBytes;
      throw strangeAnswer(what, "its answer tells no Content-Length");
    });

  return {
    description,
    put: async (key, bytes, what, signal) => void (await store(key, bytes, {}, what, signal)),
    create: (key, bytes, what, signal) => store(key, bytes, { "if-none-match": "*" }, what, signal),
    size,

    async get(key, offsetBytes, lengthBytes, target, at, what, signal) {
      const lastByte = offsetBytes + lengthBytes - 1;
      const headers = { "x-ms-range": `bytes=${offsetBytes}-${lastByte}` };
      return await exchange({ method: "GET", key, headers, what, signal }, async (answer) => {
        if (answer.status !== 206) {
          const { code, error } = await answer.refusal();
          if (code === "InvalidRange") return await size(key, what, signal);
          throw error;
        }
        const range = /^bytes ([0-9]+)-([0-9]+)\/([0-9]+)$/.exec(answer.headers.get("content-range") ?? "");
        const [firstByte, endByte, sizeBytes] = (range ?? []).slice(1).map(Number);
        if (firstByte === offsetBytes && sizeBytes! <= lastByte) return sizeBytes;
        const doneBytes = await answer.into(target, at, lengthBytes);
        if (firstByte === offsetBytes && endByte === lastByte && doneBytes === lengthBytes) return undefined;
        throw strangeAnswer(what, `${lengthBytes} bytes at ${offsetBytes} were asked for, and other than these came`);
      });
    },

    async read(key, mostBytes, what, signal) {
      return await exchange({ method: "GET", key, what, signal }, async (answer) => {
        if (answer.status !== 200) throw (await answer.refusal()).error;
        const bytes = await answer.bytes(mostBytes + 1);
        const md5 = answer.headers.get("content-md5");
        if (bytes.length > mostBytes || md5 === null || md5 === (await md5Of(bytes))) return bytes;
        throw strangeAnswer(what, "its bytes are not those that its Content-MD5 is of");
      });
    },

    async *list(prefix, what, signal) {
      const query = { restype: "container", comp: "list", maxresults: `${pageMostObjects}` };
      const wanted = prefix === "" ? query : { ...query, prefix };
      let marker: string | undefined;
      do {
        const from = marker === undefined ? wanted : { ...wanted, marker };
        const page = await exchange({ method: "GET", query: from, what, signal }, async (answer) => {
          if (answer.status !== 200) throw (await answer.refusal()).error;
          const listing = parseBlobListing(await answer.text(PAGE_MOST_BYTES));
          if (listing !== undefined) return listing;
          throw strangeAnswer(what, "its answer is no whole list of blobs");
        });
        yield page.objects;
        marker = page.next;
      } while (marker !== undefined);
    },

    delete: (key, what, signal) =>
      exchange({ method: "DELETE", key, what, signal }, async (answer) => {
        if (answer.status === 202) return;
        const { error } = await answer.refusal();
        if (error.failure !== "missing") throw error;
      }),
  };
}

/** The error of an answer that is not of this service, or was damaged on the way: another one may be better. */
const strangeAnswer = (what: string, reason: string): BlobStoreError =>
  new BlobStoreError(
    "unavailable",
    `${what} (${reason}): check that endpoint is that of Azure Blob Storage, and the network between`,
  );
