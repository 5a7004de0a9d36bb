/**
 * A proxy in front of an HTTP store that fails as networks and servers do. Requests pass as they are, Host header and
 * signatures included; only `Connection: close` is added, so that a connection is one request and one answer.
 */
import { connect, createServer, type Socket } from "node:net";
import type { SeededRandom } from "./seeded-random.ts";

/** One failure. What a fault does not name passes as it is. */
export type Fault =
  /** The answer comes this much later. */
  | { readonly kind: "latency"; readonly delayMs: number }
  /** The connection is reset before the store is told of the request. */
  | { readonly kind: "reset" }
  /** The store gets the head of the request and this much of its body, then both connections break. */
  | { readonly kind: "cut request"; readonly afterBytes: number }
  /** The client gets the head of the answer and this much of its body, then the connection ends. */
  | { readonly kind: "cut answer"; readonly afterBytes: number }
  /** One bit of the body of the request is another, at this place. */
  | { readonly kind: "wrong request byte"; readonly atByte: number }
  /** The request is taken, the store is not told of it, and nothing is ever answered. */
  | { readonly kind: "stall request" }
  /** The client gets the head of the answer and this much of its body, then nothing more. */
  | { readonly kind: "stall answer"; readonly afterBytes: number }
  /** The client gets the body of the answer in so many pieces, one each `everyMs`. */
  | { readonly kind: "slow answer"; readonly pieceCount: number; readonly everyMs: number }
  /** The store does what was asked, and its answer is lost. */
  | { readonly kind: "lost answer" }
  /** The store is not told of the request; this is answered in its place. */
  | {
      readonly kind: "answer";
      readonly status: number;
      readonly headers?: Record<string, string>;
      readonly body?: string;
    }
  /** The store does what was asked; this is answered in place of what it said. */
  | {
      readonly kind: "false answer";
      readonly status: number;
      readonly headers?: Record<string, string>;
      readonly body?: string;
    }
  /** One bit of the body of the answer is another, at this place or the last one before. */
  | { readonly kind: "wrong byte"; readonly atByte: number }
  /** The answer is whole and right but for its body, which has only its first bytes, and a length that says so. */
  | { readonly kind: "short answer"; readonly keepBytes: number };

const OF_ANSWER_BODIES: ReadonlySet<Fault["kind"]> = new Set([
  "cut answer",
  "stall answer",
  "slow answer",
  "wrong byte",
  "short answer",
]);

export interface ProxiedRequest {
  readonly method: string;
  /** Path and query, as sent. */
  readonly target: string;
}

/** Says what happens to a request; undefined: it passes. */
export type FaultPlan = (request: ProxiedRequest) => Fault | undefined;

export interface FaultProxy extends AsyncDisposable {
  /** Where clients connect: `http://127.0.0.1:PORT`. */
  readonly endpoint: string;
  /** The requests that came, in their order. */
  readonly requests: readonly ProxiedRequest[];
  /** Faults that were done, by kind. */
  readonly faults: ReadonlyMap<Fault["kind"], number>;
  /** What happens to requests from now on. Without a plan all pass. */
  setPlan(plan: FaultPlan | undefined): void;
  /** Ends all connections, and refuses new ones until `listen` is called. */
  refuse(): Promise<void>;
  /** Takes connections again, at the same port. */
  listen(): Promise<void>;
}

/** A plan that does one fault, to the first request that `matches`, and then nothing. */
export function onceTo(matches: (request: ProxiedRequest) => boolean, fault: Fault): FaultPlan {
  let done = false;
  return (request) => {
    if (done || !matches(request)) return undefined;
    done = true;
    return fault;
  };
}

/** A plan that does one of the faults, as a seed has it, to every other request. */
export function everyOther(random: SeededRandom, faults: readonly Fault[]): FaultPlan {
  let requestCount = 0;
  return () => (requestCount++ % 2 === 0 ? random.pick(faults) : undefined);
}

interface Message {
  /** Start line and headers, without the empty line. */
  readonly head: string;
  readonly body: Buffer;
}

/** The end of the head in what came so far, or -1. */
const headEnd = (bytes: Buffer): number => bytes.indexOf("\r\n\r\n");

