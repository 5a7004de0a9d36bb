/** What real S3 servers say to wrong credentials, buckets, regions and clocks, and what becomes of it. */
import { afterEach, beforeAll, describe, expect, setSystemTime, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BlobStoreError, type BlobStore } from "../../src/blob/blob-store.ts";
import { createHttpClient, type HttpClient } from "../../src/blob/http/http-client.ts";
import { createS3Service } from "../../src/blob/s3/s3-service.ts";
import { openS3Store, type S3StoreOptions } from "../../src/blob/s3/s3-store.ts";
import { failureOf, getBytes, listAll } from "../support/blob-requests.ts";
import { makeNamedBlob } from "../support/named-blob.ts";
import { missingForRadosgw, RADOSGW_BUCKET, sharedRadosgw, type Radosgw } from "../support/object-stores/radosgw.ts";
import { createBucket, s3Request } from "../support/object-stores/s3-requests.ts";
import type { S3TestServer } from "../support/object-stores/server-directory.ts";
import { missingForSwift, sharedSwift, SWIFT_BUCKET } from "../support/object-stores/swift.ts";
import { reasonOf } from "../support/reason-of.ts";
import { titleUnless } from "../support/requirements.ts";
import { startServer } from "../support/server-process.ts";

const blob = makeNamedBlob(1000, 1);

const optionsOf = (server: S3TestServer, bucket: string, prefix: string): S3StoreOptions => ({
  endpoint: server.endpoint,
  bucket,
  prefix,
  region: server.region,
  style: "auto",
  credentials: () => server.credentials,
  create: true,
  conditionalWrites: true,
});

