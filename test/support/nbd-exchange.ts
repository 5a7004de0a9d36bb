/** A connection of NBD without a socket: what a client sends goes in, what it would be sent comes out. */
import { newTargetCounters } from "../../src/protocol/target-counters.ts";
import type { ExportTable, NbdExport } from "../../src/protocol/nbd/export.ts";
import { createBufferPool, type BufferPool } from "../../src/server/nbd/buffer-pool.ts";
import { Connection } from "../../src/server/nbd/connection.ts";
import type { BlockStorage } from "../../src/storage/block-storage.ts";
import { openByteStorage } from "../../src/storage/byte-storage.ts";
import { memoryStorage } from "../../src/storage/memory-storage.ts";
import {
  infoData,
  joined,
  metaData,
  OPT,
  option,
  parseOptionReplies,
  parseReply,
  request,
  u32,
  type NbdReply,
  type NbdStyle,
  type OptionReply,
  type RequestFields,
} from "./nbd-wire.ts";

export interface NbdExchangeOptions {
  readonly storage?: BlockStorage;
  /** By default e1.0, described as `scratch`, on `storage`. */
  readonly exports?: readonly NbdExport[];
  readonly tls?: "off" | "required";
  /** Bytes that the socket takes before it is full; see `unblock`. */
  readonly socketRoomBytes?: number;
  readonly pool?: BufferPool;
}

export interface NbdExchange {
  readonly connection: Connection;
  readonly export: NbdExport;
  /** Why the connection was dropped. */
  readonly dropped: string | undefined;
  /** The server has ended the connection in peace. */
  readonly ended: boolean;
  readonly isPaused: boolean;
  readonly tlsStarted: boolean;
  /** Bytes that were sent to the client and not looked at yet. */
  readonly output: Uint8Array;
  shutDown(): void;
  send(bytes: Uint8Array): void;
  /** Takes everything that was sent to the client. */
  takeOutput(): Uint8Array;
  /** Sends the client's flags, 3 unless told otherwise, and takes the greeting. */
  greet(flags?: number): Uint8Array;
  /** Sends an option and returns the replies to it. */
  ask(type: number, data?: Uint8Array): readonly OptionReply[];
  /** Goes into transmission, in this style. */
  go(style?: NbdStyle, context?: boolean, name?: string): void;
  /** Sends a request and waits for its reply. */
  reply(fields: RequestFields): Promise<NbdReply>;
  /** Waits for the next reply. */
  nextReply(): Promise<NbdReply>;
  sendRequest(fields: RequestFields): void;
  /** Gives the socket room for this much more. */
  unblock(roomBytes: number): void;
}

export const nbdExport = (storage: BlockStorage, name = "e1.0", description = "scratch"): NbdExport => ({
  name,
  description,
  disk: openByteStorage(storage),
  counters: newTargetCounters(),
});

export const exportsOf = (list: readonly NbdExport[]): ExportTable => ({
  list,
  find: (name) => (name === "" ? list[0] : list.find((each) => each.name === name || each.description === name)),
});

export const ZERO_DISK_SECTORS = 256;

/** A connection to a disk of 128 KiB of memory, unless told otherwise. */
export function openNbdExchange(options: NbdExchangeOptions = {}): NbdExchange {
  const {
    storage = memoryStorage(ZERO_DISK_SECTORS),
    tls = "off",
    socketRoomBytes = Number.POSITIVE_INFINITY,
  } = options;
  const exports = options.exports ?? [nbdExport(storage)];
  const pool = options.pool ?? createBufferPool(2 ** 28, () => {});
  const lengths = new Map<bigint, number>();
  let roomBytes = socketRoomBytes;
  let style: NbdStyle = "simple";
  let output = new Uint8Array();
  let dropped: string | undefined;
  let ended = false;
  let isPaused = false;
  let tlsStarted = false;
  let isShuttingDown = false;
  const connection: Connection = new Connection(
    {
      fd: -1,
      write(bytes) {
        const taken = bytes.subarray(0, roomBytes);
        if (taken.length === 0) return 0;
        roomBytes -= taken.length;
        output = joined(output, taken) as Uint8Array<ArrayBuffer>;
        return taken.length;
      },
      pause: () => void (isPaused = true),
      resume: () => void (isPaused = false),
      end: () => void (ended = true),
      drop: () => void (dropped ??= "by the server"),
    },
    {
      client: "a test",
      pool,
      lending: new Set(),
      exports: () => exportsOf(exports),
      tls,
      isShuttingDown: () => isShuttingDown,
      startTls: () => void (tlsStarted = true),
      report: (message) => void (dropped = message),
      onMore: () => {},
      onTransmission: () => {},
    },
  );
  const exchange: NbdExchange = {
    connection,
    export: exports[0]!,
    get dropped() {
      return dropped;
    },
    get ended() {
      return ended;
    },
    get isPaused() {
      return isPaused;
    },
    get tlsStarted() {
      return tlsStarted;
    },
    get output() {
      return output;
    },
    shutDown: () => void (isShuttingDown = true),
    send(bytes) {
      connection.take(bytes);
      connection.endTurn();
    },
    takeOutput() {
      const taken = output;
      output = new Uint8Array();
      return taken;
    },
    greet(flags = 3) {
      exchange.send(u32(flags));
      return exchange.takeOutput();
    },
    ask(type, data) {
      exchange.send(option(type, data));
      const { replies, rest } = parseOptionReplies(exchange.takeOutput());
      output = rest as Uint8Array<ArrayBuffer>;
      return replies;
    },
    go(wanted = "simple", context = false, name = "e1.0") {
      style = wanted;
      exchange.greet();
      if (style === "structured") exchange.ask(OPT.STRUCTURED_REPLY);
      if (style === "extended") exchange.ask(OPT.EXTENDED_HEADERS);
      if (context) exchange.ask(OPT.SET_META_CONTEXT, metaData(name, "base:allocation"));
      exchange.ask(OPT.GO, infoData(name));
    },
    sendRequest(fields) {
      if (fields.type === 0) lengths.set(fields.cookie ?? 1n, Number(fields.length ?? 0));
      exchange.send(request(fields, style === "extended"));
    },
    async nextReply() {
      for (let turns = 0; turns < 1000; turns++) {
        const parsed = parseReply(output, style, (cookie) => lengths.get(cookie) ?? 0);
        if (parsed !== undefined) {
          output = parsed.rest as Uint8Array<ArrayBuffer>;
          return parsed.reply;
        }
        await new Promise((resolve) => {
          setImmediate(resolve);
        });
      }
      throw new Error(`no reply${dropped === undefined ? "" : `: ${dropped}`}`);
    },
    reply(fields) {
      exchange.sendRequest(fields);
      return exchange.nextReply();
    },
    unblock(bytes) {
      roomBytes += bytes;
      connection.advance();
    },
  };
  return exchange;
}
