/** What an S3 store says when it refuses, as the class of failure that callers act on and advice for people. */
import { printable } from "../../base/printable.ts";
import { BlobStoreError, type BlobFailure } from "../blob-store.ts";
import { failureOfStatus } from "../http/http-failure.ts";
import { textOf } from "./s3-xml.ts";

/** An answer that is no success. `body` is empty after HEAD, which has none. */
export interface Refusal {
  readonly status: number;
  readonly headers: Headers;
  readonly body: string;
}

/** What the advice is about. */
export interface RefusedPlace {
  readonly host: string;
  readonly bucket: string;
  readonly region: string;
}

type Verdict = readonly [failure: BlobFailure, advice: (refusal: Refusal, place: RefusedPlace) => string];

const MESSAGE_MOST_CHARACTERS = 200;

const fixed = (failure: BlobFailure, advice: string): Verdict => [failure, () => advice];

const REGION: Verdict = [
  "denied",
  ({ headers, body }, { bucket, region }) => {
    const right = headers.get("x-amz-bucket-region") ?? textOf(body, "Region");
    return right === null || right === undefined || right === region
      ? `bucket ${bucket} is in another region than ${region}, or elsewhere: check region and endpoint`
      : `bucket ${bucket} is in another region: set region = ${JSON.stringify(printable(right))}, and endpoint to match it`;
  },
];

const CLOCK: Verdict = [
  "denied",
  ({ headers }) => {
    const offMs = Date.now() - Date.parse(headers.get("date") ?? "");
    const off = Number.isNaN(offMs)
      ? "is off"
      : `is ${Math.abs(Math.round(offMs / 1000))} s ${offMs < 0 ? "behind" : "ahead of"} the store's`;
    return `this host's clock ${off}: set it, and keep it set by NTP`;
  },
];

const PERMISSION = fixed(
  "denied",
  "the credentials are known, and not permitted to do that: check the policies of their user and of the bucket",
);
const AGAIN = fixed("unavailable", "it may work when it is tried again: check the health of the store if it stays so");
const TOKEN = fixed("denied", "the session token is not valid, or no longer: get new credentials");
const FULL = fixed("full", "free space, or raise the quota or cap");

const NO_SUCH_KEY = fixed("missing", "it was deleted, or never stored there");

/** Codes of the Amazon S3 API reference, "Error responses", and of what Ceph, Swift and Backblaze add to them. */
const VERDICTS: Readonly<Record<string, Verdict>> = {
  NoSuchKey: NO_SUCH_KEY,
  NoSuchBucket: [
    "denied",
    (_, { bucket, host }) => `there is no bucket ${bucket} at ${host}: check bucket, endpoint and region, or create it`,
  ],
  InvalidBucketName: fixed("denied", "check the name of the bucket"),
  AccessDenied: PERMISSION,
  AllAccessDisabled: PERMISSION,
  UnauthorizedAccess: PERMISSION,
  InvalidAccessKeyId: fixed("denied", "check access_key_id, and that it is one of this endpoint"),
  SignatureDoesNotMatch: fixed("denied", "check secret_access_key, and region"),
  ExpiredToken: TOKEN,
  InvalidToken: TOKEN,
  TokenRefreshRequired: TOKEN,
  RequestTimeTooSkewed: CLOCK,
  RequestExpired: CLOCK,
  AuthorizationHeaderMalformed: REGION,
  PermanentRedirect: REGION,
  TemporaryRedirect: REGION,
  Redirect: REGION,
  IllegalLocationConstraintException: REGION,
  InvalidObjectState: fixed("denied", "its storage class must be restored before it can be read (Glacier): restore it"),
  QuotaExceeded: FULL,
  StorageCapExceeded: FULL,
  XMinioStorageFull: FULL,
  // What was received is not what was sent.
  BadDigest: AGAIN,
  XAmzContentSHA256Mismatch: AGAIN,
  IncompleteBody: AGAIN,
  RequestTimeout: AGAIN,
  SlowDown: fixed("unavailable", "the store asks for fewer requests: it is tried again more slowly"),
  OperationAborted: AGAIN,
  ConditionalRequestConflict: AGAIN,
};

function verdictOf({ status, headers, body }: Refusal, code: string | undefined): Verdict {
  if (code !== undefined && Object.hasOwn(VERDICTS, code)) return VERDICTS[code]!;
  if (status >= 300 && status < 400) return REGION;
  if (code === undefined && status === 400 && headers.has("x-amz-bucket-region")) return REGION;
  const failure = failureOfStatus(status);
  if (failure === "missing" && body !== "" && code === undefined) {
    // What does not end as XML or HTML does was cut on the way.
    if (!body.trimEnd().endsWith(">")) return AGAIN;
    return fixed("denied", "that is no answer of an S3 store: check endpoint");
  }
  if (failure === "missing") return NO_SUCH_KEY;
  if (failure === "unavailable") return AGAIN;
  if (failure === "full") return FULL;
  if (status === 403) return fixed(failure, "check the credentials, and what they are permitted to do");
  return fixed(failure, "check that endpoint is that of an S3 store, and that it supports this");
}

/** The store's error for an answer that is no success. `what` says what could not be done. */
export function s3Error(what: string, refusal: Refusal, place: RefusedPlace): BlobStoreError {
  const { status, headers, body } = refusal;
  const code = textOf(body, "Code");
  const [failure, advice] = verdictOf(refusal, code);
  const message = textOf(body, "Message")?.slice(0, MESSAGE_MOST_CHARACTERS) ?? "";
  const id = headers.get("x-amz-request-id");
  const said = [
    `${place.host} answered ${status}${code === undefined ? "" : ` ${code}`}`,
    ...(message === "" || message === code ? [] : [message]),
    ...(id === null ? [] : [`request ${id}`]),
  ].join(", ");
  return new BlobStoreError(failure, `${what} (${printable(said)}): ${advice(refusal, place)}`);
}
