/**
 * Sending with `sendmmsg`: many frames a system call, each gathered by the kernel from a header in this process's
 * memory and a body that may be anywhere, such as the mapped page cache of a file. That is one copy from the disk's
 * cache into the frame, where a PACKET_TX_RING makes two (docs/decisions/0002-packet-path.md).
 */
import type { Memory } from "../src/base/memory.ts";
import { EAGAIN, EFAULT, EINTR, ENETDOWN, ENOBUFS, errno, libc } from "./libc.ts";
import { allocateMemory, freeMemory } from "./memory.ts";
import { iovec, mmsghdr, msghdr } from "./structs.ts";

const MSG_DONTWAIT = 0x40;
const HEADER_BYTES = 64;
const PAGE_BYTES = 4096;

/** How `flush` ended. */
export const SENT = 0;
/** The socket's buffer is full: flush again when there is room. */
export const BLOCKED = 1;
/** The body of the first message left could not be read: its page is gone, or its medium failed. */
export const FAULT = 2;
/** The first message left was refused for `failure`, an error number. */
export const REFUSED = 3;

export interface PacketSender {
  readonly memory: Memory;
  /** Messages queued. At most `capacity`. */
  count: number;
  readonly capacity: number;
  /** The first of them that has not been sent. */
  first: number;
  /** Error number of the last REFUSED. */
  failure: number;
  /** Where message `i` has its header (64 bytes), and its own body (page-aligned, a frame's worth), in `memory`. */
  headerAt(i: number): number;
  bodyAt(i: number): number;
  /** Queues the next message, whose header is in place. `bodyAddress` 0: the message's own body. */
  push(headerBytes: number, bodyAddress: number, bodyBytes: number): void;
  /** Sends what is queued, in order, and empties the queue when all is sent. */
  flush(): number;
  /** Drops the first message left: it was refused, or is answered otherwise. */
  skip(): void;
  /** Has message `i`, which was queued with a body elsewhere, take its own body instead, whose bytes are in place. */
  useOwnBody(i: number): void;
  /** Takes message `i`, which has not been sent, out of the queue. The last message takes its place. */
  withdraw(i: number): void;
  close(): void;
}

/** A sender of up to `capacity` messages at once with bodies of up to `bodyMostBytes` for a packet socket. */
export function openPacketSender(fd: number, capacity: number, bodyMostBytes: number): PacketSender {
  return new Sender(fd, capacity, Math.ceil(bodyMostBytes / PAGE_BYTES) * PAGE_BYTES);
}

class Sender implements PacketSender {
  readonly memory: Memory;
  count = 0;
  first = 0;
  failure = 0;
  readonly #messagesAt: number;
  readonly #vectorsAt: number;
  readonly #bodiesAt: number;
  readonly #words: Uint32Array;

  constructor(
    readonly fd: number,
    readonly capacity: number,
    readonly bodyStrideBytes: number,
  ) {
    // Headers, messages and vectors side by side, so that a batch touches few cache lines; then the bodies.
    this.#messagesAt = capacity * HEADER_BYTES;
    this.#vectorsAt = this.#messagesAt + capacity * mmsghdr.bytes;
    this.#bodiesAt = Math.ceil((this.#vectorsAt + capacity * 2 * iovec.bytes) / PAGE_BYTES) * PAGE_BYTES;
    this.memory = allocateMemory(this.#bodiesAt + capacity * bodyStrideBytes);
    this.#words = new Uint32Array(this.memory.bytes.buffer as ArrayBuffer, 0, this.#bodiesAt >> 2);
    for (let i = 0; i < capacity; i++) {
      const vectorAt = this.#vectorsAt + i * 2 * iovec.bytes;
      this.#setAddress(this.#messagesAt + i * mmsghdr.bytes + msghdr.msg_iov, this.memory.address + vectorAt);
      this.#setAddress(vectorAt + iovec.iov_base, this.memory.address + this.headerAt(i));
    }
  }

  #setAddress(at: number, address: number): void {
    this.#words[at >> 2] = address >>> 0;
    this.#words[(at >> 2) + 1] = address / 0x1_0000_0000;
  }

