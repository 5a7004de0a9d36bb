/**
 * Receiving from and sending to a stream socket past Bun, straight from and into memory of ours: what Bun receives is
 * copied twice before anyone has it. The descriptor stays Bun's.
 */
import { EAGAIN, EFAULT, EINTR, errno, libc } from "./libc.ts";
import { allocateMemory, freeMemory } from "./memory.ts";
import { iovec, msghdr } from "./structs.ts";

const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;

/** Nothing is there now. 0 is the end of the stream. */
export const NOTHING = -1;
/** The connection has failed. */
export const BROKEN = -2;

/** Receives up to `lengthBytes` without waiting; returns how many there were, 0, NOTHING or BROKEN. */
export function receive(fd: number, address: number, lengthBytes: number): number {
  for (;;) {
    const received = Number(libc.recv(fd, address, lengthBytes, MSG_DONTWAIT));
    if (received >= 0) return received;
    const reason = errno();
    if (reason !== EINTR) return reason === EAGAIN ? NOTHING : BROKEN;
  }
}

/** How `send` ended. */
export const SENT = 0;
/** The socket's buffer is full. */
export const BLOCKED = 1;
/** The first segment left could not be read: its page is gone, or its medium failed. */
export const FAULT = 2;
/** The connection has failed. */
export const FAILED = 3;

export interface StreamSender {
  readonly capacity: number;
  /** Segments queued, of which those before `first` have left. */
  count: number;
  first: number;
  /** How much has left of segment `first`. */
  sentBytes: number;
  lengthOf(i: number): number;
  /** Queues memory to be sent. */
  push(address: number, lengthBytes: number): void;
  /** Makes the last segment, of which nothing has been sent, longer. */
  extendLast(lengthBytes: number): void;
  /** Has segment `i`, which has not left yet, be taken from elsewhere. */
  replace(i: number, address: number): void;
  /** Sends what is queued, without waiting; when all has left, the queue is empty. */
  send(fd: number): number;
  /** Takes note of bytes that were sent by other means. */
  advance(lengthBytes: number): void;
  close(): void;
}

/** A queue of memory to be sent, gathered by the kernel (sendmsg). */
export function openStreamSender(capacity: number): StreamSender {
  return new Sender(capacity);
}

class Sender implements StreamSender {
  count = 0;
  first = 0;
  sentBytes = 0;
  readonly #memory;
  readonly #words: Uint32Array;
  readonly #lengths: Float64Array;
  readonly #messageAt: number;

  constructor(readonly capacity: number) {
    this.#messageAt = capacity * iovec.bytes;
    this.#memory = allocateMemory(this.#messageAt + msghdr.bytes);
    this.#words = new Uint32Array(this.#memory.bytes.buffer as ArrayBuffer, 0, (this.#messageAt + msghdr.bytes) >> 2);
    this.#lengths = new Float64Array(capacity);
  }

  lengthOf(i: number): number {
    return this.#lengths[i]!;
  }

  #setAddress(at: number, address: number): void {
    this.#words[at >> 2] = address >>> 0;
    this.#words[(at >> 2) + 1] = address / 0x1_0000_0000;
  }

  push(address: number, lengthBytes: number): void {
    const i = this.count++;
    this.#lengths[i] = lengthBytes;
    this.#setAddress(i * iovec.bytes + iovec.iov_base, address);
    this.#words[(i * iovec.bytes + iovec.iov_len) >> 2] = lengthBytes;
  }

  extendLast(lengthBytes: number): void {
    const i = this.count - 1;
    this.#lengths[i]! += lengthBytes;
    this.#words[(i * iovec.bytes + iovec.iov_len) >> 2]! += lengthBytes;
  }

  replace(i: number, address: number): void {
    this.#setAddress(i * iovec.bytes + iovec.iov_base, address + (i === this.first ? this.sentBytes : 0));
  }

  send(fd: number): number {
    while (this.first < this.count) {
      const { address } = this.#memory;
      this.#setAddress(this.#messageAt + msghdr.msg_iov, address + this.first * iovec.bytes);
      this.#words[(this.#messageAt + msghdr.msg_iovlen) >> 2] = this.count - this.first;
      const sent = Number(libc.sendmsg(fd, address + this.#messageAt, MSG_DONTWAIT | MSG_NOSIGNAL));
      if (sent >= 0) {
        this.advance(sent);
        continue;
      }
      const reason = errno();
      if (reason === EAGAIN) return BLOCKED;
      if (reason === EFAULT) return FAULT;
      if (reason !== EINTR) return FAILED;
    }
    return SENT;
  }

  advance(lengthBytes: number): void {
    let left = lengthBytes;
    while (left > 0) {
      const leftOfFirst = this.#lengths[this.first]! - this.sentBytes;
      if (left < leftOfFirst) {
        this.#moveFirst(left);
        return;
      }
      left -= leftOfFirst;
      this.first++;
      this.sentBytes = 0;
    }
    if (this.first < this.count) return;
    this.first = 0;
    this.count = 0;
  }

  /** Leaves out what has been sent of the first segment. */
  #moveFirst(lengthBytes: number): void {
    const at = (this.first * iovec.bytes) >> 2;
    const address = this.#words[at]! + this.#words[at + 1]! * 0x1_0000_0000;
    this.sentBytes += lengthBytes;
    this.#setAddress(this.first * iovec.bytes, address + lengthBytes);
    this.#words[at + (iovec.iov_len >> 2)]! -= lengthBytes;
  }

  close(): void {
    freeMemory(this.#memory);
  }
}
