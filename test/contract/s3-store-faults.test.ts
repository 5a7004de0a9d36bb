/** S3 stores behind a network that fails, on real servers. */
import { openS3Store } from "../../src/blob/s3/s3-store.ts";
import { missingForRadosgw, RADOSGW_BUCKET, sharedRadosgw } from "../support/object-stores/radosgw.ts";
import { missingForSwift, sharedSwift, SWIFT_BUCKET } from "../support/object-stores/swift.ts";
import { describeBlobStoreFaults, type ServerAnswer } from "./blob-store-faults.ts";

const answer = (status: number, code: string, meaning: ServerAnswer["meaning"] = {}): ServerAnswer => ({
  status,
  headers: { "content-type": "application/xml" },
  body: `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>Said by ${code}.</Message></Error>`,
  meaning,
});
const denied = {
  put: "denied",
  get: "denied",
  createRef: "denied",
  readRef: "denied",
  list: "denied",
  listRefs: "denied",
  size: "denied",
  delete: "denied",
} as const;

const answers = [answer(500, "InternalError"), answer(503, "SlowDown"), answer(409, "OperationAborted")];

describeBlobStoreFaults({
  name: "a blob store in Ceph radosgw, behind a network that fails",
  missing: missingForRadosgw(),
  makePlace: () => placeIn(RADOSGW_BUCKET, sharedRadosgw),
  answers: [...answers, answer(412, "PreconditionFailed", { ...denied, createRef: "exists" })],
});

describeBlobStoreFaults({
  name: "a blob store in Swift, behind a network that fails",
  missing: missingForSwift(),
  makePlace: () => placeIn(SWIFT_BUCKET, sharedSwift),
  // It is slow, and only what its lack of conditional writes makes different is not tried on radosgw.
  operations: ["put", "createRef"],
  answers: [...answers, answer(412, "PreconditionFailed", denied)],
});

async function placeIn(bucket: string, start: typeof sharedSwift) {
  const server = await start();
  const prefix = `${crypto.randomUUID()}/`;
  return {
    server: server.endpoint,
    [Symbol.asyncDispose]: async () => {},
    open: (at: string, stallTimeoutMs: number) =>
      openS3Store({
        endpoint: at,
        bucket,
        prefix,
        region: server.region,
        credentials: () => server.credentials,
        style: "path",
        create: true,
        conditionalWrites: true,
        stallTimeoutMs,
      }),
  };
}