  headerAt(i: number): number {
    return i * HEADER_BYTES;
  }

  bodyAt(i: number): number {
    return this.#bodiesAt + i * this.bodyStrideBytes;
  }

  push(headerBytes: number, bodyAddress: number, bodyBytes: number): void {
    const i = this.count++;
    const vectorAt = this.#vectorsAt + i * 2 * iovec.bytes;
    this.#words[(vectorAt + iovec.iov_len) >> 2] = headerBytes;
    const messageAt = this.#messagesAt + i * mmsghdr.bytes;
    if (bodyBytes === 0) {
      this.#words[(messageAt + msghdr.msg_iovlen) >> 2] = 1;
      return;
    }
    this.#words[(messageAt + msghdr.msg_iovlen) >> 2] = 2;
    const bodyVectorAt = this.#bodyVectorAt(i);
    this.#setAddress(bodyVectorAt, bodyAddress === 0 ? this.memory.address + this.bodyAt(i) : bodyAddress);
    this.#words[(bodyVectorAt + iovec.iov_len) >> 2] = bodyBytes;
  }

  flush(): number {
    let mayBeOld = true;
    while (this.first < this.count) {
      const address = this.memory.address + this.#messagesAt + this.first * mmsghdr.bytes;
      const sent = libc.sendmmsg(this.fd, address, this.count - this.first, MSG_DONTWAIT);
      if (sent > 0) {
        this.first += sent;
        continue;
      }
      const reason = errno();
      if (reason === EINTR) continue;
      if (reason === EAGAIN || reason === ENOBUFS) return BLOCKED;
      if (reason === EFAULT) return FAULT;
      // A socket says once that its interface went down, also when that is up again by now.
      if (reason === ENETDOWN && mayBeOld) {
        mayBeOld = false;
        continue;
      }
      this.failure = reason;
      return REFUSED;
    }
    this.count = 0;
    this.first = 0;
    return SENT;
  }

  skip(): void {
    this.first++;
  }

  #bodyVectorAt(i: number): number {
    return this.#vectorsAt + (i * 2 + 1) * iovec.bytes;
  }

  useOwnBody(i: number): void {
    this.#setAddress(this.#bodyVectorAt(i) + iovec.iov_base, this.memory.address + this.bodyAt(i));
  }

  withdraw(i: number): void {
    const last = --this.count;
    if (i === last) return;
    const { bytes } = this.memory;
    const words = this.#words;
    bytes.copyWithin(this.headerAt(i), this.headerAt(last), this.headerAt(last) + HEADER_BYTES);
    bytes.copyWithin(this.bodyAt(i), this.bodyAt(last), this.bodyAt(last) + this.bodyStrideBytes);
    const vectorCountAt = msghdr.msg_iovlen + this.#messagesAt;
    words[(vectorCountAt + i * mmsghdr.bytes) >> 2] = words[(vectorCountAt + last * mmsghdr.bytes) >> 2]!;
    const headerLengthAt = iovec.iov_len - iovec.bytes;
    words[(this.#bodyVectorAt(i) + headerLengthAt) >> 2] = words[(this.#bodyVectorAt(last) + headerLengthAt) >> 2]!;
    bytes.copyWithin(this.#bodyVectorAt(i), this.#bodyVectorAt(last), this.#bodyVectorAt(last) + iovec.bytes);
    const at = this.#bodyVectorAt(i) + iovec.iov_base;
    const ownAddress = this.memory.address + this.bodyAt(last);
    if (words[at >> 2]! + words[(at >> 2) + 1]! * 0x1_0000_0000 === ownAddress) this.useOwnBody(i);
  }

  close(): void {
    freeMemory(this.memory);
  }
}
