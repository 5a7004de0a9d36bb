/**
 * An AoE initiator's end of one interface: sends requests, matches replies by tag, sends again what got no answer.
 * It looks for frames from the event loop and gives it back after each look, so that a target may run in the same process.
 */
import { readInterface, type InterfaceInfo } from "../../ffi/interface.ts";
import { ENETDOWN, libc, SystemError } from "../../ffi/libc.ts";
import { allocateMemory, freeMemory } from "../../ffi/memory.ts";
import {
  attachFilter,
  bindPacketSocket,
  openPacketSocket,
  receiveFrame,
  sendFrame,
  setBufferBytes,
  waitForFrame,
  type FilterInstruction,
} from "../../ffi/packet.ts";
import { AT_VERSION_FLAGS, ETHERTYPE_AOE, FLAG_RESPONSE } from "../protocol/aoe/frame.ts";
import { tagOf } from "./replies.ts";
import { setTag } from "./requests.ts";

/** Room for a frame at any MTU: that of the loopback interface is 65536. */
const FRAME_MOST_BYTES = 128 * 1024;
const SOCKET_BUFFER_BYTES = 8 * 1024 * 1024;
const DEFAULT_TIMEOUT_MS = 5000;
/** How long after the last frame the socket is looked at in every turn of the event loop, and how often later. */
const BUSY_MS = 2;
const IDLE_LOOK_MS = 1;
const RETRANSMIT_FIRST_MS = 200;
const RETRANSMIT_LEAST_MS = 100;
const RETRANSMIT_MOST_MS = 2000;
/** After this long a reply can be taken for lost. */
const FORGET_MS = 10_000;
/** So many at most in one turn of the event loop. */
const FRAMES_PER_LOOK = 256;
/** Linux uses the tags from 2^31 for frames that it does not wait for. */
const TAG_MASK = 0x7fffffff;

/** Drops requests, of which on `lo` our own come back: load byte 14, drop unless it has the response flag. */
const REPLIES_ONLY: readonly FilterInstruction[] = [
  [0x30, 0, 0, AT_VERSION_FLAGS],
  [0x45, 0, 1, FLAG_RESPONSE],
  [0x06, 0, 0, 0xffffffff],
  [0x06, 0, 0, 0],
];

export interface InitiatorCounters {
  /** Requests sent, retransmissions included. */
  sent: number;
  /** Of those, how many were answered, however late. */
  answered: number;
  retransmitted: number;
  /** Frames that answered nothing of ours: announcements, duplicates. */
  unrelated: number;
}

export interface RequestOptions {
  /** By default 5000. */
  readonly timeoutMs?: number;
  /** Whether to send again, with a new tag, what is not answered in good time. By default true. */
  readonly retransmit?: boolean;
}

/** `reply` is undefined when the time was over, and otherwise only valid until this function returns. */
export type RequestEnd = (reply: Uint8Array | undefined, roundTripMs: number) => void;

export interface Initiator {
  readonly interface: InterfaceInfo;
  readonly counters: Readonly<InitiatorCounters>;
  /** Sends a request under a tag of its own, which is written into `frame`, and tells its end. */
  request(frame: Uint8Array, options: RequestOptions, end: RequestEnd): void;
  /** The same as a promise, of a copy. */
  ask(frame: Uint8Array, options?: RequestOptions): Promise<Uint8Array | undefined>;
  /** Sends a frame, malformed or not, once and as it is. The first reply with its tag, or undefined for silence. */
  exchange(frame: Uint8Array, options?: { timeoutMs?: number }): Promise<Uint8Array | undefined>;
  /** Sends a request under a tag of its own and hands over every reply that arrives in the time, as copies. */
  collect(frame: Uint8Array, windowMs: number, onReply: (reply: Uint8Array) => void): Promise<void>;
  /** Hands over a copy of every frame with the response flag, announcements too, until the function returned is called. */
  listen(listener: (frame: Uint8Array) => void): () => void;
  /** Ends what is outstanding as unanswered. */
  close(): void;
}

