/** The fault proxy of the tests: each fault is what it says, or the tests that use it prove nothing. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { onceTo, startFaultProxy, type Fault, type FaultProxy } from "../support/fault-proxy.ts";
import { reasonOf } from "../support/reason-of.ts";

const BODY = "0123456789".repeat(100);

describe("a fault proxy", () => {
  let store: ReturnType<typeof Bun.serve>;
  let proxy: FaultProxy;
  /** What the store was asked, with the body's length; a request that was cut is not among it. */
  let asked: string[];
  let hosts: (string | null)[];
  let bodies: string[];
  beforeEach(async () => {
    asked = [];
    hosts = [];
    bodies = [];
    store = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      async fetch(request) {
        const { pathname, search } = new URL(request.url);
        const body = await request.text();
        asked.push(`${request.method} ${pathname}${search} ${body.length}`);
        bodies.push(body);
        hosts.push(request.headers.get("host"));
        if (pathname === "/stream") {
          // Without a length: in chunks.
          return new Response(
            new ReadableStream({
              async start(controller) {
                controller.enqueue(BODY.slice(0, 400));
                await new Promise(setImmediate);
                controller.enqueue(BODY.slice(400));
                controller.close();
              },
            }),
          );
        }
        return new Response(BODY, { headers: { "x-store": "yes" } });
      },
    });
    proxy = await startFaultProxy(`http://127.0.0.1:${store.port}`);
  });
  afterEach(async () => {
    await proxy[Symbol.asyncDispose]();
    await store.stop(true);
  });

  const put = (signal?: AbortSignal): Promise<Response> =>
    fetch(`${proxy.endpoint}/put`, { method: "PUT", body: BODY, ...(signal && { signal }) });
  const once = (fault: Fault): void => proxy.setPlan(onceTo(() => true, fault));
  const expectDone = (kind: Fault["kind"]): void => expect([...proxy.faults]).toEqual([[kind, 1]]);

  test("passes requests and answers as they are, with the Host header that the client sent", async () => {
    const answer = await fetch(`${proxy.endpoint}/a%20b?c=%2F`, { method: "POST", body: "12345" });
    expect([answer.status, answer.headers.get("x-store"), await answer.text()]).toEqual([200, "yes", BODY]);
    expect(await (await fetch(`${proxy.endpoint}/stream`)).text()).toBe(BODY);
    expect(asked).toEqual(["POST /a%20b?c=%2F 5", "GET /stream 0"]);
    expect(hosts[0]).toBe(new URL(proxy.endpoint).host);
    expect(proxy.requests).toEqual([
      { method: "POST", target: "/a%20b?c=%2F" },
      { method: "GET", target: "/stream" },
    ]);
    expect(proxy.faults.size).toBe(0);
  });

  test("passes a large body both ways", async () => {
    const large = new Uint8Array(5 * 2 ** 20).fill(7);
    const answer = await fetch(`${proxy.endpoint}/large`, { method: "PUT", body: large });
    expect(await answer.text()).toBe(BODY);
    expect(asked).toEqual([`PUT /large ${large.length}`]);
  });

  test("answers later", async () => {
    once({ kind: "latency", delayMs: 40 });
    const startMs = performance.now();
    expect(await (await put()).text()).toBe(BODY);
    expect(performance.now() - startMs).toBeGreaterThan(38);
    expectDone("latency");
  });

  test("resets a connection before the store is told", async () => {
    once({ kind: "reset" });
    expect(await reasonOf(put())).not.toBe("");
    expect(asked).toEqual([]);
    expectDone("reset");
  });

  test("cuts a request in its body, and then passes the next one", async () => {
    once({ kind: "cut request", afterBytes: 600 });
    expect(await reasonOf(put())).not.toBe("");
    expect((await put()).status).toBe(200);
    expect(asked).toEqual(["PUT /put 1000"]);
    expectDone("cut request");
  });

  test("cuts an answer in its body", async () => {
    for (const path of ["/put", "/stream"]) {
      once({ kind: "cut answer", afterBytes: 600 });
      const answer = await fetch(proxy.endpoint + path);
      expect(answer.status).toBe(200);
      expect(await reasonOf(answer.text())).not.toBe("");
    }
    expect(proxy.faults.get("cut answer")).toBe(2);
  });

  test("stalls before and within an answer", async () => {
    for (const fault of [{ kind: "stall request" }, { kind: "stall answer", afterBytes: 600 }] as const) {
      once(fault);
      const answer = (async () => await (await put(AbortSignal.timeout(50))).text())();
      expect(await reasonOf(answer)).toContain("timed out");
    }
    expect(asked).toEqual(["PUT /put 1000"]);
    expect(proxy.faults.size).toBe(2);
  });

  test("lets an answer trickle", async () => {
    once({ kind: "slow answer", pieceCount: 5, everyMs: 10 });
    const startMs = performance.now();
    expect(await (await fetch(`${proxy.endpoint}/stream`)).text()).toBe(BODY);
    expect(performance.now() - startMs).toBeGreaterThan(38);
    expectDone("slow answer");
  });

  test("loses an answer to what was done", async () => {
    once({ kind: "lost answer" });
    expect(await reasonOf(put())).not.toBe("");
    expect(asked).toEqual(["PUT /put 1000"]);
    expectDone("lost answer");
  });

  test("answers in place of the store, which is told in one case and not in the other", async () => {
    once({ kind: "answer", status: 503, headers: { "x-reason": "busy" }, body: "<Busy/>" });
    const refused = await put();
    expect([refused.status, refused.headers.get("x-reason"), await refused.text()]).toEqual([503, "busy", "<Busy/>"]);
    expect(asked).toEqual([]);
    once({ kind: "false answer", status: 412 });
    const done = await put();
    expect([done.status, await done.text()]).toEqual([412, ""]);
    expect(asked).toEqual(["PUT /put 1000"]);
    once({ kind: "answer", status: 500 });
    expect((await fetch(`${proxy.endpoint}/x`, { method: "HEAD" })).status).toBe(500);
  });

  test("changes one bit of an answer's body", async () => {
    once({ kind: "wrong byte", atByte: 3 });
    expect(await (await fetch(`${proxy.endpoint}/stream`)).text()).toBe(BODY.replace("3", "2"));
    expectDone("wrong byte");
  });

  test("changes one bit of a request's body", async () => {
    once({ kind: "wrong request byte", atByte: 3 });
    await put();
    expect(bodies).toEqual([BODY.replace("3", "2")]);
    expectDone("wrong request byte");
  });

  test("shortens an answer's body so that HTTP does not tell", async () => {
    once({ kind: "short answer", keepBytes: 600 });
    expect(await (await fetch(`${proxy.endpoint}/put`)).text()).toBe(BODY.slice(0, 600));
    expectDone("short answer");
  });

  test("does nothing to a body that is not there", async () => {
    for (const fault of [
      { kind: "short answer", keepBytes: 0 },
      { kind: "stall answer", afterBytes: 0 },
      { kind: "cut request", afterBytes: 0 },
    ] as const) {
      once(fault);
      const answer = await fetch(`${proxy.endpoint}/put`, { method: "HEAD" });
      expect([answer.status, answer.headers.get("content-length")]).toEqual([200, "1000"]);
    }
    expect(proxy.faults.size).toBe(0);
  });

  test("refuses connections until it listens again", async () => {
    once({ kind: "stall request" });
    const broken = reasonOf(put());
    while (!proxy.faults.has("stall request")) await new Promise(setImmediate);
    await proxy.refuse();
    expect(await broken).not.toBe("");
    expect(await reasonOf(put())).not.toBe("");
    await proxy.listen();
    expect((await put()).status).toBe(200);
  });

  test("does a fault to the first request that matches, and only that one", async () => {
    proxy.setPlan(onceTo(({ method }) => method === "PUT", { kind: "answer", status: 500 }));
    expect((await fetch(proxy.endpoint)).status).toBe(200);
    expect((await put()).status).toBe(500);
    expect((await put()).status).toBe(200);
  });
});