function withHeaders(head: string, replaced: Record<string, string>): string {
  const names = new Set(Object.keys(replaced).map((name) => name.toLowerCase()));
  const kept = head.split("\r\n").filter((line) => !names.has(line.slice(0, line.indexOf(":")).toLowerCase()));
  return [...kept, ...Object.entries(replaced).map(([name, value]) => `${name}: ${value}`)].join("\r\n");
}

const encode = ({ head, body }: Message): Buffer => Buffer.concat([Buffer.from(`${head}\r\n\r\n`, "latin1"), body]);

/** A whole answer of our own. */
function answerOf(fault: Fault & { kind: "answer" | "false answer" }, method: string): Message {
  const body = Buffer.from(fault.body ?? "");
  const head = withHeaders(`HTTP/1.1 ${fault.status} Injected`, {
    ...fault.headers,
    "Content-Length": `${body.length}`,
    Connection: "close",
  });
  return { head, body: method === "HEAD" ? Buffer.alloc(0) : body };
}

/** The body of an answer as one piece, whose length a header tells. */
function unchunked({ head, body }: Message): Message {
  if (!/^transfer-encoding: *chunked/im.test(head)) return { head, body };
  const parts: Buffer[] = [];
  for (let at = 0; ;) {
    const lineEnd = body.indexOf("\r\n", at);
    const lengthBytes = Number.parseInt(body.subarray(at, lineEnd).toString("latin1"), 16);
    if (lengthBytes === 0) break;
    parts.push(body.subarray(lineEnd + 2, lineEnd + 2 + lengthBytes));
    at = lineEnd + 2 + lengthBytes + 2;
  }
  const whole = Buffer.concat(parts);
  const lines = head.split("\r\n").filter((line) => !/^transfer-encoding:/i.test(line));
  return { head: withHeaders(lines.join("\r\n"), { "Content-Length": `${whole.length}` }), body: whole };
}

