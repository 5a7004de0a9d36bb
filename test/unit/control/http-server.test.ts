import { afterAll, beforeAll, expect, test } from "bun:test";
import { openHttpServer, type HttpServer } from "../../../src/control/http-server.ts";
import { reasonOf } from "../../support/reason-of.ts";
import { someReport } from "../../support/status-report.ts";

let server: HttpServer;
beforeAll(() => {
  server = openHttpServer({ host: "127.0.0.1", port: 0, report: () => someReport() });
});
afterAll(() => server.close());

const ask = (path: string, init: RequestInit = {}) => fetch(new URL(path, server.url), init);
const askAs = (host: string) => ask("/api/status", { headers: { host } });

test("the status report is served as JSON that no cache keeps", async () => {
  const response = await ask("/api/status");
  expect(response.headers.get("cache-control")).toBe("no-store");
  expect(await response.json()).toEqual(someReport());
});

test("metrics are served in the text format", async () => {
  const response = await ask("/metrics");
  expect(response.headers.get("content-type")).toStartWith("text/plain; version=0.0.4");
  expect(await response.text()).toContain("# TYPE voe_target_up gauge");
});

test("the page allows its own style and script and nothing else", async () => {
  const response = await ask("/");
  const page = await response.text();
  const policy = response.headers.get("content-security-policy") ?? "";
  expect(policy).toStartWith("default-src 'none'; ");
  expect(policy).not.toContain("unsafe");
  for (const tag of ["script", "style"]) {
    const [, text = ""] = new RegExp(`<${tag}>([^]*?)</${tag}>`).exec(page) ?? [];
    expect(text.length).toBeGreaterThan(500);
    expect(policy).toContain(`${tag}-src 'sha256-${new Bun.CryptoHasher("sha256").update(text).digest("base64")}'`);
  }
});

test("the page refers to nothing outside itself", async () => {
  const page = await (await ask("/")).text();
  const references = [...page.matchAll(/\b(?:src|href)\s*=\s*"([^"]*)"/g)].map(([, url]) => url);
  expect(references.filter((url) => url?.startsWith("data:") !== true)).toEqual([]);
  expect(page).not.toMatch(/@import|url\(|innerHTML|\son\w+=/);
});

test("methods other than GET and HEAD answer 405", async () => {
  for (const method of ["POST", "PUT", "DELETE"]) {
    const response = await ask("/api/status", { method });
    expect(response.status).toBe(405);
    expect(response.headers.get("allow")).toBe("GET, HEAD");
  }
  expect((await ask("/", { method: "HEAD" })).status).toBe(200);
});

test("an unknown path answers 404", async () => {
  expect((await ask("/status")).status).toBe(404);
});

test("a name that is not this server's answers 403 (DNS rebinding)", async () => {
  for (const host of ["evil.example", "evil.example:9464", "127.0.0.1.evil.example", "localhost.evil.example", ""]) {
    const response = await askAs(host);
    expect([host, response.status]).toEqual([host, 403]);
    expect(await response.text()).not.toContain("targets");
  }
});

test("addresses, localhost and the configured name are this server's", async () => {
  for (const host of ["127.0.0.1", "192.0.2.7:9464", "[::1]:9464", "localhost:1234", "LOCALHOST"]) {
    expect([host, (await askAs(host)).status]).toEqual([host, 200]);
  }
});

test("a port in use is refused with the address and what to do", () => {
  const { port } = new URL(server.url);
  expect(() => openHttpServer({ host: "127.0.0.1", port: Number(port), report: () => someReport() })).toThrow(
    `cannot serve the status page on 127.0.0.1:${port}: something else listens there. Stop it, or set http to another port.`,
  );
});

test("an address of another host is refused", () => {
  expect(() => openHttpServer({ host: "203.0.113.1", port: 0, report: () => someReport() })).toThrow(
    "this host has no such address",
  );
});

test("closing ends connections that are kept open", async () => {
  const other = openHttpServer({ host: "127.0.0.1", port: 0, report: () => someReport() });
  const { url } = other;
  await (await fetch(url, { keepalive: true })).text();
  await other.close();
  expect(await reasonOf(fetch(url))).not.toBe("");
});
