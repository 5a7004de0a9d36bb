/** The contract of blob stores, on real servers that speak S3. */
import { openS3Store } from "../../src/blob/s3/s3-store.ts";
import { RETRY_DEFAULTS, withRetry } from "../../src/blob/wrap/retry.ts";
import { missingForRadosgw, RADOSGW_BUCKET, sharedRadosgw } from "../support/object-stores/radosgw.ts";
import type { S3TestServer } from "../support/object-stores/server-directory.ts";
import { missingForSwift, sharedSwift, SWIFT_BUCKET } from "../support/object-stores/swift.ts";
import { describeBlobStore } from "./blob-store.ts";

const servers: [name: string, missing: string | undefined, bucket: string, start: () => Promise<S3TestServer>][] = [
  ["Ceph radosgw", missingForRadosgw(), RADOSGW_BUCKET, sharedRadosgw],
  ["Swift, which has no conditional writes", missingForSwift(), SWIFT_BUCKET, sharedSwift],
];

// As it is used: now and then radosgw answers 500 to who reads what another one is writing again.
for (const [name, missing, bucket, start] of servers) {
  describeBlobStore({
    name: `a blob store in ${name}`,
    missing,
    open: async () => {
      const { endpoint, region, credentials } = await start();
      const options = {
        endpoint,
        bucket,
        prefix: `${crypto.randomUUID()}/ä b+c&d/`,
        region,
        credentials: () => credentials,
        style: "auto",
        conditionalWrites: true,
        pageMostObjects: 40,
      } as const;
      return {
        store: withRetry(await openS3Store({ ...options, create: true }), RETRY_DEFAULTS),
        reopen: async () => withRetry(await openS3Store({ ...options, create: false }), RETRY_DEFAULTS),
        [Symbol.asyncDispose]: async () => {},
      };
    },
  });
}
