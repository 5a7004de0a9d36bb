/** A client's connection from its first byte to its last: handshake, TLS, transmission, end. */
import { NOTHING, receive } from "../../../ffi/stream-socket.ts";
import { allocateMemory, freeMemory } from "../../../ffi/memory.ts";
import type { Memory } from "../../base/memory.ts";
import { createHandshake, HANDSHAKE_INPUT_BYTES, type Handshake } from "../../protocol/nbd/handshake.ts";
import type { ExportTable, NbdExport } from "../../protocol/nbd/export.ts";
import { Transmission } from "../../protocol/nbd/transmission.ts";
import { ReplyQueue, type ReplyQueueOptions, type ReplyTransport } from "./reply-queue.ts";

/** More than an option with its data, and than a small request with its. */
const INPUT_BYTES = Math.max(128 * 2 ** 10, HANDSHAKE_INPUT_BYTES);

/** Requests that are taken before others get their turn. */
const TAKE_MOST = 32;
/** A header, and little more. */
const BULK_INPUT_BYTES = 4096;

/** What a connection does with its socket. */
export interface ConnectionSocket extends ReplyTransport {
  pause(): void;
  resume(): void;
  /** Ends the connection after what was written. */
  end(): void;
  /** Ends the connection at once. */
  drop(): void;
}

export interface ConnectionOptions extends Omit<ReplyQueueOptions, "onReply"> {
  /** Where the client is, for people: `127.0.0.1:50312`, or `unix`. */
  readonly client: string;
  /** What the client may have, by the name that its certificate gave, where it has one. */
  readonly exports: (clientName: string | undefined) => ExportTable;
  readonly tls: "off" | "required";
  readonly isShuttingDown: () => boolean;
  /** Makes the socket one of TLS; `Connection.secured` is called with the new one. */
  readonly startTls: (connection: Connection) => void;
  /** Told why a connection was dropped. */
  readonly report: (message: string) => void;
  /** Told that requests have arrived that have not had their turn. */
  readonly onMore: (connection: Connection) => void;
  /** Told that the handshake is over. */
  readonly onTransmission: (connection: Connection) => void;
}

export class Connection {
  transmission: Transmission | undefined;
  /** The name in the client's certificate. */
  clientName: string | undefined;
  isSecure = false;
  isClosed = false;
  readonly #input: Memory = allocateMemory(INPUT_BYTES);
  #from = 0;
  #to = 0;
  /** What the socket brought, and cannot be taken yet. */
  #held: Uint8Array[] = [];
  #isPaused = false;
  /** What arrives is received past Bun alone. */
  #isDirect = false;
  #handshake: Handshake;
  /** Replies of the handshake that the socket has not taken yet. */
  #unsent: Uint8Array = new Uint8Array();
  #isEnding = false;
  #queue: ReplyQueue | undefined;
  #isScheduled = false;

  constructor(
    public socket: ConnectionSocket,
    readonly options: ConnectionOptions,
  ) {
    this.#handshake = this.#newHandshake(options.tls);
    this.#sendHandshake();
  }

