/**
 * The replies of a connection on their way out: built in memory of its own, in buffers of single requests, or lent by a
 * storage, gathered by the kernel in one system call for all of a turn.
 */
import { allocateMemory, freeMemory } from "../../../ffi/memory.ts";
import { BLOCKED, FAILED, FAULT, openStreamSender, SENT, type StreamSender } from "../../../ffi/stream-socket.ts";
import type { Memory } from "../../base/memory.ts";
import { REQUESTS_MOST, SMALL_DATA_BYTES } from "../../protocol/nbd/commands.ts";
import { BARE_REPLY_MOST_BYTES } from "../../protocol/nbd/reply-header.ts";
import { BUFFER_DATA_AT, type ReplySink } from "../../protocol/nbd/reply-sink.ts";
import { OK, SECTOR_BYTES, type BlockStorage } from "../../storage/block-storage.ts";
import type { BufferPool } from "./buffer-pool.ts";

/** Room for replies: those of a turn, and the last word on each request in flight. */
const RESERVE_BYTES = REQUESTS_MOST * BARE_REPLY_MOST_BYTES;
const OWN_BYTES = 4 * SMALL_DATA_BYTES;
const SEGMENTS_MOST = 256;
const RESERVE_SEGMENTS = 2 * REQUESTS_MOST + 2;
/** A client that takes nothing gets no more of its requests answered beyond this. */
const QUEUED_MOST_BYTES = 32 * 2 ** 20;
/** Of that, what storages have lent: it is copied where the client does not take it within the turn. */
const LENT_MOST_BYTES = 4 * 2 ** 20;

/** What sends: descriptor of a plain socket, or TLS's own way. */
export interface ReplyTransport {
  /** Descriptor of a socket without TLS, which the kernel may send to past Bun; else -1. */
  readonly fd: number;
  /** Sends, and returns how much the socket has taken; less than everything: `flush` is called when it takes more. */
  write(bytes: Uint8Array): number;
}

export interface ReplyQueueOptions {
  readonly pool: BufferPool;
  /** All queues that hold something lent: no connection's write may change it. */
  readonly lending: Set<ReplyQueue>;
  readonly onReply: () => void;
}

export class ReplyQueue implements ReplySink {
  readonly memory: Memory = allocateMemory(OWN_BYTES);
  at = 0;
  queuedBytes = 0;
  /** The connection can send no more. */
  failed = false;
  readonly #sender: StreamSender = openStreamSender(SEGMENTS_MOST);
  // By segment: where its bytes are for JavaScript, the buffer to give back, and what a lent one is.
  readonly #from: (Memory | undefined)[] = Array.from({ length: SEGMENTS_MOST });
  readonly #fromAt = new Float64Array(SEGMENTS_MOST);
  readonly #owned: boolean[] = Array.from({ length: SEGMENTS_MOST }, () => false);
  readonly #lentBy: (BlockStorage | undefined)[] = Array.from({ length: SEGMENTS_MOST });
  readonly #lentSector = new Float64Array(SEGMENTS_MOST);
  #lentBytes = 0;
  #sentBytes = 0;
  /** Segments whose buffers have been given back. */
  #released = 0;
  #closed = false;

  constructor(
    readonly transport: ReplyTransport,
    readonly options: ReplyQueueOptions,
  ) {}

  /** Bytes that have left, for telling whether a client takes anything. */
  get sentBytes(): number {
    return this.#sentBytes + this.#sender.sentBytes;
  }

  get isEmpty(): boolean {
    return this.#sender.count === 0;
  }

  onReply(): void {
    this.options.onReply();
  }

  mayLend(lengthBytes: number): boolean {
    return this.transport.fd >= 0 && this.#lentBytes + lengthBytes <= LENT_MOST_BYTES;
  }

  hasRoom(lengthBytes: number): boolean {
    if (this.#fits(lengthBytes)) return true;
    this.flush();
    return this.#fits(lengthBytes);
  }

  #fits(lengthBytes: number): boolean {
    return (
      this.at + lengthBytes + RESERVE_BYTES <= OWN_BYTES &&
      this.#sender.count + 2 + RESERVE_SEGMENTS <= SEGMENTS_MOST &&
      this.queuedBytes < QUEUED_MOST_BYTES
    );
  }

  push(lengthBytes: number): void {
    const last = this.#sender.count - 1;
    const isAdjacent =
      last >= this.#sender.first &&
      this.#from[last] === this.memory &&
      this.#fromAt[last]! + this.#sender.lengthOf(last) === this.at;
    if (isAdjacent) this.#sender.extendLast(lengthBytes);
    else this.#add(this.memory, this.at, lengthBytes, false);
    this.at += lengthBytes;
    this.queuedBytes += isAdjacent ? lengthBytes : 0;
  }

