import { afterEach, beforeEach, expect, test } from "bun:test";
import { digestHeader } from "../../../../src/blob/cas/cas-protocol.ts";
import { markerBytes } from "../../../../src/blob/store-marker.ts";
import { openCasStore } from "../../../../src/blob/cas/cas-store.ts";
import { failureOf } from "../../../support/blob-requests.ts";
import { CAS_TOKEN, startCasServer, type TestCasServer } from "../../../support/cas-server.ts";
import { makeNamedBlob } from "../../../support/named-blob.ts";
import { reasonOf } from "../../../support/reason-of.ts";

let under: TestCasServer;
beforeEach(async () => {
  under = await startCasServer({ allowsDelete: false });
});
afterEach(() => under[Symbol.asyncDispose]());

const open = (place = "") => openCasStore({ endpoint: under.server.url + place, token: CAS_TOKEN });
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

/** What a server says of itself. */
function marker(): Response {
  const digest = new Bun.CryptoHasher("sha256").update(markerBytes()).digest();
  return new Response(markerBytes() as Uint8Array<ArrayBuffer>, {
    headers: { "content-digest": digestHeader(digest) },
  });
}

test("a wrong token, and none, fail at the start with what to check, and without the token", async () => {
  for (const token of ["not-the-token-of-it", undefined]) {
    const opening = openCasStore({ endpoint: under.server.url, token });
    expect(await failureOf(opening)).toBe("denied");
    expect(await reasonOf(opening)).toContain("VOE_CAS_TOKEN");
    expect(await reasonOf(opening)).not.toContain("not-the-token");
  }
});

test("a server that is none, and a path that is no namespace, fail at the start", async () => {
  using other = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response("hello") });
  expect(await reasonOf(openCasStore({ endpoint: String(other.url), token: undefined }))).toContain(
    "no voe cas-server",
  );
  for (const place of ["blobs", "a/b", "A"]) expect(await reasonOf(open(place))).toContain("names no namespace");
});

test("a server that is gone is unavailable", async () => {
  const store = await open();
  await under.server.close(0);
  expect(await failureOf(store.size(makeNamedBlob(10, 1).name))).toBe("unavailable");
  expect(await failureOf(open())).toBe("unavailable");
});

test("hosts with namespaces of their own share blobs and have their own refs", async () => {
  const [one, other] = [await open("host1"), await open("host2")];
  const blob = makeNamedBlob(100, 1);
  await one.put(blob.name, blob.bytes);
  expect(await other.size(blob.name)).toBe(100);
  expect(await one.createRef("store/id", bytesOf("1"))).toBe("created");
  expect(await other.createRef("store/id", bytesOf("2"))).toBe("created");
  expect(await one.listRefs("")).toEqual(["store/id"]);
  expect(await one.readRef("store/id")).toEqual(bytesOf("1"));
});

test("deleting a blob that the server keeps is denied, with how it would not be", async () => {
  const store = await open();
  const blob = makeNamedBlob(100, 1);
  await store.put(blob.name, blob.bytes);
  expect(await failureOf(store.delete(blob.name))).toBe("denied");
  expect(await reasonOf(store.delete(blob.name))).toContain("--allow-delete");
});

test("a list of more than a page is whole", async () => {
  const lines = Array.from({ length: 2500 }, (_, at) => at.toString(16).padStart(64, "0"));
  using server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch(request) {
      const { pathname, searchParams } = new URL(request.url);
      if (pathname === "/voe-store.json") return marker();
      const rest = lines.filter((name) => name > (searchParams.get("after") ?? ""));
      const page = rest.slice(0, Number(searchParams.get("limit")));
      return new Response(
        [...page.map((name) => `${name} 7`), page.length < rest.length ? "more" : "end", ""].join("\n"),
      );
    },
  });
  const store = await openCasStore({ endpoint: String(server.url), token: undefined });
  const found: string[] = [];
  for await (const { name } of store.list()) found.push(name);
  expect(found).toEqual(lines);
});

test("a list whose last line is missing is not taken for a whole one", async () => {
  using server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: ({ url }) => (url.endsWith("json") ? marker() : new Response(`${"0".repeat(64)} 7\n`)),
  });
  const store = await openCasStore({ endpoint: String(server.url), token: undefined });
  expect(await failureOf(store.list()[Symbol.asyncIterator]().next())).toBe("unavailable");
  expect(await failureOf(store.listRefs(""))).toBe("unavailable");
});
