/**
 * Transmission (proto.md, "Transmission"): the client's bytes become requests, which are checked and handed on. What
 * cannot be taken yet stays where it is: that is how a client is held back.
 */
import type { Memory } from "../../base/memory.ts";
import { Commands, REQUESTS_MOST, SMALL_DATA_BYTES, type ConnectionCounters } from "./commands.ts";
import {
  AT_COOKIE,
  AT_FLAGS,
  AT_LENGTH,
  AT_OFFSET,
  AT_TYPE,
  EXTENDED_REQUEST_HEADER_BYTES,
  NBD_CMD_BLOCK_STATUS,
  NBD_CMD_CACHE,
  NBD_CMD_DISC,
  NBD_CMD_FLAG_PAYLOAD_LEN,
  NBD_CMD_FLUSH,
  NBD_CMD_READ,
  NBD_CMD_WRITE,
  NBD_EXTENDED_REQUEST_MAGIC,
  NBD_REQUEST_MAGIC,
  PAYLOAD_DROP_BYTES,
  REQUEST_HEADER_BYTES,
} from "./constants.ts";
import { ALLOCATION_CONTEXT_ID, type Negotiated } from "./handshake.ts";
import { BAD_STATUS_PAYLOAD, refusalOf, SHUTTING_DOWN } from "./refusal.ts";
import { BARE_REPLY_MOST_BYTES } from "./reply-header.ts";
import { BUFFER_DATA_AT, type ReplySink } from "./reply-sink.ts";
import type { NbdRequest } from "./request.ts";

/** So many requests that are no large WRITE, and the client is not writing much any more. */
const BULK_REQUESTS = 64;

export class Transmission {
  /** Why the connection has to end, where what the client sent breaks the protocol. */
  violation: string | undefined;
  /** The client has said goodbye: what is in flight is finished, nothing more is taken. */
  isDisconnecting = false;
  /** Every further request is answered with ESHUTDOWN. */
  isShuttingDown = false;
  readonly #commands: Commands;
  readonly #headerBytes: number;
  readonly #magic: number;
  /** The large WRITE whose data is arriving, and how much of it is there. */
  #writing: NbdRequest | undefined;
  #writeBuffer: Memory | undefined;
  #writtenBytes = 0;
  /** Data of the client that is of no use. */
  #skipBytes = 0;
  #bulkLeft = 0;

  constructor(
    readonly negotiated: Negotiated,
    readonly sink: ReplySink,
  ) {
    this.#commands = new Commands(negotiated, sink);
    const { extendedHeaders } = negotiated;
    this.#headerBytes = extendedHeaders ? EXTENDED_REQUEST_HEADER_BYTES : REQUEST_HEADER_BYTES;
    this.#magic = extendedHeaders ? NBD_EXTENDED_REQUEST_MAGIC : NBD_REQUEST_MAGIC;
  }

  get counters(): ConnectionCounters {
    return this.#commands.counters;
  }

  /** Requests taken and not answered yet. */
  get inFlight(): number {
    return this.#commands.inFlight;
  }

