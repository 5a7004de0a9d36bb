import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { createHasher, DIGEST_BYTES } from "../../../../src/base/hash.ts";
import { openCasServer } from "../../../../src/server/cas/cas-server.ts";
import { CAS_TOKEN, startCasServer, type TestCasServer } from "../../../support/cas-server.ts";
import { makeNamedBlob } from "../../../support/named-blob.ts";
import { reasonOf } from "../../../support/reason-of.ts";
import { seededRandom } from "../../../support/seeded-random.ts";
import { until } from "../../../support/until.ts";

const one = makeNamedBlob(3000, 1);
const path = (name: string): string => `blobs/${name}`;

let under: TestCasServer;
beforeEach(async () => {
  under = await startCasServer({ allowsDelete: false });
});
afterEach(() => under[Symbol.asyncDispose]());

const ask = (where: string, init: RequestInit = {}, token = CAS_TOKEN): Promise<Response> =>
  fetch(new URL(where, under.server.url), {
    ...init,
    headers: { ...(init.headers as Record<string, string>), authorization: `Bearer ${token}` },
  });
const put = (where: string, body: string | Uint8Array): Promise<Response> =>
  ask(where, { method: "PUT", body: body as string });
const textOf = async (where: string): Promise<string> => (await ask(where)).text();

test("a blob is stored under the BLAKE3 or SHA-256 of its bytes, and under no other name", async () => {
  const digest = new Uint8Array(DIGEST_BYTES);
  createHasher("blake3").hash(one.bytes, 0, one.bytes.length, digest, 0);
  expect((await put(path(one.name), one.bytes)).status).toBe(201);
  expect((await put(path(digest.toHex()), one.bytes)).status).toBe(201);
  const refused = await put(path(one.name), one.bytes.subarray(1));
  expect([refused.status, refused.headers.get("voe-failure")]).toEqual([422, "unavailable"]);
  expect(await refused.text()).toContain("Nothing was stored");
  expect(Buffer.compare(await (await ask(path(one.name))).bytes(), one.bytes)).toBe(0);
  expect(readdirSync(join(under.storage, "tmp"))).toEqual([]);
});

test("a server of one hash refuses blobs that are named by the other", async () => {
  await using only = await startCasServer({ hashes: ["blake3"] });
  const init = {
    method: "PUT",
    body: one.bytes as unknown as string,
    headers: { authorization: `Bearer ${CAS_TOKEN}` },
  };
  const refused = await fetch(new URL(path(one.name), only.server.url), init);
  expect([refused.status, await refused.text()]).toEqual([422, expect.stringContaining("blake3 of what arrived")]);
});

test("nothing but health is told without the token, and nothing is taken", async () => {
  for (const init of [{}, { headers: { authorization: "Bearer" } }, { headers: { authorization: "Basic YTpi" } }]) {
    for (const where of ["blobs", "refs", "metrics", "voe-store.json", "nothing"]) {
      const answer = await fetch(new URL(where, under.server.url), init);
      expect([where, answer.status, answer.headers.get("www-authenticate")]).toEqual([where, 401, "Bearer"]);
    }
  }
  const wrong = await ask(path(one.name), { method: "PUT", body: one.bytes }, `${CAS_TOKEN}x`);
  expect(wrong.status).toBe(401);
  expect(await wrong.text()).not.toContain(CAS_TOKEN);
  expect(await textOf("blobs")).toBe("end\n");
  expect(await (await fetch(new URL("health", under.server.url))).text()).toBe("ok\n");
});

test("an address that other hosts reach is refused without a token, and nothing is made", async () => {
  const storage = join(under.storage, "other");
  const bind = { host: "0.0.0.0", port: 0 };
  const reason = await reasonOf(
    openCasServer({ storage, bind, token: undefined, tls: undefined, allowsDelete: false }),
  );
  expect(reason).toContain("--token-file");
  expect(existsSync(storage)).toBe(false);
});

test("without a token, a page that points its own name here is refused (DNS rebinding)", async () => {
  await using open = await startCasServer({ token: undefined });
  const as = (host: string) => fetch(new URL("blobs", open.server.url), { headers: { host } });
  expect((await as("evil.example")).status).toBe(403);
  expect((await as("127.0.0.1:3000")).status).toBe(200);
});