/** Starts a proxy on a free port, without faults, in front of the store at `upstream` (`http://HOST:PORT`). */
export async function startFaultProxy(upstream: string): Promise<FaultProxy> {
  const { hostname, port } = new URL(upstream);
  const sockets = new Set<Socket>();
  const timers = new Set<ReturnType<typeof setTimeout>>();
  const requests: ProxiedRequest[] = [];
  const faults = new Map<Fault["kind"], number>();
  let plan: FaultPlan | undefined;

  const keep = (socket: Socket): void => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    // Broken connections are what this is about: whoever is at the other end learns of them by `close`.
    socket.on("error", () => {});
  };
  const later = (delayMs: number, work: () => void): void => {
    const timer = setTimeout(() => {
      timers.delete(timer);
      work();
    }, delayMs);
    timers.add(timer);
  };
  const count = (fault: Fault): void => void faults.set(fault.kind, (faults.get(fault.kind) ?? 0) + 1);

  /** Sends the answer of the store, with the fault in it. */
  const deliver = (client: Socket, method: string, received: Message, fault: Fault | undefined): void => {
    const answer = { head: withHeaders(received.head, { Connection: "close" }), body: received.body };
    // What was to happen to a body that is not there, or too short for it, does not happen.
    const isPassed =
      fault?.kind === "wrong request byte" ||
      fault?.kind === "cut request" ||
      (answer.body.length === 0 && fault !== undefined && OF_ANSWER_BODIES.has(fault.kind));
    if (fault === undefined || isPassed) return void client.end(encode(answer));
    const plain = unchunked(answer);
    const { head, body } = plain;
    count(fault);
    switch (fault.kind) {
      case "latency":
        return later(fault.delayMs, () => client.end(encode(answer)));
      case "lost answer":
        return void client.resetAndDestroy();
      case "false answer":
        return void client.end(encode(answerOf(fault, method)));
      case "cut answer":
        return void client.end(encode({ head, body: body.subarray(0, fault.afterBytes) }));
      case "stall answer":
        return void client.write(encode({ head, body: body.subarray(0, fault.afterBytes) }));
      case "slow answer": {
        client.write(encode({ head, body: Buffer.alloc(0) }));
        const pieceBytes = Math.ceil(body.length / fault.pieceCount);
        for (let piece = 0; piece < fault.pieceCount; piece++) {
          const last = piece === fault.pieceCount - 1;
          const bytes = body.subarray(piece * pieceBytes, (piece + 1) * pieceBytes);
          later(piece * fault.everyMs, () => void (last ? client.end(bytes) : client.write(bytes)));
        }
        return undefined;
      }
      case "wrong byte": {
        body[Math.min(fault.atByte, body.length - 1)]! ^= 1;
        return void client.end(encode(plain));
      }
      case "short answer": {
        const kept = body.subarray(0, fault.keepBytes);
        return void client.end(encode({ head: withHeaders(head, { "Content-Length": `${kept.length}` }), body: kept }));
      }
      default:
        throw new Error(`"${fault.kind}" does not happen to an answer`);
    }
  };

  /** Passes a request on, of which `first` has come, and its answer back. */
  const pass = (client: Socket, request: ProxiedRequest, first: Message, fault: Fault | undefined): void => {
    const store = connect({ host: hostname, port: Number(port) });
    keep(store);
    client.on("close", () => store.destroy());
    const mostBytes = fault?.kind === "cut request" ? fault.afterBytes : Number.POSITIVE_INFINITY;
    let bodyBytes = 0;
    const forward = (bytes: Buffer): void => {
      if (fault?.kind === "wrong request byte") {
        const at = fault.atByte - bodyBytes;
        if (at >= 0 && at < bytes.length) {
          bytes[at]! ^= 1;
          count(fault);
        }
      }
      const kept = bytes.subarray(0, mostBytes - bodyBytes);
      bodyBytes += bytes.length;
      if (bodyBytes < mostBytes) {
        if (!store.write(kept)) {
          client.pause();
          store.once("drain", () => client.resume());
        }
        return;
      }
      client.removeAllListeners("data");
      count(fault!);
      // The store must have seen what it gets of the request before the connection breaks.
      store.write(kept, () => {
        store.resetAndDestroy();
        client.resetAndDestroy();
      });
    };
    store.write(`${withHeaders(first.head, { Connection: "close" })}\r\n\r\n`, "latin1");
    client.on("data", forward);
    if (first.body.length > 0) forward(first.body);

    const received: Buffer[] = [];
    store.on("data", (bytes: Buffer) => void received.push(bytes));
    store.on("end", () => {
      if (client.destroyed) return;
      const bytes = Buffer.concat(received);
      const end = headEnd(bytes);
      if (end < 0) {
        client.destroy();
      } else {
        const answer = { head: bytes.subarray(0, end).toString("latin1"), body: bytes.subarray(end + 4) };
        deliver(client, request.method, answer, fault);
      }
    });
    store.on("error", () => client.destroy());
  };

  const begin = (client: Socket, first: Message): void => {
    const [method = "", target = ""] = first.head.split(" ", 2);
    const request = { method, target };
    requests.push(request);
    const fault = plan?.(request);
    switch (fault?.kind) {
      case "reset":
        count(fault);
        return void client.resetAndDestroy();
      case "stall request":
        count(fault);
        return void client.resume();
      case "answer":
        count(fault);
        // The rest of the request is taken, or closing would reset the connection and the answer with it.
        client.resume();
        return void client.end(encode(answerOf(fault, method)));
      default:
        return pass(client, request, first, fault);
    }
  };

  const server = createServer((client) => {
    keep(client);
    let head = Buffer.alloc(0);
    const onHead = (bytes: Buffer): void => {
      head = Buffer.concat([head, bytes]);
      const end = headEnd(head);
      if (end < 0) return;
      client.off("data", onHead);
      begin(client, { head: head.subarray(0, end).toString("latin1"), body: head.subarray(end + 4) });
    };
    client.on("data", onHead);
  });
  let listenPort = 0;
  const listen = (): Promise<void> =>
    new Promise((resolve, reject) => {
      server.once("error", reject);
      server.listen(listenPort, "127.0.0.1", () => {
        server.off("error", reject);
        listenPort = (server.address() as { port: number }).port;
        resolve();
      });
    });
  const refuse = async (): Promise<void> => {
    for (const timer of timers) clearTimeout(timer);
    timers.clear();
    const closed = server.listening ? new Promise<void>((resolve) => void server.close(() => resolve())) : undefined;
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  await listen();

  return {
    endpoint: `http://127.0.0.1:${listenPort}`,
    requests,
    faults,
    setPlan(next) {
      plan = next;
    },
    refuse,
    listen,
    [Symbol.asyncDispose]: refuse,
  };
}
