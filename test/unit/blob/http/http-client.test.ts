import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { allocateMemory, freeMemory } from "../../../../ffi/memory.ts";
import { BlobStoreError } from "../../../../src/blob/blob-store.ts";
import { createHttpClient, type HttpAnswer } from "../../../../src/blob/http/http-client.ts";
import { failureOf } from "../../../support/blob-requests.ts";
import { makeNamedBlob } from "../../../support/named-blob.ts";
import { reasonOf } from "../../../support/reason-of.ts";

const what = "blob 12 could not be read in the store";
const statusOf = ({ status }: HttpAnswer): number => status;

/** A server that does with each connection, and each piece of a request, what a test wants. */
async function startPeer(onData: (socket: Socket, piece: Uint8Array) => void) {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("data", (piece) => onData(socket, piece as Buffer));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    connectionCount: () => sockets.size,
    [Symbol.dispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

const memory = allocateMemory(2 * 2 ** 20);

describe("a server that answers", () => {
  const large = makeNamedBlob(2 ** 20 + 17, 3).bytes;
  let server: Bun.Server<undefined>;
  let seen: { headers: Headers; body: Uint8Array } | undefined;
  beforeEach(() => {
    server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      async fetch(request) {
        seen = { headers: request.headers, body: await request.bytes() };
        const path = new URL(request.url).pathname;
        if (path === "/moved") return new Response(null, { status: 307, headers: { Location: "/large" } });
        if (path === "/gzip") {
          return new Response(Bun.gzipSync(new Uint8Array(1000)), { headers: { "Content-Encoding": "gzip" } });
        }
        return path === "/large" ? new Response(large) : new Response("no such thing", { status: 404 });
      },
    });
  });
  afterEach(() => server.stop(true));
  const url = (path: string): string => new URL(path, server.url).href;
  const client = createHttpClient();

  test("its body is read into memory at the place asked for, and nothing beside it is touched", async () => {
    memory.bytes.fill(0xee);
    const read = await client.exchange({ method: "GET", url: url("/large"), what }, (answer) =>
      answer.into(memory, 4096, large.length),
    );
    expect(read).toBe(large.length);
    expect(Buffer.compare(memory.bytes.subarray(4096, 4096 + large.length), large)).toBe(0);
    expect(memory.bytes[4095]).toBe(0xee);
    expect(memory.bytes[4096 + large.length]).toBe(0xee);
  });

  test("a body that is longer than asked for is told, and not written beyond it", async () => {
    memory.bytes.fill(0xee);
    const read = await client.exchange({ method: "GET", url: url("/large"), what }, (answer) =>
      answer.into(memory, 0, 1000),
    );
    expect(read).toBe(1001);
    expect(memory.bytes[1000]).toBe(0xee);
  });

  test("a status is no error here, and its text is there", async () => {
    const answer = await client.exchange({ method: "GET", url: url("/else"), what }, async (answer) => [
      answer.status,
      await answer.text(100),
    ]);
    expect(answer).toEqual([404, "no such thing"]);
    const cut = await client.exchange({ method: "GET", url: url("/else"), what }, (answer) => answer.text(7));
    expect(cut).toBe("no such");
  });

  test("small and large bodies arrive as they are, with their length and without an encoding", async () => {
    for (const body of [new Uint8Array(0), large.subarray(0, 1000), large]) {
      expect(await client.exchange({ method: "PUT", url: url("/else"), body, what }, statusOf)).toBe(404);
      expect(Buffer.compare(seen!.body, body)).toBe(0);
      expect(seen!.headers.get("content-length")).toBe(`${body.length}`);
      expect(seen!.headers.get("content-encoding")).toBeNull();
      expect(seen!.headers.get("transfer-encoding")).toBeNull();
    }
  });

  test("an answer is taken as it was sent: not unzipped, and no redirection is followed", async () => {
    const zipped = await client.exchange({ method: "GET", url: url("/gzip"), what }, (answer) => answer.bytes(2000));
    expect(Bun.gunzipSync(new Uint8Array(zipped)).length).toBe(1000);
    expect(seen!.headers.get("accept-encoding")).toBe("identity");
    expect(await client.exchange({ method: "GET", url: url("/moved"), what }, statusOf)).toBe(307);
  });

  test("a request that was aborted before rejects with the signal's reason and is not sent", async () => {
    seen = undefined;
    const signal = AbortSignal.abort(new Error("no longer wanted"));
    const request = client.exchange({ method: "GET", url: url("/large"), what, signal }, statusOf);
    expect(await reasonOf(request)).toBe("no longer wanted");
    expect(seen).toBeUndefined();
  });

  test("what the taker throws is what the exchange rejects with", async () => {
    const request = client.exchange({ method: "GET", url: url("/large"), what }, () => {
      throw new Error("not what I wanted");
    });
    expect(await reasonOf(request)).toBe("not what I wanted");
  });
});