  #add(memory: Memory, at: number, lengthBytes: number, owned: boolean): void {
    const i = this.#sender.count;
    this.#from[i] = memory;
    this.#fromAt[i] = at;
    this.#owned[i] = owned;
    this.#sender.push(memory.address + at, lengthBytes);
    this.queuedBytes += lengthBytes;
  }

  pushBuffer(buffer: Memory, at: number, lengthBytes: number): void {
    if (this.#closed || this.failed) this.giveBuffer(buffer);
    else this.#add(buffer, at, lengthBytes, true);
  }

  pushLent(address: number, storage: BlockStorage, sector: number, count: number): void {
    const i = this.#sender.count;
    const lengthBytes = count * SECTOR_BYTES;
    this.#from[i] = undefined;
    this.#owned[i] = false;
    this.#lentBy[i] = storage;
    this.#lentSector[i] = sector;
    this.#lentBytes += lengthBytes;
    this.options.lending.add(this);
    this.#sender.push(address, lengthBytes);
    this.queuedBytes += lengthBytes;
  }

  takeBuffer(dataBytes: number): Memory | undefined {
    return this.options.pool.take(dataBytes);
  }

  giveBuffer(buffer: Memory): void {
    this.options.pool.give(buffer);
  }

  settleLent(): void {
    for (const queue of this.options.lending) queue.keepLent();
  }

  /** Sends what was lent, or copies what the socket has no room for: it is not lent beyond this. */
  keepLent(): void {
    if (this.#lentBytes === 0) return;
    if (!this.failed && this.#send() === BLOCKED) this.#copyLent();
    this.#forgetLent();
  }

  /** Sends what is queued, as far as the socket takes it. */
  flush(): void {
    if (this.#closed || this.failed || this.#sender.count === 0) return;
    if (this.transport.fd >= 0 && this.#send() !== BLOCKED) return;
    if (this.#lentBytes > 0) return;
    this.#writeThroughBun();
  }

  /** As `flush` does; what is still lent then, and has to wait, is copied. */
  flushTurn(): void {
    this.flush();
    if (this.#lentBytes === 0) return;
    this.keepLent();
    this.flush();
  }

  /** One attempt of the kernel. Returns BLOCKED where something is left for later. */
  #send(): number {
    const queued = this.#sender.count;
    const outcome = this.#sender.send(this.transport.fd);
    this.#release(queued);
    if (outcome === FAULT || outcome === FAILED) this.#fail();
    return outcome === BLOCKED ? BLOCKED : SENT;
  }

  /** Bun sends when the kernel would not, since it says when there is room again only to those who asked it. */
  #writeThroughBun(): void {
    const sender = this.#sender;
    while (sender.count > 0) {
      const i = sender.first;
      const from = this.#fromAt[i]! + sender.sentBytes;
      const end = this.#fromAt[i]! + sender.lengthOf(i);
      const written = this.transport.write(this.#from[i]!.bytes.subarray(from, end));
      if (written < 0) {
        this.#fail();
        return;
      }
      const queued = sender.count;
      sender.advance(written);
      this.#release(queued);
      if (written < end - from) return;
    }
  }

  /** Gives back what has left: everything before the sender's first, or all of it. */
  #release(queued: number): void {
    const sender = this.#sender;
    const end = sender.count === 0 ? queued : sender.first;
    for (let i = this.#released; i < end; i++) {
      const lengthBytes = sender.lengthOf(i);
      this.queuedBytes -= lengthBytes;
      this.#sentBytes += lengthBytes;
      if (this.#lentBy[i] !== undefined) {
        this.#lentBy[i] = undefined;
        this.#lentBytes -= lengthBytes;
      } else if (this.#owned[i]) {
        this.giveBuffer(this.#from[i]!);
        this.#owned[i] = false;
      }
    }
    this.#released = sender.count === 0 ? 0 : end;
    if (this.#lentBytes === 0) this.options.lending.delete(this);
    if (sender.count === 0) this.at = 0;
  }

  /** Takes copies of what is lent and has not left. Where that cannot be read any more, the reply cannot be kept. */
  #copyLent(): void {
    const sender = this.#sender;
    for (let i = sender.first; i < sender.count; i++) {
      const storage = this.#lentBy[i];
      if (storage === undefined) continue;
      const lengthBytes = sender.lengthOf(i);
      const buffer = this.options.pool.takeAnyway(lengthBytes);
      const sector = this.#lentSector[i]!;
      if (storage.tryRead(sector, lengthBytes / SECTOR_BYTES, buffer, BUFFER_DATA_AT) !== OK) {
        this.giveBuffer(buffer);
        this.#fail();
        return;
      }
      this.#lentBy[i] = undefined;
      this.#from[i] = buffer;
      this.#fromAt[i] = BUFFER_DATA_AT;
      this.#owned[i] = true;
      sender.replace(i, buffer.address + BUFFER_DATA_AT);
    }
  }

  #forgetLent(): void {
    this.#lentBytes = 0;
    this.options.lending.delete(this);
  }

  #fail(): void {
    this.failed = true;
    this.onReply();
  }

  /** Gives everything back. No request may be in flight. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (let i = this.#released; i < this.#sender.count; i++) if (this.#owned[i]) this.giveBuffer(this.#from[i]!);
    this.options.lending.delete(this);
    this.#sender.close();
    freeMemory(this.memory);
  }
}
