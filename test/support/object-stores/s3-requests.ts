/** Requests to S3 servers that the product never makes, for tests to prepare what it finds. */
import { AwsClient } from "aws4fetch";
import type { S3TestServer } from "./server-directory.ts";

/** Sends a signed request; `path` begins with a slash. Rejects where the answer is no success. */
export async function s3Request(
  server: S3TestServer,
  method: string,
  path: string,
  body?: string | Uint8Array<ArrayBuffer>,
): Promise<Response> {
  const { credentials, region, endpoint } = server;
  const client = new AwsClient({ ...credentials, region, service: "s3", retries: 0 });
  const { headers } = await client.sign(endpoint + path, {
    method,
    ...(body === undefined ? {} : { body }),
    // Swift insists on the body's own hash.
    headers: { "X-Amz-Content-Sha256": new Bun.CryptoHasher("sha256").update(body ?? "").digest("hex") },
  });
  const response = await fetch(endpoint + path, { method, headers, ...(body === undefined ? {} : { body }) });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return response;
}

export async function createBucket(server: S3TestServer, bucket: string): Promise<void> {
  await s3Request(server, "PUT", `/${bucket}`);
}