test("a connection is used again, whether the answer's body was read or not", async () => {
  using peer = await startPeer((socket) => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"));
  const client = createHttpClient();
  for (const reads of [false, true, false]) {
    await client.exchange({ method: "GET", url: peer.url, what }, (answer) => (reads ? answer.text(10) : ""));
  }
  expect(peer.connectionCount()).toBe(1);
});

const stalls: [name: string, begin: string][] = [
  ["never answers", ""],
  ["stops in the middle of the head", "HTTP/1.1 200 OK\r\nContent-"],
  ["stops in the middle of the body", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"],
];
for (const [name, begin] of stalls) {
  test(`a server that ${name} is unavailable after the timeout`, async () => {
    using peer = await startPeer((socket) => begin !== "" && socket.write(begin));
    const client = createHttpClient({ stallTimeoutMs: 60 });
    const error = await client
      .exchange({ method: "GET", url: peer.url, what }, (answer) => answer.into(memory, 0, 100))
      .catch((error: unknown) => error);
    expect(error).toBeInstanceOf(BlobStoreError);
    expect((error as BlobStoreError).failure).toBe("unavailable");
    expect((error as Error).message).toStartWith(`${what} (127.0.0.1:`);
    expect((error as Error).message).toContain("let 0.06 s pass");
  });

  test(`a request to a server that ${name} can be aborted`, async () => {
    const controller = new AbortController();
    using peer = await startPeer((socket) => {
      if (begin !== "") socket.write(begin);
      setTimeout(() => controller.abort(new Error("enough")), 20);
    });
    const request = createHttpClient().exchange(
      { method: "GET", url: peer.url, what, signal: controller.signal },
      (answer) => answer.into(memory, 0, 100),
    );
    expect(await reasonOf(request)).toBe("enough");
  });
}

test("a transfer that goes on takes as long as it takes, up and down", async () => {
  const body = new Uint8Array(2 ** 20);
  let receivedBytes = 0;
  using peer = await startPeer((socket, piece) => {
    receivedBytes += piece.length;
    if (receivedBytes < body.length) {
      socket.pause();
      setTimeout(() => socket.resume(), 10);
      return;
    }
    socket.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n");
    let sent = 0;
    const timer = setInterval(() => {
      socket.write("x");
      if (++sent === 10) clearInterval(timer);
    }, 30);
  });
  const client = createHttpClient({ stallTimeoutMs: 150 });
  const startMs = performance.now();
  const read = await client.exchange({ method: "PUT", url: peer.url, body, what }, (answer) =>
    answer.into(memory, 0, 10),
  );
  expect(read).toBe(10);
  expect(performance.now() - startMs).toBeGreaterThan(250);
});

test("an upload that nobody takes ends by the timeout, and its memory may be given back", async () => {
  using peer = await startPeer((socket) => socket.pause());
  const body = allocateMemory(16 * 2 ** 20);
  const client = createHttpClient({ stallTimeoutMs: 100 });
  const request = client.exchange({ method: "PUT", url: peer.url, body: body.bytes, what }, statusOf);
  expect(await failureOf(request)).toBe("unavailable");
  freeMemory(body);
  await Bun.sleep(0);
});

test("an answer that comes before the body was sent ends the upload: its memory is not read afterwards", async () => {
  let server: Socket | undefined;
  let receivedBytes = 0;
  const closed = Promise.withResolvers<void>();
  using peer = await startPeer((socket, piece) => {
    receivedBytes += piece.length;
    if (server !== undefined) return;
    server = socket;
    socket.once("close", () => closed.resolve());
    socket.write("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    socket.pause();
  });
  const body = allocateMemory(16 * 2 ** 20);
  const request = { method: "PUT", url: peer.url, body: body.bytes, what } as const;
  const client = createHttpClient();
  expect(await client.exchange(request, async (answer) => [answer.status, await answer.text(10)])).toEqual([403, "no"]);
  freeMemory(body);
  // Reading what is no longer mapped would end the process.
  server!.resume();
  await closed.promise;
  expect(receivedBytes).toBeLessThan(body.lengthBytes);
});

test("a connection that breaks, in the head or in the body, is unavailable", async () => {
  for (const begin of ["", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"]) {
    using peer = await startPeer((socket) => {
      socket.end(begin);
    });
    const request = createHttpClient().exchange({ method: "GET", url: peer.url, what }, (answer) =>
      answer.into(memory, 0, 100),
    );
    expect(await failureOf(request)).toBe("unavailable");
  }
});

test("a port where nothing listens is unavailable, with what to check and without the URL's secrets", async () => {
  using peer = await startPeer(() => {});
  const { url } = peer;
  peer[Symbol.dispose]();
  const client = createHttpClient();
  const refused = client.exchange({ method: "GET", url: `${url}?sig=hunter2`, what }, statusOf);
  const error = (await refused.catch((error: unknown) => error)) as BlobStoreError;
  expect(error.failure).toBe("unavailable");
  expect(error.message).toContain("ECONNREFUSED");
  expect(error.message).toContain("check host and port");
  expect(Bun.inspect(error)).not.toContain("hunter2");
});

test("an upload is sent once, also where the connection of an earlier request breaks under it", async () => {
  // Sent again unasked, a ref that was created would be said to exist, by whoever knows better.
  const received: string[] = [];
  using peer = await startPeer((socket, piece) => {
    const text = new TextDecoder().decode(piece);
    if (text.startsWith("GET")) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    else {
      received.push(text);
      if (received.join("").endsWith("0123456789")) socket.destroy();
    }
  });
  const client = createHttpClient();
  expect(await client.exchange({ method: "GET", url: peer.url, what }, statusOf)).toBe(200);
  const body = new TextEncoder().encode("0123456789");
  const upload = client.exchange({ method: "PUT", url: peer.url, body, what }, statusOf);
  expect(await failureOf(upload)).toBe("unavailable");
  expect(received.join("").match(/PUT/g)).toHaveLength(1);
  expect(received.join("").toLowerCase()).toContain("content-length: 10\r\n");
  expect(peer.connectionCount()).toBe(1);
});
