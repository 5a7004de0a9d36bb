/** A target asked directly, as the packet link asks it: no socket, no process. */
import { allocateMemory } from "../../ffi/memory.ts";
import { answer, isAddressed, isRequest } from "../../src/protocol/aoe/answer.ts";
import { AT_SHELF, AT_SLOT, AT_SOURCE } from "../../src/protocol/aoe/frame.ts";
import type { AoeLink } from "../../src/protocol/aoe/link.ts";
import { readMac, writeMac, type Mac } from "../../src/protocol/aoe/mac.ts";
import { PENDING_BODY_AT, PendingRequest } from "../../src/protocol/aoe/pending-request.ts";
import { KEPT, REPLY, SILENCE, type Reply } from "../../src/protocol/aoe/reply.ts";
import { AoeTarget, type TargetState } from "../../src/protocol/aoe/target.ts";
import type { BlockStorage } from "../../src/storage/block-storage.ts";
import { memoryStorage } from "../../src/storage/memory-storage.ts";

export const serverMac: Mac = 0x02_00_00_00_00_01;
/** The initiator of a test that needs no more than one. */
export const clientMac: Mac = 0x02_00_00_00_00_02;
export const targetAddress = { shelf: 1, slot: 0 };

const FRAME_MOST_BYTES = 128 * 1024;
/** Frames lie in a ring slot behind the kernel's header, at no round address. */
const REQUEST_AT = 82;
const REPLY_HEADER_AT = 0;
const REPLY_BODY_AT = 4096;
/** What memory holds that an answer must not let out, or count on. */
const STALE_REPLY = 0x5a;
const STALE_REQUEST = 0xa5;

export interface ExchangeOptions {
  readonly storage?: BlockStorage;
  readonly state?: Partial<TargetState>;
  readonly maskFloor?: readonly Mac[];
  readonly mtuBytes?: number;
  /** By default `targetAddress`. */
  readonly address?: { shelf: number; slot: number };
  /** Most requests that may wait for a storage at a time. */
  readonly mostPending?: number;
  readonly save?: (state: TargetState) => Promise<void>;
}

export interface Exchange {
  readonly target: AoeTarget;
  /** States that were made durable. */
  readonly saved: TargetState[];
  /** Replies that left, in their order. */
  readonly sent: Uint8Array[];
  /** Requests that wait for a storage or for a change to be saved. */
  readonly keptCount: number;
  /** Hands over a frame and says what became of it: SILENCE, REPLY or KEPT. A REPLY is the last of `sent`. */
  take(frame: Uint8Array): number;
  /** Hands over a frame and waits for its reply; undefined for silence. */
  ask(frame: Uint8Array): Promise<Uint8Array | undefined>;
  /** Like `ask`, where silence is a mistake. */
  replyTo(frame: Uint8Array): Promise<Uint8Array>;
}

/** A target 1.0 with an empty state on 64 sectors of memory behind an interface of MTU 1500, unless told otherwise. */
export function openExchange(options: ExchangeOptions = {}): Exchange {
  const { mtuBytes = 1500, mostPending = 256, maskFloor = [], address = targetAddress } = options;
  const saved: TargetState[] = [];
  const sent: Uint8Array[] = [];
  const save = options.save ?? (() => Promise.resolve());
  const target = new AoeTarget(
    address.shelf,
    address.slot,
    options.storage ?? memoryStorage(64),
    { configString: new Uint8Array(0), mask: maskFloor, reservations: [], ...options.state },
    maskFloor,
    async (state) => {
      await save(state);
      saved.push(state);
    },
  );

  const mac = new Uint8Array(6);
  writeMac(mac, 0, serverMac);
  let pendingCount = 0;
  const free: PendingRequest[] = [];
  const ends = new Map<PendingRequest, (reply: Uint8Array) => void>();
  let lastPending: PendingRequest | undefined;
  const link: AoeLink = {
    mtuBytes,
    mac,
    takePending() {
      if (pendingCount >= mostPending) return undefined;
      pendingCount++;
      lastPending = free.pop() ?? new PendingRequest(allocateMemory(PENDING_BODY_AT + Math.max(mtuBytes, 2048)), link);
      lastPending.memory.bytes.fill(STALE_REPLY, 0, PENDING_BODY_AT);
      return lastPending;
    },
    finishPending(pending) {
      pendingCount--;
      const { bytes } = pending.memory;
      const reply = new Uint8Array(pending.headerBytes + pending.bodyBytes);
      reply.set(bytes.subarray(0, pending.headerBytes));
      reply.set(bytes.subarray(PENDING_BODY_AT, PENDING_BODY_AT + pending.bodyBytes), pending.headerBytes);
      sent.push(reply);
      free.push(pending);
      ends.get(pending)?.(reply);
      ends.delete(pending);
    },
  };
  const request = allocateMemory(FRAME_MOST_BYTES);
  const replyMemory = allocateMemory(FRAME_MOST_BYTES);
  const reply: Reply = {
    memory: replyMemory,
    headerAt: REPLY_HEADER_AT,
    bodyAt: REPLY_BODY_AT,
    headerBytes: 0,
    bodyBytes: 0,
    lentAddress: 0,
  };

  const take = (frame: Uint8Array): number => {
    request.bytes.set(frame, REQUEST_AT);
    request.bytes.fill(STALE_REQUEST, REQUEST_AT + frame.length, REQUEST_AT + frame.length + 2048);
    replyMemory.bytes.fill(STALE_REPLY, 0, 64);
    if (!isRequest(request, REQUEST_AT, frame.length)) return SILENCE;
    const shelf = request.view.getUint16(REQUEST_AT + AT_SHELF);
    if (!isAddressed(target, shelf, request.bytes[REQUEST_AT + AT_SLOT]!)) return SILENCE;
    const source = readMac(request.bytes, REQUEST_AT + AT_SOURCE);
    const outcome = answer(target, link, request, REQUEST_AT, frame.length, source, reply);
    // The slot is the kernel's again once the answer is there: what is kept must not point into it.
    request.bytes.fill(STALE_REQUEST, REQUEST_AT, REQUEST_AT + frame.length);
    if (outcome === REPLY) {
      const { bytes } = replyMemory;
      const built = new Uint8Array(reply.headerBytes + reply.bodyBytes);
      built.set(bytes.subarray(REPLY_HEADER_AT, REPLY_HEADER_AT + reply.headerBytes));
      built.set(bytes.subarray(REPLY_BODY_AT, REPLY_BODY_AT + reply.bodyBytes), reply.headerBytes);
      sent.push(built);
    }
    return outcome;
  };
  const ask = async (frame: Uint8Array): Promise<Uint8Array | undefined> => {
    const outcome = take(frame);
    if (outcome === SILENCE) return undefined;
    if (outcome !== KEPT) return sent.at(-1)!;
    const pending = lastPending!;
    return new Promise((resolve) => {
      ends.set(pending, resolve);
    });
  };
  return {
    target,
    saved,
    sent,
    get keptCount() {
      return pendingCount;
    },
    take,
    ask,
    async replyTo(frame) {
      const answered = await ask(frame);
      if (answered === undefined) throw new Error(`no answer to ${Buffer.from(frame.subarray(0, 40)).toString("hex")}`);
      return answered;
    },
  };
}
