/** A client of NBD on a real socket, which does only what it is told. */
import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import {
  infoData,
  joined,
  OPT,
  option,
  parseOptionReplies,
  parseReply,
  request,
  u32,
  type NbdReply,
  type OptionReply,
  type RequestFields,
} from "./nbd-wire.ts";

export interface NbdSocket {
  readonly isClosed: boolean;
  readonly closed: Promise<void>;
  send(bytes: Uint8Array): void;
  /** Waits for so many bytes and takes them; rejects where the connection ends before. */
  receive(lengthBytes: number): Promise<Uint8Array>;
  /** Sends an option and waits for the last reply to it. */
  ask(type: number, data?: Uint8Array): Promise<readonly OptionReply[]>;
  /** Greeting, structured replies, and into transmission. */
  go(name: string): Promise<void>;
  reply(fields: RequestFields): Promise<NbdReply>;
  /** Goes on with TLS. Rejects where that fails, or the server ends it. */
  secure(tls: { ca: string; cert?: string; key?: string }): Promise<void>;
  end(): void;
}

/** Connects to a port of 127.0.0.1, or to a unix socket. */
export async function nbdSocket(to: number | string): Promise<NbdSocket> {
  let socket: Socket = typeof to === "number" ? connectTcp(to, "127.0.0.1") : connectTcp(to);
  let input: Uint8Array = new Uint8Array();
  let isClosed = false;
  let wake: () => void = () => {};
  const { promise: closed, resolve: onClosed } = Promise.withResolvers<void>();
  const attach = (): void => {
    socket.on("data", (bytes: Uint8Array) => {
      input = joined(input, bytes);
      wake();
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      isClosed = true;
      wake();
      onClosed();
    });
  };
  attach();
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("error", reject);
  });

  const more = async (): Promise<void> => {
    if (isClosed) throw new Error("the connection has ended");
    await new Promise<void>((resolve) => {
      wake = resolve;
    });
  };
  const client: NbdSocket = {
    get isClosed() {
      return isClosed;
    },
    closed,
    send: (bytes) => void socket.write(bytes),
    async receive(lengthBytes) {
      while (input.length < lengthBytes) await more();
      const taken = input.slice(0, lengthBytes);
      input = input.slice(lengthBytes);
      return taken;
    },
    async ask(type, data) {
      client.send(option(type, data));
      const all: OptionReply[] = [];
      for (;;) {
        const { replies, rest } = parseOptionReplies(input);
        all.push(...replies);
        input = rest;
        const last = all.at(-1);
        if (last !== undefined && (last.type === 1 || last.type >= 0x8000_0000)) return all;
        await more();
      }
    },
    async go(name) {
      await client.receive(18);
      client.send(u32(3));
      await client.ask(OPT.STRUCTURED_REPLY);
      const last = (await client.ask(OPT.GO, infoData(name))).at(-1)!;
      if (last.type !== 1) throw new Error(last.text);
    },
    async reply(fields) {
      client.send(request(fields));
      for (;;) {
        const parsed = parseReply(input, "structured", () => 0);
        if (parsed !== undefined) {
          input = parsed.rest;
          return parsed.reply;
        }
        await more();
      }
    },
    async secure(tls) {
      socket.removeAllListeners("data");
      socket.removeAllListeners("close");
      socket = connectTls({ socket, servername: "localhost", ...tls });
      attach();
      await new Promise<void>((resolve, reject) => {
        socket.once("secureConnect", resolve);
        socket.once("close", () => reject(new Error("TLS failed")));
      });
    },
    end: () => void socket.destroy(),
  };
  return client;
}
