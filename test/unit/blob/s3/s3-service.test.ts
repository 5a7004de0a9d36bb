/** Requests as they are sent, and answers that real servers give seldom or never. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { createServer, type AddressInfo } from "node:net";
import { allocateMemory } from "../../../../ffi/memory.ts";
import { BlobStoreError } from "../../../../src/blob/blob-store.ts";
import { createHttpClient } from "../../../../src/blob/http/http-client.ts";
import type { ObjectService } from "../../../../src/blob/objects/object-service.ts";
import { createS3Service, type S3ServiceOptions } from "../../../../src/blob/s3/s3-service.ts";
import { failureOf } from "../../../support/blob-requests.ts";
import { reasonOf } from "../../../support/reason-of.ts";

interface Seen {
  readonly method: string;
  readonly url: URL;
  readonly headers: Headers;
  readonly body: Uint8Array;
}

const what = "blob 12 could not be read in the store";
const memory = allocateMemory(4096);
let server: Bun.Server<undefined>;
let seen: Seen[];
/** What the server answers to the requests, one after the other. */
let answers: (() => Response)[];
beforeEach(() => {
  seen = [];
  answers = [];
  server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    async fetch(request) {
      const { method, url, headers } = request;
      seen.push({ method, url: new URL(url), headers, body: await request.bytes() });
      return answers.shift()?.() ?? new Response(null, { status: 500 });
    },
  });
});
afterEach(() => server.stop(true));

const open = (options: Partial<S3ServiceOptions> = {}): ObjectService =>
  createS3Service({
    client: createHttpClient(),
    endpoint: server.url.origin,
    bucket: "bkt",
    region: "eu-central-1",
    style: "auto",
    credentials: () => ({ accessKeyId: "AKID", secretAccessKey: "hunter2" }),
    ...options,
  });
const answer = (status: number, headers: Record<string, string> = {}, body: string | null = null) => {
  answers.push(() => new Response(body, { status, headers }));
};
const errorOf = (operation: Promise<unknown>): Promise<BlobStoreError> =>
  operation.then(
    () => expect.unreachable(),
    (error: unknown) => error as BlobStoreError,
  );

test("a request is signed with its region, date and content, and has no encoding", async () => {
  answer(200);
  await open().put("p/ab c", new TextEncoder().encode("hello"), what);
  const [{ method, url, headers, body }] = seen as [Seen];
  expect([method, url.pathname, new TextDecoder().decode(body)]).toEqual(["PUT", "/bkt/p/ab%20c", "hello"]);
  const hash = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
  expect(headers.get("x-amz-content-sha256")).toBe(hash);
  expect(headers.get("authorization")).toMatch(
    /^AWS4-HMAC-SHA256 Credential=AKID\/\d{8}\/eu-central-1\/s3\/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-meta-sha256, Signature=[0-9a-f]{64}$/,
  );
  expect(headers.get("content-encoding")).toBeNull();
  expect(headers.get("x-amz-security-token")).toBeNull();
});

test("credentials are asked for with each request, and a session token is sent and signed", async () => {
  let asked = 0;
  const service = open({
    credentials: () => ({ accessKeyId: `AKID${++asked}`, secretAccessKey: "s", sessionToken: "token" }),
  });
  for (const count of [1, 2]) {
    answer(204);
    await service.delete("a", what);
    const { headers } = seen.at(-1)!;
    expect(headers.get("authorization")).toContain(`Credential=AKID${count}/`);
    expect(headers.get("authorization")).toContain("x-amz-security-token");
    expect(headers.get("x-amz-security-token")).toBe("token");
  }
});

test("a refused request shows no secret in its error", async () => {
  answer(403, {}, "<Error><Code>SignatureDoesNotMatch</Code><Message>No match.</Message></Error>");
  const error = await errorOf(open().read("a", 10, what));
  expect(error.failure).toBe("denied");
  expect(Bun.inspect(error)).not.toContain("hunter2");
});

describe("a creation", () => {
  const create = (): Promise<string> => open().create("a", new Uint8Array(3), what);

  test("sends its condition, signed", async () => {
    answer(200);
    expect(await create()).toBe("created");
    expect(seen[0]!.headers.get("if-none-match")).toBe("*");
    expect(seen[0]!.headers.get("authorization")).toContain("host;if-none-match;");
  });

  test("that is answered with 412 exists", async () => {
    answer(412);
    expect(await create()).toBe("exists");
  });

  test("that met another one under way exists where it is there, and is unavailable where not", async () => {
    answer(409);
    answer(200, { "Content-Length": "3" });
    expect(await create()).toBe("exists");
    answer(409);
    answer(404);
    expect(await failureOf(create())).toBe("unavailable");
    expect(seen.map(({ method }) => method)).toEqual(["PUT", "HEAD", "PUT", "HEAD"]);
  });

  test("whose condition is not implemented is an error", async () => {
    answer(501, {}, "<Error><Code>NotImplemented</Code></Error>");
    expect(await failureOf(create())).toBe("denied");
  });
});