test("blobs are not deleted unless the server was told that they may be", async () => {
  await put(path(one.name), one.bytes);
  const refused = await ask(path(one.name), { method: "DELETE" });
  expect([refused.status, await refused.text()]).toEqual([403, expect.stringContaining("--allow-delete")]);
  expect((await ask(path(one.name), { method: "HEAD" })).headers.get("content-length")).toBe("3000");
});

test("refs are those of a namespace, created once; blobs are shared", async () => {
  expect((await put("refs/a/1", "default")).status).toBe(201);
  expect((await put("host7/refs/a/1", "seven")).status).toBe(201);
  expect((await put("host7/refs/a/1", "again")).status).toBe(409);
  expect(await textOf("refs/a/1")).toBe("default");
  expect(await textOf("host7/refs/a/1")).toBe("seven");
  expect(await textOf("host8/refs")).toBe("end\n");
  expect(existsSync(join(under.storage, "namespaces/host8"))).toBe(false);
  expect((await ask("host8/refs/a/1")).status).toBe(404);
  await put(`host7/${path(one.name)}`, one.bytes);
  expect((await ask(path(one.name), { method: "HEAD" })).status).toBe(200);
});

test("a ref whose bytes are not those that were announced is not created", async () => {
  const headers = { "content-digest": `sha-256=:${Buffer.alloc(32).toString("base64")}:` };
  expect((await ask("refs/a", { method: "PUT", body: "text", headers })).status).toBe(422);
  expect(await textOf("refs")).toBe("end\n");
});

test("the list comes in pages, in the order of names", async () => {
  const blobs = Array.from({ length: 25 }, (_, seed) => makeNamedBlob(10 + seed, seed));
  for (const { name, bytes } of blobs) await put(path(name), bytes);
  const found: string[] = [];
  for (let after = "", last = "more"; last === "more";) {
    const lines = (await textOf(`blobs?limit=10&after=${after}`)).trimEnd().split("\n");
    last = lines.pop()!;
    found.push(...lines);
    after = lines.at(-1)!.split(" ")[0]!;
  }
  expect(found).toEqual(blobs.map(({ name, bytes }) => `${name} ${bytes.length}`).toSorted());
});

test("of many names, those that there are blobs of are told with their size", async () => {
  await put(path(one.name), one.bytes);
  const asked = await ask("blobs", { method: "POST", body: `${"0".repeat(64)}\n${one.name}\r\n` });
  expect(await asked.text()).toBe(`${one.name} 3000\nend\n`);
  expect((await ask("blobs", { method: "POST", body: "../etc/passwd\n" })).status).toBe(400);
});

test("a range is answered with a part, one beyond the end with the size", async () => {
  await put(path(one.name), one.bytes);
  const range = async (text: string) => {
    const answer = await ask(path(one.name), { headers: { range: text } });
    return [answer.status, answer.headers.get("content-range"), (await answer.bytes()).length];
  };
  expect(await range("bytes=0-9")).toEqual([206, "bytes 0-9/3000", 10]);
  expect(await range("bytes=0-")).toEqual([206, "bytes 0-2999/3000", 3000]);
  expect(await range("bytes=2990-5000")).toEqual([206, "bytes 2990-2999/3000", 10]);
  expect(await range("bytes=-7")).toEqual([206, "bytes 2993-2999/3000", 7]);
  expect((await range("bytes=3000-3001")).slice(0, 2)).toEqual([416, "bytes */3000"]);
  expect((await range("bytes=9-2")).slice(0, 2)).toEqual([416, "bytes */3000"]);
  for (const odd of ["bytes=0-1,5-6", "lines=1-2", "bytes=-", "bytes=a-b"])
    expect(await range(odd)).toEqual([200, null, 3000]);
});

test("names and methods that there are not are refused", async () => {
  const status = async (method: string, where: string) => (await ask(where, { method })).status;
  expect(await status("GET", "blobs/../../etc/passwd")).toBe(404);
  expect(await status("GET", `blobs/${"A".repeat(64)}`)).toBe(400);
  expect(await status("GET", "refs/..%2f..%2fetc")).toBe(400);
  expect(await status("GET", "refs/.hidden")).toBe(400);
  expect(await status("GET", "a/b/c")).toBe(404);
  expect(await status("POST", path(one.name))).toBe(405);
  expect(await status("PATCH", "refs/a")).toBe(405);
  expect(await status("DELETE", "blobs")).toBe(405);
});

