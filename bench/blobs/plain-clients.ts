/** Clients that only put objects and get them again: what the store itself can do. */
import { allocateMemory, freeMemory } from "../../ffi/memory.ts";
import { openS3Store } from "../../src/blob/s3/s3-store.ts";

/** As large as voe's packs. */
export const OBJECT_BYTES = 16 * 2 ** 20;
/** Transfers under way at a time: as many as an archive has unless configured. */
const AT_ONCE = 4;

/** Where the objects go. */
export interface Bucket {
  readonly endpoint: string;
  readonly region: string;
  readonly bucket: string;
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
}

/** Objects are numbered from 0. */
interface PlainClient extends AsyncDisposable {
  put(number: number, bytes: Uint8Array): Promise<void>;
  /** Reads all of it, and keeps nothing. */
  get(number: number): Promise<void>;
  delete(number: number): Promise<void>;
}

const key = (number: number): string => `plain/${number}`;
const blobName = (number: number): string => number.toString(16).padStart(64, "0");

const bunClient = async ({ endpoint, region, bucket, credentials }: Bucket): Promise<PlainClient> => {
  const client = new Bun.S3Client({ endpoint, region, bucket, ...credentials });
  return {
    put: async (number, bytes) => void (await client.write(key(number), bytes)),
    get: async (number) => {
      const { byteLength } = await client.file(key(number)).arrayBuffer();
      if (byteLength !== OBJECT_BYTES) throw new Error(`${key(number)} has ${byteLength} bytes`);
    },
    delete: (number) => client.delete(key(number)),
    async [Symbol.asyncDispose]() {},
  };
};

/** voe's own client, without an archive: every body signed, received into memory that is given to it. */
const voeClient = async ({ endpoint, region, bucket, credentials }: Bucket): Promise<PlainClient> => {
  const store = await openS3Store({
    endpoint,
    region,
    bucket,
    credentials: () => credentials,
    prefix: "bare/",
    style: "path",
    create: true,
    conditionalWrites: true,
  });
  const free = Array.from({ length: AT_ONCE }, () => allocateMemory(OBJECT_BYTES));
  return {
    put: (number, bytes) => store.put(blobName(number), bytes),
    async get(number) {
      const memory = free.pop()!;
      try {
        await store.get(blobName(number), 0, OBJECT_BYTES, memory, 0);
      } finally {
        free.push(memory);
      }
    },
    delete: (number) => store.delete(blobName(number)),
    async [Symbol.asyncDispose]() {
      await store.close();
      free.forEach(freeMemory);
    },
  };
};

export const plainClients = { "Bun.S3Client": bunClient, "voe's client, bare": voeClient } as const;
export type PlainClientName = keyof typeof plainClients;

/** Seconds that all objects took. */
export interface PlainFigures {
  readonly putSeconds: number;
  readonly getSeconds: number;
}

async function eachSeconds(count: number, work: (number: number) => Promise<void>): Promise<number> {
  const began = performance.now();
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return (performance.now() - began) / 1000;
}

/** Puts `sizeBytes` of random data in objects, gets them again, and removes them. */
export async function measurePlain(name: PlainClientName, bucket: Bucket, sizeBytes: number): Promise<PlainFigures> {
  await using client = await plainClients[name](bucket);
  const count = Math.ceil(sizeBytes / OBJECT_BYTES);
  const bytes = new Uint8Array(OBJECT_BYTES);
  for (let at = 0; at < OBJECT_BYTES; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536));
  const putSeconds = await eachSeconds(count, (number) => client.put(number, bytes));
  const getSeconds = await eachSeconds(count, (number) => client.get(number));
  await eachSeconds(count, (number) => client.delete(number));
  return { putSeconds, getSeconds };
}