describe("a part of an object", () => {
  const get = (offset: number, length: number): Promise<number | undefined> =>
    open().get("a", offset, length, memory, 8, what);
  const received = (length: number): string => new TextDecoder().decode(memory.bytes.slice(8, 8 + length));

  test("is asked for as a range, and taken from a partial answer", async () => {
    answer(206, { "Content-Range": "bytes 5-9/100" }, "hello");
    expect(await get(5, 5)).toBeUndefined();
    expect(seen[0]!.headers.get("range")).toBe("bytes=5-9");
    expect(received(5)).toBe("hello");
  });

  test("is taken from a whole answer where it is its beginning, and from no other", async () => {
    answer(200, {}, "hello and more");
    expect(await get(0, 5)).toBeUndefined();
    expect(received(5)).toBe("hello");
    answer(200, {}, "hello and more");
    expect(await failureOf(get(5, 5))).toBe("unavailable");
    answer(200, {}, "hello");
    expect(await get(0, 10)).toBe(5);
  });

  test("that is another one than was asked for is refused", async () => {
    for (const range of ["bytes 0-4/100", "bytes 6-10/100", "bytes */100", "nonsense"]) {
      answer(206, { "Content-Range": range }, "hello");
      const error = await errorOf(get(5, 5));
      expect([range, error.failure]).toEqual([range, "unavailable"]);
      expect(error.message).toContain("other bytes than those asked for");
    }
    answer(206, {}, "hello");
    expect(await failureOf(get(0, 5))).toBe("unavailable");
  });

  test("beyond the end tells the size of the object", async () => {
    answer(206, { "Content-Range": "bytes 95-99/100" }, "hello");
    expect(await get(95, 10)).toBe(100);
    answer(416);
    answer(200, { "Content-Length": "100" });
    expect(await get(100, 1)).toBe(100);
  });
});

test("a list that is not whole is unavailable, rather than short", async () => {
  const list = async (): Promise<string[]> => {
    const keys: string[] = [];
    for await (const page of open().list("p/", what)) keys.push(...page.map(({ key }) => key));
    return keys;
  };
  const xml = (inside: string): string => `<ListBucketResult>${inside}</ListBucketResult>`;
  const entry = (key: string): string => `<Contents><Key>${key}</Key><Size>1</Size></Contents>`;
  const more = "<IsTruncated>true</IsTruncated><NextContinuationToken>a/+=</NextContinuationToken>";
  answer(200, {}, xml(more + entry("p/a")));
  answer(200, {}, xml(`<IsTruncated>false</IsTruncated>${entry("p/b")}`));
  expect(await list()).toEqual(["p/a", "p/b"]);
  expect(seen.map(({ url }) => url.search)).toEqual([
    "?list-type=2&prefix=p%2F",
    "?list-type=2&prefix=p%2F&continuation-token=a%2F%2B%3D",
  ]);
  for (const text of ["<html></html>", xml(entry("p/a")), xml(more).slice(0, -3)]) {
    answer(200, {}, text);
    expect(await failureOf(list())).toBe("unavailable");
  }
});

test("a size that is not told is unavailable, and no size of nothing", async () => {
  const bare = createServer((socket) => {
    socket.on("data", () => socket.end("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"));
  });
  await new Promise<void>((resolve) => bare.listen(0, "127.0.0.1", resolve));
  try {
    const service = open({ endpoint: `http://127.0.0.1:${(bare.address() as AddressInfo).port}` });
    expect(await reasonOf(service.size("a", what))).toContain("did not say its size");
  } finally {
    bare.close();
  }
});

test("deleting what is not there is no failure, and deleting in no bucket is one", async () => {
  answer(404, {}, "<Error><Code>NoSuchKey</Code></Error>");
  await open().delete("a", what);
  answer(404, {}, "<Error><Code>NoSuchBucket</Code></Error>");
  expect(await failureOf(open().delete("a", what))).toBe("denied");
});

test("a redirection is not followed: the signature would not hold, and the store would be another", async () => {
  answer(307, { Location: "http://127.0.0.1:1/bkt/a", "x-amz-bucket-region": "us-west-2" });
  const error = await errorOf(open().read("a", 10, what));
  expect(error.failure).toBe("denied");
  expect(error.message).toContain('set region = "us-west-2"');
  expect(seen).toHaveLength(1);
});