test("a request beyond those that may be under way is told to come again", async () => {
  await using small = await startCasServer({ requestsMost: 1 });
  const { url } = small.server;
  const headers = { authorization: `Bearer ${CAS_TOKEN}` };
  const body = Promise.withResolvers<void>();
  const slow = fetch(new URL(path(one.name), url), {
    method: "PUT",
    headers,
    body: new ReadableStream<Uint8Array>({
      async pull(controller) {
        controller.enqueue(one.bytes);
        await body.promise;
        controller.close();
      },
    }),
  });
  const metrics = async () => (await fetch(new URL("metrics", url), { headers })).text();
  await until(async () => (await metrics()).includes("voe_cas_requests_under_way 1"));
  const refused = await fetch(new URL("blobs", url), { headers });
  expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "1"]);
  body.resolve();
  expect((await slow).status).toBe(201);
  await until(async () => (await metrics()).includes("voe_cas_requests_under_way 0"));
});

test("a request that takes too long is answered that it did, and leaves nothing", async () => {
  await using hasty = await startCasServer({ requestMostMs: 50 });
  for (const where of [path(one.name), "refs/a"]) {
    const answer = await fetch(new URL(where, hasty.server.url), {
      method: "PUT",
      headers: { authorization: `Bearer ${CAS_TOKEN}` },
      body: new ReadableStream<Uint8Array>({ start: (controller) => controller.enqueue(one.bytes.subarray(0, 100)) }),
    });
    expect([answer.status, await answer.text()]).toEqual([503, "the request took over 0.05 s\n"]);
  }
  expect(readdirSync(join(hasty.storage, "tmp"))).toEqual([]);
});

/** Sends bytes, and resolves to what came back once the server or this end has closed. */
function sendRaw(bytes: string | Uint8Array, ends: boolean): Promise<string> {
  const { hostname, port } = new URL(under.server.url);
  const { promise, resolve } = Promise.withResolvers<string>();
  const socket = connect(Number(port), hostname);
  let got = "";
  socket.on("data", (data) => (got += data.toString("latin1")));
  socket.on("error", () => {});
  socket.on("close", () => resolve(got));
  socket.write(bytes, () => {
    if (ends) socket.end();
    else socket.destroy();
  });
  return promise;
}

test("a body that breaks off leaves nothing, and the server goes on", async () => {
  const head = `PUT /${path(one.name)} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${CAS_TOKEN}\r\nContent-Length: 3000\r\n\r\n`;
  for (let round = 0; round < 20; round++) {
    await sendRaw(Buffer.concat([Buffer.from(head), one.bytes.subarray(0, round * 150)]), false);
  }
  await until(async () => (await textOf("metrics")).includes("voe_cas_requests_under_way 0"));
  expect(await textOf("blobs")).toBe("end\n");
  await until(async () => readdirSync(join(under.storage, "tmp")).length === 0);
});

test("no bytes from the wire stop the server: 400 connections of a seed", async () => {
  const random = seededRandom(11);
  const parts = [
    "GET /blobs HTTP/1.1\r\n",
    `PUT /${path(one.name)} HTTP/1.1\r\n`,
    "Host: x\r\n",
    `Authorization: Bearer ${CAS_TOKEN}\r\n`,
    "Content-Length: 99999999999999999999\r\n",
    "Content-Length: 5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Range: bytes=-1,--\r\n",
    "\r\n",
    "fffffffff\r\n",
    "\0\xff\xfe",
    "DELETE //// HTTP/9.9\r\n",
  ];
  for (let round = 0; round < 40; round++) {
    await Promise.all(
      Array.from({ length: 10 }, () => {
        const chosen = Array.from({ length: 1 + random.below(8) }, () => parts[random.below(parts.length)]!);
        return sendRaw(Buffer.from(chosen.join(""), "latin1"), random.below(2) === 0 && chosen.at(-1) === "\r\n");
      }),
    );
  }
  expect((await put(path(one.name), one.bytes)).status).toBe(201);
  expect(await textOf("blobs")).toBe(`${one.name} 3000\nend\n`);
});