  #newHandshake(tls: "off" | "required" | "established"): Handshake {
    const { exports, isShuttingDown } = this.options;
    return createHandshake({ exports: () => exports(this.clientName), tls, isShuttingDown });
  }

  get client(): string {
    return this.options.client;
  }

  get export(): NbdExport | undefined {
    return this.transmission?.negotiated.export;
  }

  /** Grows as the client takes replies, and sends the data of a large WRITE. */
  get progress(): number {
    const { transmission } = this;
    return (this.#queue?.sentBytes ?? 0) + (transmission?.payload === undefined ? 0 : transmission.payloadAt);
  }

  /** Whether it has memory that others may need. */
  get holdsMemory(): boolean {
    return this.#queue?.isEmpty === false || this.transmission?.payload !== undefined;
  }

  /** Whether something else than the client has to be waited for, or the client's socket. */
  get isWaiting(): boolean {
    return this.transmission?.isIdle === false || this.#queue?.isEmpty === false;
  }

  /** Whether the connection becomes one of TLS: what comes in clear text is none of it. */
  get isSecuring(): boolean {
    return this.#handshake.state.kind === "starttls" || this.isSecure;
  }

  /** Goes on with TLS, from the beginning: what was negotiated before may have come from anyone. */
  secured(socket: ConnectionSocket, clientName: string | undefined): void {
    this.socket = socket;
    this.isSecure = true;
    this.clientName = clientName;
    this.#handshake = this.#newHandshake("established");
  }

  /** Takes what the socket brought. The bytes may be kept. */
  take(bytes: Uint8Array): void {
    if (this.isClosed || this.#isEnding) return;
    try {
      if (this.#held.length > 0) this.#held.push(bytes);
      else this.#takeNow(bytes);
      this.#hold();
    } catch (error) {
      this.#mistake(error);
    }
  }

  /** A mistake of ours costs one connection, and no more. */
  #mistake(error: unknown): void {
    this.options.report(`a request of ${this.client} failed: ${String((error as Error).stack)}`);
    this.#drop("a mistake of this server");
  }

  /** Has the socket bring no more while something waits to be taken. */
  #hold(): void {
    const shouldPause = this.#held.length > 0 || this.#isDirect;
    if (shouldPause === this.#isPaused || this.isClosed) return;
    this.#isPaused = shouldPause;
    if (shouldPause) this.socket.pause();
    else this.socket.resume();
  }

  /** Takes all of it, or keeps the rest before what is held and returns false. */
  #takeNow(bytes: Uint8Array): boolean {
    let at = 0;
    while (at < bytes.length) {
      if (this.#isEnding || this.isClosed) return true;
      const { transmission } = this;
      if (this.#from === this.#to && transmission?.payload !== undefined) {
        const end = Math.min(bytes.length, at + transmission.awaitedBytes);
        transmission.payload.bytes.set(bytes.subarray(at, end), transmission.payloadAt);
        transmission.payloadArrived(end - at);
        at = end;
        continue;
      }
      this.#makeRoom();
      const end = Math.min(bytes.length, at + INPUT_BYTES - this.#to);
      this.#input.bytes.set(bytes.subarray(at, end), this.#to);
      this.#to += end - at;
      const isFull = end === at;
      at = end;
      if (this.#process() || !isFull) continue;
      this.#held.unshift(bytes.subarray(at));
      return false;
    }
    return true;
  }

  #makeRoom(): void {
    if (this.#from === 0) return;
    if (this.#from < this.#to) this.#input.bytes.copyWithin(0, this.#from, this.#to);
    this.#to -= this.#from;
    this.#from = 0;
  }

  /** Whether what arrives can be received past Bun. */
  get canReceive(): boolean {
    return this.socket.fd >= 0 && this.transmission !== undefined;
  }

  /**
   * Receives past Bun what has arrived by now, into where it belongs, and takes what had not had its turn. Returns how
   * many bytes that were: 0 where there is nothing, or it has to wait.
   */
  receive(): number {
    try {
      return this.#receive();
    } catch (error) {
      this.#mistake(error);
      return 0;
    }
  }

  #receive(): number {
    const { fd } = this.socket;
    const { transmission } = this;
    if (fd < 0 || transmission === undefined || this.#unsent.length > 0) return 0;
    if (this.#held.length > 0 || this.isClosed || this.#isEnding) return 0;
    const before = this.#from;
    if (this.#from < this.#to && this.#process()) {
      this.#queue!.flush();
      return this.#from - before;
    }
    const { payload, payloadAt, awaitedBytes } = transmission;
    let received: number;
    let roomIsLeft = true;
    if (this.#from === this.#to && payload !== undefined) {
      received = receive(fd, payload.address + payloadAt, awaitedBytes);
      if (received > 0) transmission.payloadArrived(received);
    } else {
      this.#makeRoom();
      // Of a large WRITE only what comes with its header is copied from here.
      const mostBytes = transmission.isBulk && this.#to === 0 ? BULK_INPUT_BYTES : INPUT_BYTES;
      const roomBytes = mostBytes - this.#to;
      roomIsLeft = roomBytes > 0;
      received = roomBytes === 0 ? 0 : receive(fd, this.#input.address + this.#to, roomBytes);
      if (received > 0) this.#to += received;
      if (received > 0) this.#process();
    }
    this.#queue!.flush();
    if (received > 0) return received;
    // The end of the stream, and a failure, are left to Bun, which finds them as well.
    if (received !== NOTHING && roomIsLeft) this.receiveDirectly(false);
    return 0;
  }

  /** Whether large WRITEs are coming, whose data the kernel can put where it belongs. */
  get isBulk(): boolean {
    return this.socket.fd >= 0 && this.transmission?.isBulk === true && this.#held.length === 0 && !this.#isEnding;
  }

  /** Has Bun bring nothing any more, or bring it again. In between someone else has to say when something is there. */
  receiveDirectly(isDirect: boolean): void {
    if (this.#isDirect === isDirect || this.isClosed) return;
    this.#isDirect = isDirect;
    this.#hold();
  }

  /** Takes what is in the input as far as that can be done. Returns whether any of it was taken. */
  #process(): boolean {
    const before = this.#from;
    // Options come one by one: each waits until the replies to the last were sent.
    if (this.#unsent.length > 0 || this.#isEnding) return false;
    while (this.transmission === undefined) {
      const taken = this.#handshake.take(this.#input.bytes.subarray(this.#from, this.#to));
      this.#from += taken;
      this.#sendHandshake();
      if (!this.#followHandshake() || taken === 0) return this.#from > before;
    }
    // With TLS nobody looks again before more arrives.
    const most = this.canReceive ? TAKE_MOST : Number.POSITIVE_INFINITY;
    this.#from = this.transmission.take(this.#input, this.#from, this.#to, most);
    return this.#from > before;
  }

  #sendHandshake(): void {
    const replies = this.#handshake.takeReplies();
    this.#unsent = this.#unsent.length === 0 ? replies : Buffer.concat([this.#unsent, replies]);
    if (this.#unsent.length === 0) return;
    const written = this.socket.write(this.#unsent);
    this.#unsent = written < 0 ? new Uint8Array() : this.#unsent.subarray(written);
  }

  /** Does what the handshake has come to. Returns whether more of the input may be taken. */
  #followHandshake(): boolean {
    const { state } = this.#handshake;
    if (state.kind === "negotiating") return this.#unsent.length === 0;
    if (state.kind === "transmission") {
      this.#queue = new ReplyQueue(this.socket, { ...this.options, onReply: () => this.#schedule() });
      this.transmission = new Transmission(state.negotiated, this.#queue);
      this.options.onTransmission(this);
      return this.#unsent.length === 0;
    }
    if (state.kind === "dropped") this.#drop(state.reason);
    else if (state.kind === "starttls") this.#startTls();
    else {
      this.#isEnding = true;
      if (this.#unsent.length === 0) this.socket.end();
    }
    return false;
  }

  #startTls(): void {
    if (this.#from < this.#to || this.#held.length > 0) this.#drop("bytes between STARTTLS and its answer");
    else if (this.#unsent.length > 0) this.#drop("no room for the answer to STARTTLS");
    else this.options.startTls(this);
  }

  #drop(reason: string): void {
    if (this.#isEnding || this.isClosed) return;
    this.#isEnding = true;
    this.options.report(`the connection of ${this.client} was dropped: ${reason}`);
    this.socket.drop();
  }

  /** Drops the connection from outside. */
  drop(reason: string): void {
    this.#drop(reason);
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    // Several requests end together, as the writes of one sync do: their replies leave together too.
    this.#isScheduled = true;
    queueMicrotask(() => {
      this.#isScheduled = false;
      this.advance();
    });
  }

  /** Goes on after something was waited for: sends, takes what had to wait, and ends what is at its end. */
  advance(): void {
    if (this.isClosed) {
      this.#release();
      return;
    }
    if (this.#unsent.length > 0) this.#sendHandshake();
    if (this.#isEnding) {
      if (this.#unsent.length === 0 && this.transmission === undefined) this.socket.end();
      return;
    }
    try {
      this.#advance();
    } catch (error) {
      this.#mistake(error);
    }
    this.endTurn();
  }

  #advance(): void {
    this.#queue?.flush();
    let hasProgress = this.#from < this.#to && this.#process();
    for (;;) {
      const next = this.#held.shift();
      if (next === undefined) break;
      hasProgress = true;
      if (!this.#takeNow(next)) break;
    }
    this.#hold();
    if (hasProgress && this.#from < this.#to) this.options.onMore(this);
  }

  /** What has to be done before others get their turn. */
  endTurn(): void {
    const { transmission } = this;
    if (transmission === undefined || this.isClosed) return;
    try {
      this.#queue!.flushTurn();
    } catch (error) {
      this.#mistake(error);
    }
    if (this.#queue!.failed) this.#drop("it failed, or what was to be sent could not be read");
    else if (transmission.violation !== undefined) this.#drop(transmission.violation);
    else if (transmission.isDisconnecting && transmission.isIdle && this.#queue!.isEmpty && !this.#isEnding) {
      this.#isEnding = true;
      this.socket.end();
    }
  }

  /**
   * Answers what is in flight, and everything else with an error, and ends the connection after that; a client that
   * still sends something has so long to learn why.
   */
  farewell(afterMs: number): void {
    const { transmission } = this;
    if (transmission !== undefined) transmission.isShuttingDown = true;
    setTimeout(() => {
      if (transmission === undefined) this.#drop("the server is shutting down");
      else transmission.isDisconnecting = true;
      this.advance();
    }, afterMs);
  }

  /** The socket is closed. What storages are still working on holds memory until they are done. */
  closed(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#held = [];
    this.transmission?.abandon();
    this.#release();
  }

  #isReleased = false;

  #release(): void {
    if (this.#isReleased || (this.transmission !== undefined && !this.transmission.isIdle)) return;
    this.#isReleased = true;
    this.#queue?.close();
    freeMemory(this.#input);
  }
}