/** Opens a store that is refused. */
async function refusal(options: S3StoreOptions): Promise<BlobStoreError> {
  const error = await openS3Store(options).then(
    () => expect.unreachable(),
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(BlobStoreError);
  expect(Bun.inspect(error)).not.toContain(options.credentials().secretAccessKey);
  return error as BlobStoreError;
}

const keysUnder = async (server: S3TestServer, bucket: string, prefix: string): Promise<string[]> => {
  const response = await s3Request(server, "GET", `/${bucket}?list-type=2&prefix=${encodeURIComponent(prefix)}`);
  return [...(await response.text()).matchAll(/<Key>([^<]*)<\/Key>/g)].map(([, key]) => key!);
};

const noRadosgw = missingForRadosgw();

describe.skipIf(noRadosgw !== undefined)(titleUnless(noRadosgw, "Ceph radosgw"), () => {
  let server: Radosgw;
  let opened: BlobStore | undefined;
  beforeAll(async () => {
    server = await sharedRadosgw();
  });
  afterEach(async () => {
    setSystemTime();
    await opened?.close();
    opened = undefined;
  });
  let count = 0;
  const options = (changes: Partial<S3StoreOptions> = {}): S3StoreOptions => ({
    ...optionsOf(server, RADOSGW_BUCKET, `refusals-${process.pid}-${++count}/`),
    ...changes,
  });
  const open = async (place: S3StoreOptions): Promise<BlobStore> => (opened = await openS3Store(place));

  const wrongs: [name: string, changes: () => Partial<S3StoreOptions>, failure: string, text: string][] = [
    [
      "a wrong key",
      () => ({ credentials: () => ({ ...server.credentials, accessKeyId: "AKIDNOBODY" }) }),
      "denied",
      "check access_key_id",
    ],
    [
      "a wrong secret",
      () => ({ credentials: () => ({ ...server.credentials, secretAccessKey: "hunter2" }) }),
      "denied",
      "check secret_access_key",
    ],
    ["a bucket that is not there", () => ({ bucket: "nowhere" }), "denied", "there is no bucket nowhere at 127.0.0.1"],
    ["a port where nothing listens", () => ({ endpoint: "http://127.0.0.1:1" }), "unavailable", "check host and port"],
    ["http where it is https", () => ({ endpoint: server.tls.endpoint.replace("https", "http") }), "unavailable", ""],
    ["a certificate of an unknown authority", () => ({ endpoint: server.tls.endpoint }), "denied", "as ca"],
  ];
  for (const [name, changes, failure, text] of wrongs) {
    test(`${name} is refused with what to check, and nothing is written`, async () => {
      const place = options(changes());
      const error = await refusal(place);
      expect([error.failure, error.message]).toEqual([failure as never, expect.stringContaining(text)]);
      expect(error.message).toStartWith(`the S3 store ${place.endpoint}/${place.bucket}/${place.prefix} could not be`);
      expect(await keysUnder(server, RADOSGW_BUCKET, place.prefix)).toEqual([]);
    });
  }

  test("a server with a wrong secret ends at its start with what to check, and the secret is nowhere in its log", async () => {
    const directory = mkdtempSync(join(tmpdir(), "voe-refused-"));
    try {
      const { prefix } = options();
      const config = join(directory, "voe.toml");
      writeFileSync(
        config,
        `server.state_dir = "${directory}/state"
server.control_socket = "${directory}/voe.sock"
[[target]]
shelf = 1
slot = 0
backend = "cas"
cas.size = "1GiB"
[target.cas.blob_store]
type = "s3"
bucket = "${RADOSGW_BUCKET}"
prefix = "${prefix}"
endpoint = "${server.endpoint}"
access_key_id = "${server.credentials.accessKeyId}"
secret_access_key = "hunter2"
`,
        { mode: 0o644 },
      );
      const error = await reasonOf(startServer({ arguments: [config], directory }));
      expect(error).toContain("ended with status 1 before it was ready");
      expect(error).toContain(
        `target e1.0: the S3 store ${server.endpoint}/${RADOSGW_BUCKET}/${prefix} could not be opened`,
      );
      expect(error).toContain("check secret_access_key");
      expect(error).toContain(`chmod o-rwx ${config}`);
      expect(error).not.toContain("hunter2");
      expect(await keysUnder(server, RADOSGW_BUCKET, prefix)).toEqual([]);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });

  test("a clock that is off is told, with how far", async () => {
    const place = options();
    setSystemTime(new Date(Date.now() + 3_600_000));
    const error = await refusal(place);
    expect(error.failure).toBe("denied");
    expect(error.message).toContain("RequestTimeTooSkewed");
    expect(error.message).toMatch(/this host's clock is 3(59[0-9]|60[0-9]) s ahead of the store's: set it/);
  });

  test("a user without permission is refused with what to check, and one who may only read can do that", async () => {
    const credentials = await server.addUser("stranger");
    const place = options();
    const stranger = { ...place, credentials: () => credentials };
    const denied = await refusal(stranger);
    expect([denied.failure, denied.message]).toEqual(["denied", expect.stringContaining("not permitted to do that")]);
    const store = await open(place);
    await store.put(blob.name, blob.bytes);

    await allow("stranger", ["s3:GetObject", "s3:ListBucket"]);
    const before = await keysUnder(server, RADOSGW_BUCKET, place.prefix);
    expect((await refusal(stranger)).failure).toBe("denied");
    const reader = await openS3Store({ ...stranger, create: false, conditionalWrites: false });
    expect(Buffer.compare(await getBytes(reader, blob.name, 0, 1000), blob.bytes)).toBe(0);
    expect(await listAll(reader)).toEqual([{ name: blob.name, sizeBytes: 1000 }]);
    await reader.close();
    expect(await keysUnder(server, RADOSGW_BUCKET, place.prefix)).toEqual(before);
  });

  test("a user who may do all but delete has a store that only grows", async () => {
    const credentials = await server.addUser("collector");
    await allow("collector", ["s3:GetObject", "s3:ListBucket", "s3:PutObject"]);
    const store = await open(options({ credentials: () => credentials }));
    expect(store.atomicRefs).toBe(true);
    await store.put(blob.name, blob.bytes);
    expect(await store.createRef("roots/1", blob.bytes)).toBe("created");
    const error = (await store.delete(blob.name).catch((error: unknown) => error)) as BlobStoreError;
    expect(error.failure).toBe("denied");
    expect(await listAll(store)).toEqual([{ name: blob.name, sizeBytes: 1000 }]);
  });

  test("the policy that the documentation gives is enough, and permits nothing outside of its prefix", async () => {
    const credentials = await server.addUser("documented");
    const place = options({ credentials: () => credentials });
    const page = readFileSync(join(import.meta.dir, "../../docs/operations.md"), "utf8");
    const json = /```json\n(.*?)```/s.exec(page.slice(page.indexOf("as an IAM policy")))![1]!;
    const text = json.replaceAll("my-archive", RADOSGW_BUCKET).replaceAll("host1/", place.prefix);
    const { Statement } = JSON.parse(text) as { Statement: { Action: string[]; Resource: string[] }[] };
    await setPolicy("documented", Statement);
    const store = await open(place);
    expect(store.atomicRefs).toBe(true);
    await store.put(blob.name, blob.bytes);
    expect(await store.createRef("roots/1", blob.bytes)).toBe("created");
    expect(await store.createRef("roots/1", blob.bytes)).toBe("exists");
    expect(Buffer.compare(await store.readRef("roots/1"), blob.bytes)).toBe(0);
    expect(await store.listRefs("roots/")).toEqual(["roots/1"]);
    expect(await failureOf(store.readRef("roots/2"))).toBe("missing");
    expect(await store.size(blob.name)).toBe(1000);
    expect(Buffer.compare(await getBytes(store, blob.name, 0, 1000), blob.bytes)).toBe(0);
    await store.delete(blob.name);
    await store.deleteRef("roots/1");
    expect(await listAll(store)).toEqual([]);
    expect((await refusal({ ...place, prefix: options().prefix })).failure).toBe("denied");
  });

  test("a quota that is used up is full, and what is there can be read", async () => {
    const credentials = await server.addUser("frugal", 4);
    await createBucket({ ...server, credentials }, "frugal");
    const store = await open(options({ bucket: "frugal", credentials: () => credentials }));
    const blobs = Array.from({ length: 6 }, (_, seed) => makeNamedBlob(100 + seed, seed));
    const failures = [];
    for (const { name, bytes } of blobs) failures.push(await failureOf(store.put(name, bytes)));
    expect(failures.at(-1)).toBe("full");
    expect(new Set(failures)).toEqual(new Set([undefined, "full"]));
    expect(Buffer.compare(await getBytes(store, blobs[0]!.name, 0, 100), blobs[0]!.bytes)).toBe(0);
  });

  const setPolicy = async (user: string, statements: { Action: string[]; Resource: string[] }[]): Promise<void> => {
    const Principal = { AWS: [`arn:aws:iam:::user/${user}`] };
    const policy = {
      Version: "2012-10-17",
      Statement: statements.map((statement) => ({ Effect: "Allow", ...statement, Principal })),
    };
    await s3Request(server, "PUT", `/${RADOSGW_BUCKET}?policy`, JSON.stringify(policy));
  };
  const allow = (user: string, Action: string[]): Promise<void> =>
    setPolicy(user, [{ Action, Resource: [`arn:aws:s3:::${RADOSGW_BUCKET}`, `arn:aws:s3:::${RADOSGW_BUCKET}/*`] }]);

  test("a place without a marker is no store unless one may be created, and one with other things never is", async () => {
    const place = options();
    expect((await refusal({ ...place, create: false })).failure).toBe("missing");
    expect(await keysUnder(server, RADOSGW_BUCKET, place.prefix)).toEqual([]);
    await s3Request(server, "PUT", `/${RADOSGW_BUCKET}/${place.prefix}holiday.jpg`, "x");
    const error = await refusal(place);
    expect([error.failure, error.message]).toEqual(["corrupt", expect.stringContaining("holiday.jpg")]);
    expect(await keysUnder(server, RADOSGW_BUCKET, place.prefix)).toEqual([`${place.prefix}holiday.jpg`]);
  });

  test("opening a store leaves nothing behind, and disturbs nothing in one that is in use", async () => {
    const place = options();
    const store = await open(place);
    await store.put(blob.name, blob.bytes);
    const before = await keysUnder(server, RADOSGW_BUCKET, place.prefix);
    expect(before).toHaveLength(2);
    const others = await Promise.all(Array.from({ length: 4 }, () => openS3Store({ ...place, create: false })));
    expect(others.map(({ atomicRefs }) => atomicRefs)).toEqual([true, true, true, true]);
    for (const other of others) await other.close();
    expect(await keysUnder(server, RADOSGW_BUCKET, place.prefix)).toEqual(before);
  });

  test("a bucket that is gone is no blob that is missing", async () => {
    await createBucket(server, "goes-away");
    const store = await open(options({ bucket: "goes-away", prefix: "" }));
    await s3Request(server, "DELETE", "/goes-away/voe-store.json");
    await s3Request(server, "DELETE", "/goes-away");
    const error = (await store.readRef("roots/1").catch((error: unknown) => error)) as BlobStoreError;
    expect([error.failure, error.message]).toEqual(["denied", expect.stringContaining("no bucket goes-away")]);
  });

  test("a certificate of an authority that is named is trusted", async () => {
    const store = await open(options({ endpoint: server.tls.endpoint, ca: readFileSync(server.tls.ca, "utf8") }));
    const large = makeNamedBlob(5 * 2 ** 20, 2);
    await store.put(large.name, large.bytes);
    expect(Buffer.compare(await getBytes(store, large.name, 0, large.bytes.length), large.bytes)).toBe(0);
  });

  test("the virtual-host style reaches the same objects as the path style", async () => {
    const place = options();
    const store = await open(place);
    await store.createRef("roots/1", blob.bytes);
    // Its name for the server is one that no resolver knows here: sent to the address, with the name as Host.
    const client: HttpClient = createHttpClient();
    const port = new URL(server.endpoint).port;
    const seen: string[] = [];
    const service = createS3Service({
      client: {
        exchange(request, take) {
          const url = new URL(request.url);
          seen.push(url.host);
          const headers = new Headers(request.headers);
          headers.set("Host", url.host);
          return client.exchange(
            { ...request, headers, url: `http://127.0.0.1:${port}${url.pathname}${url.search}` },
            take,
          );
        },
      },
      endpoint: `http://localhost:${port}`,
      bucket: RADOSGW_BUCKET,
      region: server.region,
      style: "virtual-host",
      credentials: () => server.credentials,
    });
    const bytes = await service.read(`${place.prefix}refs/roots/1`, 5000, "it could not be read");
    expect(Buffer.compare(bytes, blob.bytes)).toBe(0);
    const keys: string[] = [];
    for await (const page of service.list(`${place.prefix}refs/`, "it could not be listed")) {
      keys.push(...page.map(({ key }) => key));
    }
    expect(keys).toEqual([`${place.prefix}refs/roots/1`]);
    expect(new Set(seen)).toEqual(new Set([`${RADOSGW_BUCKET}.localhost:${port}`]));
  });
});

const noSwift = missingForSwift();

describe.skipIf(noSwift !== undefined)(titleUnless(noSwift, "Swift"), () => {
  let server: S3TestServer;
  beforeAll(async () => {
    server = await sharedSwift();
  });
  const options = (changes: Partial<S3StoreOptions> = {}): S3StoreOptions => ({
    ...optionsOf(server, SWIFT_BUCKET, `refusals-${process.pid}/`),
    ...changes,
  });

  test("a wrong region is refused with the right one, and nothing is written", async () => {
    const error = await refusal(options({ region: "eu-west-1" }));
    expect([error.failure, error.message]).toEqual(["denied", expect.stringContaining('set region = "us-east-1"')]);
    expect(await keysUnder(server, SWIFT_BUCKET, options().prefix)).toEqual([]);
  });

  test("a wrong secret and a wrong bucket are refused with what to check", async () => {
    const wrongSecret = await refusal(
      options({ credentials: () => ({ accessKeyId: "test:tester", secretAccessKey: "hunter2" }) }),
    );
    expect(wrongSecret.message).toContain("check secret_access_key");
    expect((await refusal(options({ bucket: "nowhere" }))).message).toContain("there is no bucket nowhere");
  });

  test("refs are looked for before they are written, whether that is tried out or known", async () => {
    for (const conditionalWrites of [true, false]) {
      const prefix = `known-${conditionalWrites}-${process.pid}/`;
      const store = await openS3Store(options({ prefix, conditionalWrites }));
      expect(store.atomicRefs).toBe(false);
      expect(await store.createRef("roots/1", blob.bytes)).toBe("created");
      expect(await store.createRef("roots/1", new Uint8Array(1))).toBe("exists");
      expect(Buffer.compare(await store.readRef("roots/1"), blob.bytes)).toBe(0);
      expect((await keysUnder(server, SWIFT_BUCKET, prefix)).toSorted()).toEqual([
        `${prefix}refs/roots/1`,
        `${prefix}voe-store.json`,
      ]);
      await store.close();
    }
  });
});
