import type { BlobStore } from "../blob-store.ts";
import { createHttpClient } from "../http/http-client.ts";
import { openObjectStore } from "../objects/object-store.ts";
import type { S3Style } from "./s3-address.ts";
import { createS3Service, type S3Credentials } from "./s3-service.ts";

export interface S3StoreOptions {
  /** For example "https://s3.eu-central-1.amazonaws.com", without a slash at the end. */
  readonly endpoint: string;
  readonly bucket: string;
  /** Before every key; may be empty. Mostly ends in a slash. */
  readonly prefix: string;
  readonly region: string;
  readonly style: S3Style;
  /** Asked for each request, so that they may be renewed. */
  readonly credentials: () => S3Credentials;
  /** PEM certificates of the authorities that are trusted, in place of the usual ones. */
  readonly ca?: string | undefined;
  /** Whether the store may be created where the prefix has nothing yet. */
  readonly create: boolean;
  /** False: the store has no conditional writes, as Backblaze B2, or nothing is going to be written. True: tried out. */
  readonly conditionalWrites: boolean;
  /** For tests: fewer objects on a page of a list. */
  readonly pageMostObjects?: number | undefined;
  /** See HttpClientOptions. */
  readonly stallTimeoutMs?: number | undefined;
}

/**
 * A blob store in a bucket of Amazon S3, or of whatever speaks its protocol. Rejects, saying what to check, where the
 * endpoint, the credentials, the bucket or the region is wrong (`denied`, `unavailable`), and as openObjectStore does.
 */
export async function openS3Store(options: S3StoreOptions): Promise<BlobStore> {
  const { prefix, create, conditionalWrites, ca, stallTimeoutMs } = options;
  const client = createHttpClient({ ca, stallTimeoutMs });
  const service = createS3Service({ ...options, client });
  return await openObjectStore({ service, prefix, create, probesCreation: conditionalWrites });
}
