import { expect, test } from "bun:test";
import { s3Error } from "../../../../src/blob/s3/s3-failure.ts";

const place = { host: "s3.example.com", bucket: "bkt", region: "us-east-1" };
const what = "blob 12 could not be read in the S3 store https://s3.example.com/bkt";

interface Refusal {
  status: number;
  code?: string;
  more?: string;
  headers?: Record<string, string>;
  body?: string;
}
const errorOf = ({ status, code, more = "", headers = {}, body }: Refusal) =>
  s3Error(
    what,
    {
      status,
      headers: new Headers(headers),
      body:
        body ?? (code === undefined ? "" : `<Error><Code>${code}</Code><Message>It is so.</Message>${more}</Error>`),
    },
    place,
  );

const refusals: [refusal: Refusal, failure: string, text: string][] = [
  [{ status: 404, code: "NoSuchKey" }, "missing", "it was deleted, or never stored there"],
  [{ status: 404 }, "missing", "it was deleted, or never stored there"],
  [{ status: 404, code: "NoSuchBucket" }, "denied", "there is no bucket bkt at s3.example.com: check bucket, endpoint"],
  [{ status: 404, body: "<html>Not found</html>" }, "denied", "no answer of an S3 store: check endpoint"],
  [{ status: 404, body: "<?xml vers" }, "unavailable", "it may work when it is tried again"],
  [{ status: 403, code: "AccessDenied" }, "denied", "not permitted to do that: check the policies"],
  [{ status: 403 }, "denied", "check the credentials, and what they are permitted"],
  [{ status: 403, code: "InvalidAccessKeyId" }, "denied", "check access_key_id"],
  [{ status: 403, code: "SignatureDoesNotMatch" }, "denied", "check secret_access_key"],
  [{ status: 400, code: "ExpiredToken" }, "denied", "get new credentials"],
  [
    { status: 403, code: "RequestTimeTooSkewed", headers: { date: new Date(Date.now() + 3_600_000).toUTCString() } },
    "denied",
    "s behind the store's: set it, and keep it set by NTP",
  ],
  [{ status: 403, code: "RequestTimeTooSkewed" }, "denied", "this host's clock is off"],
  [
    { status: 301, code: "PermanentRedirect" },
    "denied",
    "in another region than us-east-1, or elsewhere: check region",
  ],
  [
    { status: 301, headers: { "x-amz-bucket-region": "eu-west-1" } },
    "denied",
    'bucket bkt is in another region: set region = "eu-west-1", and endpoint to match it',
  ],
  [{ status: 307, code: "TemporaryRedirect" }, "denied", "check region and endpoint"],
  [
    { status: 400, code: "AuthorizationHeaderMalformed", more: "<Region>eu-west-1</Region>" },
    "denied",
    'set region = "eu-west-1"',
  ],
  [{ status: 400, headers: { "x-amz-bucket-region": "eu-west-1" } }, "denied", 'set region = "eu-west-1"'],
  [{ status: 503, code: "SlowDown" }, "unavailable", "asks for fewer requests"],
  [{ status: 500, code: "InternalError" }, "unavailable", "tried again"],
  [{ status: 503 }, "unavailable", "tried again"],
  [{ status: 400, code: "RequestTimeout" }, "unavailable", "tried again"],
  [{ status: 400, code: "XAmzContentSHA256Mismatch" }, "unavailable", "tried again"],
  [{ status: 409, code: "OperationAborted" }, "unavailable", "tried again"],
  [{ status: 403, code: "QuotaExceeded" }, "full", "raise the quota"],
  [{ status: 507, code: "XMinioStorageFull" }, "full", "free space"],
  [{ status: 507 }, "full", "free space"],
  [{ status: 403, code: "InvalidObjectState" }, "denied", "Glacier"],
  [{ status: 501, code: "NotImplemented" }, "denied", "check that endpoint"],
  [{ status: 400, code: "toString" }, "denied", "check that endpoint"],
];
for (const [refusal, failure, text] of refusals) {
  test(`${refusal.status} ${refusal.code ?? refusal.body ?? "without a body"} is ${failure}`, () => {
    const error = errorOf(refusal);
    expect(error.failure).toBe(failure as never);
    expect(error.message).toStartWith(`${what} (s3.example.com answered ${refusal.status}`);
    expect(error.message).toContain(text);
  });
}

test("an error has what the server said, on one line and not without end, and the request's id", () => {
  const message = `a\u001b[31m\n${"b".repeat(5000)}`;
  const error = errorOf({
    status: 500,
    body: `<Error><Code>InternalError</Code><Message>${message}</Message></Error>`,
    headers: { "x-amz-request-id": "tx123" },
  });
  expect(error.message).toContain("answered 500 InternalError, a\\x1b[31m\\x0abbb");
  expect(error.message).toContain("request tx123");
  expect(error.message.length).toBeLessThan(600);
});
