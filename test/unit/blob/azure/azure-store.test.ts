/** What an Azure store makes of answers that Azurite never gives, and of ones that are none of Azure's. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { openAzureStore } from "../../../../src/blob/azure/azure-store.ts";
import type { AzureCredential } from "../../../../src/blob/azure/azure-request.ts";
import { BlobStoreError, type BlobStore } from "../../../../src/blob/blob-store.ts";
import { markerBytes } from "../../../../src/blob/store-marker.ts";
import { failureOf, getBytes, listAll } from "../../../support/blob-requests.ts";
import { makeNamedBlob } from "../../../support/named-blob.ts";

const SAS = "?sv=2021-12-02&sr=c&sp=rcwdl&se=2020-01-02T03%3A04%3A05Z&sig=c2VjcmV0LW9mLXRoZS1zYXM%3D";
const ACCOUNT_KEY = Buffer.from("secret of the account").toString("base64");
const blob = makeNamedBlob(100, 1);

interface Refused {
  readonly status: number;
  readonly code?: string;
  readonly message?: string;
  readonly headers?: Record<string, string>;
}

const refusal = ({ status, code, message = "Told by a test.", headers = {} }: Refused): Response =>
  new Response(
    code === undefined
      ? "<html>gateway</html>"
      : `<?xml version="1.0"?><Error><Code>${code}</Code><Message>${message}\nRequestId:1-2\nTime:now</Message>` +
          `<AuthenticationErrorDetail>String to sign: SECRET-DETAIL</AuthenticationErrorDetail></Error>`,
    { status, headers: { ...headers, ...(code === undefined ? {} : { "x-ms-error-code": code }) } },
  );

describe("an Azure store", () => {
  let server: ReturnType<typeof Bun.serve>;
  /** What is answered to requests, those of opening aside. */
  let respond: (request: Request) => Response;
  let openAnswer: Response | undefined;
  let urls: URL[];
  beforeEach(() => {
    urls = [];
    openAnswer = undefined;
    respond = () => new Response(null, { status: 500 });
    server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      async fetch(request): Promise<Response> {
        const url = new URL(request.url);
        urls.push(url);
        await request.bytes();
        if (openAnswer !== undefined) return openAnswer;
        if (url.pathname.endsWith("/voe-store.json")) return new Response(markerBytes());
        if (url.pathname.includes("/probes/")) return new Response(null, { status: 201 });
        return respond(request);
      },
    });
  });
  afterEach(() => server.stop(true));

  const open = (credential: AzureCredential = { accountKey: ACCOUNT_KEY }, create = false): Promise<BlobStore> =>
    openAzureStore({
      endpoint: `http://127.0.0.1:${server.port}/myaccount`,
      account: "myaccount",
      container: "my-archive",
      credential: () => credential,
      prefix: "host1/",
      create,
    });
  const openingFails = async (answer: Response, credential?: AzureCredential): Promise<BlobStoreError> => {
    openAnswer = answer;
    const error: unknown = await open(credential).catch((reason: unknown) => reason);
    if (!(error instanceof BlobStoreError)) throw new Error("it was opened");
    return error;
  };

  for (const [refused, failure, advice] of [
    [{ status: 403, code: "AuthenticationFailed" }, "denied", "account_key"],
    [{ status: 403, code: "KeyBasedAuthenticationNotPermitted" }, "denied", "SAS"],
    [{ status: 403, code: "AuthorizationFailure" }, "denied", "firewall"],
    [{ status: 403, code: "AuthorizationPermissionMismatch" }, "denied", "rcwdl"],
    [{ status: 403, code: "AccountIsDisabled" }, "denied", "myaccount"],
    [{ status: 404, code: "ContainerNotFound" }, "denied", "my-archive"],
    [{ status: 409, code: "ContainerBeingDeleted" }, "unavailable", "my-archive"],
    [{ status: 404, code: "ResourceNotFound" }, "denied", "endpoint and account"],
    [{ status: 400, code: "InvalidResourceName" }, "denied", "InvalidResourceName"],
    [{ status: 503, code: "ServerBusy" }, "unavailable", "ServerBusy"],
    // Not of Azure: no reason to take the store for one that is not there.
    [{ status: 404 }, "denied", "check that endpoint"],
    [{ status: 302 }, "unavailable", "check that endpoint"],
    [{ status: 204 }, "unavailable", "check that endpoint"],
  ] as const) {
    test(`that answers its opening with ${refused.status} ${"code" in refused ? refused.code : ""} is ${failure}`, async () => {
      const error = await openingFails(refusal(refused));
      expect(error.failure).toBe(failure);
      expect(error.message).toContain("could not be opened");
      expect(error.message).toContain(advice);
    });
  }

  test("tells how far the clock is off where that may be why it is refused", async () => {
    for (const [minutes, text] of [
      [20, "behind"],
      [-31, "ahead of"],
    ] as const) {
      const date = new Date(Date.now() + minutes * 60_000).toUTCString();
      const { message } = await openingFails(refusal({ status: 403, code: "AuthenticationFailed", headers: { date } }));
      expect(message).toContain(`${Math.abs(minutes)} minutes ${text} the store's`);
    }
  });

  test("tells that a SAS has expired", async () => {
    const { message } = await openingFails(refusal({ status: 403, code: "AuthenticationFailed" }), { sas: SAS });
    expect(message).toContain("expired at 2020-01-02T03:04:05.000Z");
  });

  test("sends a SAS with every request, as it was signed, and shows it in no error", async () => {
    const store = await open({ sas: SAS });
    expect(urls.every(({ searchParams }) => searchParams.get("sig") === "c2VjcmV0LW9mLXRoZS1zYXM=")).toBe(true);
    expect(urls.every(({ searchParams }) => searchParams.get("se") === "2020-01-02T03:04:05Z")).toBe(true);
    const shown: string[] = [];
    const failing = async (answer: () => Response): Promise<void> => {
      respond = answer;
      for (const operation of [
        () => store.put(blob.name, blob.bytes),
        () => getBytes(store, blob.name, 0, 1),
        () => store.createRef("a", blob.bytes),
        () => store.size(blob.name),
        () => listAll(store),
        () => store.delete(blob.name),
      ]) {
        const error: unknown = await operation().then(
          () => undefined,
          (reason: unknown) => reason,
        );
        expect(error).toBeInstanceOf(BlobStoreError);
        shown.push(Bun.inspect(error), JSON.stringify(error), String((error as Error).stack));
      }
    };
    await failing(() =>
      refusal({ status: 403, code: "AuthenticationFailed", message: "Server failed to authenticate" }),
    );
    await failing(() => refusal({ status: 503 }));
    await server.stop(true);
    await failing(() => refusal({ status: 503 }));
    expect(shown.join("\n")).toContain("Server failed to authenticate");
    expect(shown.join("\n")).toContain("ECONNREFUSED");
    for (const secret of ["c2VjcmV0", "secret", "SECRET-DETAIL", "sig="])
      expect(shown.join("\n")).not.toContain(secret);
  });

  test("shows no account key in an error, and signs with the one that it is given at the time", async () => {
    const seen: (string | null)[] = [];
    let accountKey = ACCOUNT_KEY;
    respond = ({ headers }) => {
      seen.push(headers.get("authorization"));
      return refusal({ status: 403, code: "AuthenticationFailed" });
    };
    const store = await openAzureStore({
      endpoint: `http://127.0.0.1:${server.port}/myaccount`,
      account: "myaccount",
      container: "my-archive",
      credential: () => ({ accountKey }),
      prefix: "",
      create: false,
    });
    const first: unknown = await store.size(blob.name).catch((error: unknown) => error);
    accountKey = Buffer.from("another").toString("base64");
    await failureOf(store.size(blob.name));
    expect(seen[0]).toStartWith("SharedKey myaccount:");
    expect(seen[1]).not.toBe(seen[0]);
    expect(Bun.inspect(first)).not.toContain(ACCOUNT_KEY);
  });

  test("that does not heed the condition of a creation has no refs that are created once", async () => {
    expect((await open()).atomicRefs).toBe(false);
  });

  test("takes only what Azure calls a missing blob for one", async () => {
    const store = await open();
    for (const [refused, failure] of [
      [{ status: 404, code: "BlobNotFound" }, "missing"],
      [{ status: 404, code: "ContainerNotFound" }, "denied"],
      [{ status: 404 }, "denied"],
      [{ status: 410 }, "denied"],
    ] as const) {
      respond = () => refusal(refused);
      expect(await failureOf(getBytes(store, blob.name, 0, 1))).toBe(failure);
      expect(await failureOf(store.size(blob.name))).toBe(failure);
      expect(await failureOf(store.readRef("a"))).toBe(failure);
      expect(await failureOf(store.delete(blob.name))).toBe(failure === "missing" ? undefined : failure);
    }
  });

  test("that answers a range with another one is unavailable, not wrong", async () => {
    const store = await open();
    const part = (range: string, length: number): Response =>
      new Response(new Uint8Array(length), { status: 206, headers: { "content-range": range } });
    for (const answer of [
      part("bytes 0-9/100", 10),
      part("bytes 10-19/100", 9),
      part("bytes 10-19/100", 11),
      part("bytes 10-18/100", 10),
      part("pieces 10-19/100", 10),
      new Response(blob.bytes),
    ]) {
      respond = () => answer;
      expect(await failureOf(getBytes(store, blob.name, 10, 10))).toBe("unavailable");
    }
    respond = () => part("bytes 10-19/100", 10);
    expect(await getBytes(store, blob.name, 10, 10)).toEqual(new Uint8Array(10));
  });

  test("checks what it reads of a ref against its Content-MD5", async () => {
    const store = await open();
    const md5 = new Bun.CryptoHasher("md5").update(blob.bytes).digest("base64");
    respond = () => new Response(blob.bytes, { headers: { "content-md5": md5 } });
    expect(await store.readRef("a")).toEqual(blob.bytes);
    const damaged = blob.bytes.with(50, blob.bytes[50]! ^ 1);
    respond = () => new Response(damaged, { headers: { "content-md5": md5 } });
    expect(await failureOf(store.readRef("a"))).toBe("unavailable");
  });

  test("that answers a list with something else is unavailable", async () => {
    const store = await open();
    respond = () => new Response("<html>Welcome</html>");
    expect(await failureOf(listAll(store))).toBe("unavailable");
  });
});