interface Pending {
  readonly frame: Uint8Array;
  readonly end: RequestEnd;
  readonly deadlineMs: number;
  /** More than one reply is wanted. */
  readonly many: boolean;
  /** The frame keeps the tag it has. */
  readonly raw: boolean;
  readonly retransmit: boolean;
  retransmitAtMs: number;
  waitMs: number;
  done: boolean;
}

interface Transmission {
  readonly pending: Pending;
  readonly sentAtMs: number;
}

export interface InitiatorOptions {
  /**
   * How long each look for frames may sleep in the kernel, which holds up everything else in this process. 0, the
   * default, is right where other work goes on, above all a target; more is kinder to the machine and more precise.
   */
  readonly sleepMs?: number;
}

/**
 * Opens an interface for AoE. Throws `SystemError`: no such interface, it is down, or no permission for raw sockets
 * (with what grants it).
 */
export function openInitiator(interfaceName: string, { sleepMs = 0 }: InitiatorOptions = {}): Initiator {
  const info = readInterface(interfaceName);
  if (!info.ethernet) throw new Error(`interface ${interfaceName} carries no Ethernet frames`);
  if (!info.up) throw new SystemError(`interface ${interfaceName} (ip link set ${interfaceName} up)`, ENETDOWN);
  const fd = openPacketSocket();
  try {
    setBufferBytes(fd, SOCKET_BUFFER_BYTES, SOCKET_BUFFER_BYTES);
    attachFilter(fd, REPLIES_ONLY);
    bindPacketSocket(fd, info.index, ETHERTYPE_AOE);
  } catch (error) {
    libc.close(fd);
    throw error;
  }
  const received = allocateMemory(FRAME_MOST_BYTES);
  const outgoing = allocateMemory(FRAME_MOST_BYTES);
  const transmissions = new Map<number, Transmission>();
  const pendings = new Set<Pending>();
  const listeners = new Set<(frame: Uint8Array) => void>();
  const counters: InitiatorCounters = { sent: 0, answered: 0, retransmitted: 0, unrelated: 0 };
  let nextTag = Math.floor(Math.random() * TAG_MASK);
  let averageMs = 0;
  let deviationMs = 0;
  let busyUntilMs = 0;
  let checkAtMs = 0;
  let forgetAtMs = 0;
  let scheduled = false;
  let closed = false;

  function transmit(pending: Pending, nowMs: number): void {
    const { frame } = pending;
    if (!pending.raw) {
      do nextTag = (nextTag + 1) & TAG_MASK;
      while (transmissions.has(nextTag));
      setTag(frame, nextTag);
    }
    outgoing.bytes.set(frame);
    // Full queues are like a loss on the way: the next attempt comes with the retransmission.
    if (!sendFrame(fd, outgoing, frame.length)) return;
    counters.sent++;
    transmissions.set(tagOf(frame), { pending, sentAtMs: nowMs });
  }

  function start(
    frame: Uint8Array,
    { timeoutMs = DEFAULT_TIMEOUT_MS, retransmit = true }: RequestOptions,
    end: RequestEnd,
    kind: { many?: boolean; raw?: boolean } = {},
  ): void {
    if (closed) throw new Error(`the initiator on ${interfaceName} is closed`);
    if (frame.length > outgoing.lengthBytes)
      throw new Error(`a frame of ${frame.length} bytes is too long for any MTU`);
    const nowMs = performance.now();
    const waitMs =
      averageMs === 0 ? RETRANSMIT_FIRST_MS : Math.max(RETRANSMIT_LEAST_MS, 2 * averageMs + 8 * deviationMs);
    const pending: Pending = {
      frame,
      end,
      deadlineMs: nowMs + timeoutMs,
      many: kind.many ?? false,
      raw: kind.raw ?? false,
      retransmit,
      retransmitAtMs: nowMs + waitMs,
      waitMs,
      done: false,
    };
    transmit(pending, nowMs);
    pendings.add(pending);
    busyUntilMs = nowMs + BUSY_MS;
    schedule();
  }

  function finish(pending: Pending, reply: Uint8Array | undefined, roundTripMs: number): void {
    pending.done = true;
    pendings.delete(pending);
    pending.end(reply, roundTripMs);
  }

  function accept(frame: Uint8Array, nowMs: number): void {
    for (const listener of listeners) listener(frame.slice());
    const tag = tagOf(frame);
    const transmission = transmissions.get(tag);
    if (!transmission) {
      counters.unrelated++;
      return;
    }
    const { pending, sentAtMs } = transmission;
    counters.answered++;
    if (pending.many) {
      if (!pending.done) pending.end(frame, nowMs - sentAtMs);
      return;
    }
    transmissions.delete(tag);
    // Linux's estimate (drivers/block/aoe/aoecmd.c): every transmission has its own tag, so each sample is exact.
    const roundTripMs = nowMs - sentAtMs;
    averageMs = averageMs === 0 ? roundTripMs : averageMs + (roundTripMs - averageMs) / 8;
    deviationMs += (Math.abs(roundTripMs - averageMs) - deviationMs) / 4;
    if (!pending.done) finish(pending, frame, roundTripMs);
  }

  function checkTimes(nowMs: number): void {
    for (const pending of pendings) {
      if (nowMs >= pending.deadlineMs) {
        finish(pending, undefined, 0);
      } else if (pending.retransmit && nowMs >= pending.retransmitAtMs) {
        pending.waitMs = Math.min(RETRANSMIT_MOST_MS, pending.waitMs * 2);
        pending.retransmitAtMs = nowMs + pending.waitMs;
        transmitAgain(pending, nowMs);
      }
    }
    if (nowMs < forgetAtMs) return;
    forgetAtMs = nowMs + FORGET_MS;
    for (const [tag, { pending, sentAtMs }] of transmissions) {
      if (pending.done && nowMs - sentAtMs > FORGET_MS) transmissions.delete(tag);
    }
  }

  function transmitAgain(pending: Pending, nowMs: number): void {
    counters.retransmitted++;
    try {
      transmit(pending, nowMs);
    } catch (error) {
      // The interface went down or away after the first attempt went out. It may come back before the time is over.
      if (!(error instanceof SystemError)) throw error;
    }
  }

  function look(): void {
    scheduled = false;
    if (closed) return;
    if (sleepMs > 0) waitForFrame(fd, sleepMs);
    for (let i = 0; i < FRAMES_PER_LOOK; i++) {
      const length = receiveFrame(fd, received);
      if (length < 0) break;
      const nowMs = performance.now();
      busyUntilMs = nowMs + BUSY_MS;
      accept(received.bytes.subarray(0, length), nowMs);
      if (closed) return;
    }
    const nowMs = performance.now();
    if (nowMs >= checkAtMs) {
      checkAtMs = nowMs + 1;
      checkTimes(nowMs);
    }
    schedule();
  }

  function schedule(): void {
    if (scheduled || closed || (pendings.size === 0 && listeners.size === 0)) return;
    scheduled = true;
    if (sleepMs > 0 || performance.now() < busyUntilMs) setImmediate(look);
    else setTimeout(look, IDLE_LOOK_MS);
  }

  const ask = (frame: Uint8Array, options: RequestOptions, raw: boolean): Promise<Uint8Array | undefined> =>
    new Promise((resolve) => start(frame, options, (reply) => resolve(reply?.slice()), { raw }));

  return {
    interface: info,
    counters,
    request: (frame, options, end) => start(frame, options, end),
    ask: (frame, options = {}) => ask(frame, options, false),
    exchange: (frame, { timeoutMs = 1000 } = {}) => ask(frame, { timeoutMs, retransmit: false }, true),
    collect: (frame, windowMs, onReply) =>
      new Promise((resolve) => {
        const options = { timeoutMs: windowMs, retransmit: false };
        start(frame, options, (reply) => (reply ? onReply(reply.slice()) : resolve()), { many: true });
      }),
    listen(listener) {
      listeners.add(listener);
      schedule();
      return () => void listeners.delete(listener);
    },
    close() {
      if (closed) return;
      closed = true;
      libc.close(fd);
      for (const pending of pendings) finish(pending, undefined, 0);
      // Later, since this may be called by somebody who is still reading a reply.
      setImmediate(() => {
        freeMemory(received);
        freeMemory(outgoing);
      });
    },
  };
}