  /** Whether no storage is working for this connection. */
  get isIdle(): boolean {
    return this.inFlight === (this.#writing === undefined ? 0 : 1);
  }

  /** Bytes that are still to come of a large WRITE, whose place is `payload`, or that are to be skipped. */
  get awaitedBytes(): number {
    return this.#writing === undefined ? this.#skipBytes : this.#writing.lengthBytes - this.#writtenBytes;
  }

  /** Whether the client is writing much: another large WRITE is likely to come. */
  get isBulk(): boolean {
    return this.#bulkLeft > 0;
  }

  /** Where the awaited bytes of a large WRITE go, from `payloadAt` on. */
  get payload(): Memory | undefined {
    return this.#writeBuffer;
  }

  get payloadAt(): number {
    return BUFFER_DATA_AT + this.#writtenBytes;
  }

  /** Tells that so many of the awaited bytes have been put into `payload`. */
  payloadArrived(lengthBytes: number): void {
    this.#writtenBytes += lengthBytes;
    const request = this.#writing!;
    if (this.#writtenBytes < request.lengthBytes) return;
    const buffer = this.#writeBuffer!;
    this.#writing = undefined;
    this.#writeBuffer = undefined;
    if (this.isShuttingDown) this.#commands.refuse(request, SHUTTING_DOWN);
    else this.#commands.write(request, buffer, BUFFER_DATA_AT);
    this.sink.giveBuffer(buffer);
  }

  /**
   * Takes the requests in `input` between two places as far as they are there, and may be taken now, and at most so many.
   * Returns the place of the first byte that was not taken.
   */
  take(input: Memory, from: number, to: number, most: number): number {
    let at = from;
    for (let taken = 0; taken < most && at < to && this.violation === undefined && !this.isDisconnecting; taken++) {
      const next = this.awaitedBytes > 0 ? this.#takeData(input, at, to) : this.#takeRequest(input, at, to);
      if (next === at) break;
      at = next;
    }
    return at;
  }

  /** Gives back what no request in flight holds. The connection has ended: nothing more arrives. */
  abandon(): void {
    if (this.#writing === undefined) return;
    this.sink.giveBuffer(this.#writeBuffer!);
    this.#writeBuffer = undefined;
    this.#commands.release(this.#writing);
    this.#writing = undefined;
  }

  #takeData(input: Memory, from: number, to: number): number {
    const lengthBytes = Math.min(this.awaitedBytes, to - from);
    if (this.#writing === undefined) {
      this.#skipBytes -= lengthBytes;
    } else {
      this.#writeBuffer!.bytes.set(input.bytes.subarray(from, from + lengthBytes), this.payloadAt);
      this.payloadArrived(lengthBytes);
    }
    return from + lengthBytes;
  }

  /** Takes one request, with the data of a small WRITE; or nothing, where not all of it is there or it has to wait. */
  #takeRequest(input: Memory, from: number, to: number): number {
    const { view } = input;
    if (to - from < 4) return from;
    if (view.getUint32(from) !== this.#magic) {
      this.violation = `a request without its magic number (0x${view.getUint32(from).toString(16)})`;
      return from;
    }
    if (to - from < this.#headerBytes) return from;
    if (this.#commands.inFlight === REQUESTS_MOST || !this.sink.hasRoom(BARE_REPLY_MOST_BYTES)) return from;
    if (this.#bulkLeft > 0) this.#bulkLeft--;
    const request = this.#commands.request;
    this.#readHeader(request, view, from);
    const dataAt = from + this.#headerBytes;
    const hasPayload = this.negotiated.extendedHeaders
      ? (request.flags & NBD_CMD_FLAG_PAYLOAD_LEN) !== 0
      : request.type === NBD_CMD_WRITE;
    const next = hasPayload ? this.#takeWithPayload(request, input, dataAt, to) : this.#takeBare(request, dataAt);
    if (next < 0) return from;
    this.#commands.counters.requests++;
    return next;
  }

  #readHeader(request: NbdRequest, view: DataView, at: number): void {
    request.flags = view.getUint16(at + AT_FLAGS);
    request.type = view.getUint16(at + AT_TYPE);
    request.cookieHigh = view.getUint32(at + AT_COOKIE);
    request.cookieLow = view.getUint32(at + AT_COOKIE + 4);
    request.offsetHigh = view.getUint32(at + AT_OFFSET);
    request.offsetLow = view.getUint32(at + AT_OFFSET + 4);
    request.offsetBytes = request.offsetHigh * 0x1_0000_0000 + request.offsetLow;
    request.lengthBytes = view.getUint32(at + AT_LENGTH);
    if (!this.negotiated.extendedHeaders) return;
    request.lengthBytes = request.lengthBytes * 0x1_0000_0000 + view.getUint32(at + AT_LENGTH + 4);
  }

  /** Takes a request that brings data. Returns the place behind what was taken, or -1 where that cannot be done yet. */
  #takeWithPayload(request: NbdRequest, input: Memory, dataAt: number, to: number): number {
    const { type, lengthBytes } = request;
    if (lengthBytes > PAYLOAD_DROP_BYTES) {
      this.violation = `a request that announces ${lengthBytes} bytes of data`;
      return dataAt;
    }
    if (type === NBD_CMD_BLOCK_STATUS && lengthBytes <= SMALL_DATA_BYTES) {
      if (to - dataAt < lengthBytes) return -1;
      this.#takeFilteredStatus(request, input.view, dataAt);
      return dataAt + lengthBytes;
    }
    const refusal = this.isShuttingDown ? SHUTTING_DOWN : refusalOf(request, this.negotiated);
    if (refusal !== undefined) {
      this.#commands.refuse(request, refusal);
      this.#skipBytes = lengthBytes;
      return dataAt;
    }
    if (lengthBytes <= SMALL_DATA_BYTES) {
      if (to - dataAt < lengthBytes) return -1;
      this.#commands.write(request, input, dataAt);
      return dataAt + lengthBytes;
    }
    const buffer = this.sink.takeBuffer(lengthBytes);
    if (buffer === undefined) return -1;
    this.#commands.keep(request);
    this.#writing = request;
    this.#writeBuffer = buffer;
    this.#writtenBytes = 0;
    this.#bulkLeft = BULK_REQUESTS;
    return dataAt;
  }

  /** Takes a request that is its header alone. Returns `next`, or -1 where it has to wait. */
  #takeBare(request: NbdRequest, next: number): number {
    const { type } = request;
    if (type === NBD_CMD_DISC) {
      this.isDisconnecting = true;
      return next;
    }
    const refusal = this.isShuttingDown ? SHUTTING_DOWN : refusalOf(request, this.negotiated);
    if (refusal !== undefined) {
      this.#commands.refuse(request, refusal);
    } else if (type === NBD_CMD_FLUSH) {
      this.#commands.flush(request);
    } else if (request.lengthBytes === 0) {
      this.#commands.finish(request);
    } else if (type === NBD_CMD_READ) {
      if (!this.#commands.read(request)) return -1;
    } else if (type === NBD_CMD_BLOCK_STATUS) {
      this.#commands.blockStatus(request);
    } else if (type === NBD_CMD_CACHE) {
      if (!this.#commands.cache(request)) return -1;
    } else {
      this.#commands.zero(request);
    }
    return next;
  }

  /**
   * A BLOCK_STATUS with PAYLOAD_LEN: the length of the range, and which contexts it is asked of (proto.md of the extended
   * headers, NBD_CMD_BLOCK_STATUS).
   */
  #takeFilteredStatus(request: NbdRequest, view: DataView, at: number): void {
    const payloadBytes = request.lengthBytes;
    const isOne = payloadBytes === 12 && view.getUint32(at + 8) === ALLOCATION_CONTEXT_ID;
    if (!isOne || !this.negotiated.allocationContext) {
      this.#commands.refuse(request, this.isShuttingDown ? SHUTTING_DOWN : BAD_STATUS_PAYLOAD);
      return;
    }
    request.lengthBytes = view.getUint32(at) * 0x1_0000_0000 + view.getUint32(at + 4);
    request.flags &= ~NBD_CMD_FLAG_PAYLOAD_LEN;
    this.#takeBare(request, 0);
  }
}
