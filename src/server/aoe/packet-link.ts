/**
 * One interface: its packet socket, the ring that requests arrive in, and the sender that replies leave by. The way of
 * a request is `drain` -> `take` -> protocol/aoe/answer.ts -> the storage -> `flush`.
 */
import type { InterfaceInfo } from "../../../ffi/interface.ts";
import { errorName, libc } from "../../../ffi/libc.ts";
import { allocateMemory, freeMemory } from "../../../ffi/memory.ts";
import { openPacketRing, type PacketRing } from "../../../ffi/packet-ring.ts";
import { BLOCKED, FAULT, openPacketSender, REFUSED, SENT, type PacketSender } from "../../../ffi/packet-sender.ts";
import { attachFilter, bindPacketSocket, openPacketSocket, setBufferBytes } from "../../../ffi/packet.ts";
import { armSignals, ownSignals } from "../../../ffi/signal-io.ts";
import { announcements } from "../../protocol/aoe/announcement.ts";
import { answer, isAddressed, isRequest } from "../../protocol/aoe/answer.ts";
import { isWrite, keepRead, requestSector } from "../../protocol/aoe/ata.ts";
import {
  AT_ATA_DATA,
  AT_ATA_SECTOR_COUNT,
  AT_SHELF,
  AT_SLOT,
  AT_SOURCE,
  ETHERTYPE_AOE,
  sectorsPerFrame,
  SHELF_BROADCAST,
  SLOT_BROADCAST,
} from "../../protocol/aoe/frame.ts";
import type { AoeLink } from "../../protocol/aoe/link.ts";
import { readMac, type Mac } from "../../protocol/aoe/mac.ts";
import { PENDING_BODY_AT, PendingRequest } from "../../protocol/aoe/pending-request.ts";
import { REPLY, type Reply } from "../../protocol/aoe/reply.ts";
import type { AoeTarget } from "../../protocol/aoe/target.ts";
import { OK, SECTOR_BYTES } from "../../storage/block-storage.ts";
import { clientTable, type Client } from "./clients.ts";
import { requestFilter } from "./packet-filter.ts";
import type { TargetTable } from "./target-table.ts";

/** Room for requests that wait for a storage; one that finds none stays in the ring. */
const MOST_PENDING = 256;
/** Requests the ring holds at least: four initiators with all their buffers full. */
const RING_LEAST_SLOTS = 256;
/** Replies a system call sends at most. */
const SENDER_CAPACITY = 64;
/**
 * Replies that are collected before they are sent while more requests wait. Sent sooner, the initiator works on them
 * while the next ones are answered: with 16 outstanding 8 measured best of 4, 8 and 16.
 */
const FLUSH_AT = 8;
/** Requests taken before other links and the event loop get their turn. */
const DRAIN_MOST = 64;
const SOCKET_BUFFER_BYTES = 8 * 2 ** 20;

export interface LinkCounters {
  framesReceived: number;
  framesSent: number;
  framesDropped: number;
  framesIgnored: number;
  sendFailures: number;
}

export interface LinkOptions {
  readonly targets: TargetTable;
  readonly counters: LinkCounters;
  /** Receives trouble that an operator should know of. */
  readonly report: (key: string, message: string) => void;
  /** Called when pending requests were answered: the initiator is likely to ask again at once, and there is room. */
  readonly onAnswered: () => void;
}

export class PacketLink implements AoeLink {
  readonly mtuBytes: number;
  readonly mac: Uint8Array;
  readonly name: string;
  readonly clients;
  readonly #fd: number;
  readonly #ring: PacketRing;
  readonly #sender: PacketSender;
  readonly #reply: Reply;
  readonly #pendingBytes: number;
  #pendingFree: PendingRequest[] = [];
  #pendingMade = 0;
  /** Pending requests that are answered: to be put into the sender, and in it. */
  #finished: PendingRequest[] = [];
  #sending: PendingRequest[] = [];
  #flushScheduled = false;
  #closed = false;
  // What the lent bodies in the sender are, by message: a write to them must not overtake them, and one that cannot be
  // read is read again by other means.
  readonly #lentTarget: (AoeTarget | undefined)[] = Array.from({ length: SENDER_CAPACITY });
  readonly #lentSector = new Float64Array(SENDER_CAPACITY);
  readonly #lentCount = new Int32Array(SENDER_CAPACITY);
  #lent = 0;
  // The client of the last request: requests come in runs, and a look-up costs more than a comparison.
  #lastSource: Mac = -1;
  #lastTarget: AoeTarget | undefined;
  #lastClient: Client | undefined;

  constructor(
    readonly info: InterfaceInfo,
    readonly options: LinkOptions,
  ) {
    this.name = info.name;
    this.mtuBytes = info.mtuBytes;
    this.mac = info.mac;
    this.clients = clientTable(info.name, () => performance.now());
    const bodyMostBytes = Math.max(sectorsPerFrame(info.mtuBytes) * SECTOR_BYTES, 2048);
    this.#pendingBytes = PENDING_BODY_AT + bodyMostBytes;
    using opened = new DisposableStack();
    this.#fd = openPacketSocket();
    opened.defer(() => libc.close(this.#fd));
    setBufferBytes(this.#fd, SOCKET_BUFFER_BYTES, SOCKET_BUFFER_BYTES);
    this.#ring = openPacketRing(this.#fd, info.mtuBytes, RING_LEAST_SLOTS);
    opened.defer(() => this.#ring.close());
    this.#sender = openPacketSender(this.#fd, SENDER_CAPACITY, bodyMostBytes);
    opened.defer(() => this.#sender.close());
    this.filterTargets();
    ownSignals(this.#fd);
    bindPacketSocket(this.#fd, info.index, ETHERTYPE_AOE);
    // From here on `close` lets go of them.
    opened.move();
    const memory = this.#sender.memory;
    this.#reply = { memory, headerAt: 0, bodyAt: 0, headerBytes: 0, bodyBytes: 0, lentAddress: 0 };
  }

  /** Lets in the frames of the targets there are now. */
  filterTargets(): void {
    attachFilter(this.#fd, requestFilter(this.options.targets.list));
  }

  /** Tells the segment that a target is here, or has changed. */
  announce(target: AoeTarget): void {
    const { memory } = this.#sender;
    for (const frame of announcements(target, this.mac, this.mtuBytes)) {
      if (!this.#hasRoom()) return;
      const i = this.#sender.count;
      const headerBytes = Math.min(frame.length, 32);
      memory.bytes.set(frame.subarray(0, headerBytes), this.#sender.headerAt(i));
      memory.bytes.set(frame.subarray(headerBytes), this.#sender.bodyAt(i));
      this.#sender.push(headerBytes, 0, frame.length - headerBytes);
    }
    this.flush();
  }

  /** Whether a request waits that could be taken now. */
  get isReady(): boolean {
    return this.#ring.isReady() && this.#canPend && this.#sender.count < SENDER_CAPACITY;
  }

  /** Whether replies wait for room in the socket. */
  get isBlocked(): boolean {
    return this.#sender.count > 0 || this.#finished.length > 0;
  }

  /** Whether a storage is working for this link. */
  get isWaiting(): boolean {
    return this.#pendingFree.length < this.#pendingMade;
  }

  get #canPend(): boolean {
    return this.#pendingFree.length > 0 || this.#pendingMade < MOST_PENDING;
  }

  /** Asks for a signal when something arrives, or for none. */
  arm(armed: boolean): void {
    armSignals(this.#fd, armed);
  }

  /** Takes requests and sends their replies until there are none, or others' turn has come. Returns how many. */
  drain(nowMs: number): number {
    let taken = 0;
    while (taken < DRAIN_MOST && this.#canPend && this.#hasRoom() && this.#ring.next()) {
      taken++;
      try {
        this.#take(nowMs);
      } catch (error) {
        // Nothing from the wire stops the server, not even through a mistake of ours.
        this.options.report(`${this.name}:take`, `${this.name}: a request failed: ${String((error as Error).stack)}`);
      }
      this.#ring.release();
      if (this.#sender.count >= FLUSH_AT) this.flush();
    }
    if (this.isBlocked) this.flush();
    return taken;
  }

  #take(nowMs: number): void {
    const { memory, frameAt, frameBytes } = this.#ring;
    const { counters, targets } = this.options;
    counters.framesReceived++;
    if (!isRequest(memory, frameAt, frameBytes)) {
      counters.framesIgnored++;
      return;
    }
    const { bytes } = memory;
    const shelf = (bytes[frameAt + AT_SHELF]! << 8) | bytes[frameAt + AT_SHELF + 1]!;
    const slot = bytes[frameAt + AT_SLOT]!;
    const source = readMac(bytes, frameAt + AT_SOURCE);
    if (shelf !== SHELF_BROADCAST && slot !== SLOT_BROADCAST) {
      const target = targets.find(shelf, slot);
      if (target === undefined) counters.framesIgnored++;
      else this.#answer(target, source, nowMs);
      return;
    }
    for (const target of targets.list) {
      if (isAddressed(target, shelf, slot) && this.#hasRoom()) this.#answer(target, source, nowMs);
    }
  }

  #answer(target: AoeTarget, source: Mac, nowMs: number): void {
    const { memory, frameAt, frameBytes } = this.#ring;
    if (this.#lent > 0 && this.#overtakesLent(target, memory.bytes, frameAt, frameBytes)) {
      this.flush();
      // Finished requests may have taken the room there was. What is not taken is asked again.
      if (this.#sender.count === SENDER_CAPACITY) return;
    }
    const i = this.#sender.count;
    const reply = this.#reply;
    reply.headerAt = this.#sender.headerAt(i);
    reply.bodyAt = this.#sender.bodyAt(i);
    const { counters } = target;
    const { readBytes, writtenBytes } = counters;
    const outcome = answer(target, this, memory, frameAt, frameBytes, source, reply);
    const client = this.#clientOf(source, target);
    client.requests++;
    client.readBytes += counters.readBytes - readBytes;
    client.writtenBytes += counters.writtenBytes - writtenBytes;
    client.lastSeenMs = nowMs;
    if (outcome !== REPLY) return;
    if (reply.lentAddress !== 0) {
      this.#lent++;
      this.#lentTarget[i] = target;
      this.#lentSector[i] = requestSector(memory.bytes, frameAt);
      this.#lentCount[i] = reply.bodyBytes / SECTOR_BYTES;
    }
    this.#sender.push(reply.headerBytes, reply.lentAddress, reply.bodyBytes);
  }

  #clientOf(source: Mac, target: AoeTarget): Client {
    if (source !== this.#lastSource || target !== this.#lastTarget) {
      this.#lastSource = source;
      this.#lastTarget = target;
      this.#lastClient = this.clients.of(source, `e${target.shelf}.${target.slot}`);
    }
    return this.#lastClient!;
  }

  /** Whether a request writes to sectors whose old content a reply still has to take along. */
  #overtakesLent(target: AoeTarget, bytes: Uint8Array, at: number, lengthBytes: number): boolean {
    if (!isWrite(bytes, at, lengthBytes)) return false;
    const sector = requestSector(bytes, at);
    const count = bytes[at + AT_ATA_SECTOR_COUNT]!;
    for (let i = this.#sender.first; i < this.#sender.count; i++) {
      if (
        this.#lentTarget[i] === target &&
        sector < this.#lentSector[i]! + this.#lentCount[i]! &&
        this.#lentSector[i]! < sector + count
      ) {
        return true;
      }
    }
    return false;
  }

  /** Whether one more message can be queued, after sending some where that is needed. */
  #hasRoom(): boolean {
    if (this.#sender.count < SENDER_CAPACITY) return true;
    this.flush();
    return this.#sender.count < SENDER_CAPACITY;
  }

  /** Sends what is queued. What the socket has no room for stays queued. */
  flush(): void {
    if (this.#closed) return;
    for (;;) {
      this.#queueFinished();
      if (this.#sender.count === 0) return;
      const before = this.#sender.count - this.#sender.first;
      const outcome = this.#sender.flush();
      this.options.counters.framesSent += before - (this.#sender.count - this.#sender.first);
      if (outcome === BLOCKED) {
        this.#settleLent();
        return;
      }
      if (outcome === FAULT) this.#readAgain(this.#sender.first);
      else if (outcome === REFUSED) this.#refused();
      if (outcome !== SENT) {
        this.#sender.skip();
        continue;
      }
      this.#sent();
    }
  }

  /** Everything queued has left: what was lent or kept for it is free again. */
  #sent(): void {
    if (this.#lent > 0) this.#forgetLent();
    if (this.#sending.length === 0) return;
    for (const pending of this.#sending) this.#pendingFree.push(pending);
    this.#sending.length = 0;
    this.options.onAnswered();
  }

  /**
   * What a storage lent is good for this turn of the event loop only, and stays as it is only until the next write: a
   * reply that has to wait gets a copy of its own, or is read anew.
   */
  #settleLent(): void {
    if (this.#lent === 0) return;
    const { memory } = this.#sender;
    for (let i = this.#sender.count - 1; i >= this.#sender.first; i--) {
      const target = this.#lentTarget[i];
      if (target === undefined) continue;
      const bodyAt = this.#sender.bodyAt(i);
      if (target.storage.tryRead(this.#lentSector[i]!, this.#lentCount[i]!, memory, bodyAt) === OK) {
        this.#sender.useOwnBody(i);
      } else {
        this.#readAgain(i);
        this.#sender.withdraw(i);
      }
    }
    this.#forgetLent();
  }

  #forgetLent(): void {
    this.#lent = 0;
    this.#lentTarget.fill(undefined);
  }

  /** A lent page could not be read by the kernel: the storage reads it the long way, and says what is wrong with it. */
  #readAgain(i: number): void {
    const target = this.#lentTarget[i];
    if (target === undefined) return;
    const { memory } = this.#sender;
    keepRead(target, this, this.#lentSector[i]!, this.#lentCount[i]!, memory.bytes, this.#sender.headerAt(i));
  }

  #refused(): void {
    this.options.counters.sendFailures++;
    const reason = errorName(this.#sender.failure);
    this.options.report(`${this.name}:send`, `${this.name}: a reply could not be sent: ${reason}`);
  }

  takePending(): PendingRequest | undefined {
    const free = this.#pendingFree.pop();
    if (free !== undefined) return free;
    if (this.#pendingMade >= MOST_PENDING) return undefined;
    this.#pendingMade++;
    return new PendingRequest(allocateMemory(this.#pendingBytes), this);
  }

  finishPending(pending: PendingRequest): void {
    if (this.#closed) {
      freeMemory(pending.memory);
      return;
    }
    this.#finished.push(pending);
    if (this.#flushScheduled) return;
    // Several end together, as the writes of one sync do: they leave together too.
    this.#flushScheduled = true;
    queueMicrotask(() => {
      this.#flushScheduled = false;
      this.flush();
    });
  }

  /** Moves answered requests into the sender, as many as it has room for. */
  #queueFinished(): void {
    if (this.#finished.length === 0) return;
    let moved = 0;
    const { memory } = this.#sender;
    for (const pending of this.#finished) {
      const i = this.#sender.count;
      if (i === SENDER_CAPACITY) break;
      memory.bytes.set(pending.memory.bytes.subarray(0, AT_ATA_DATA), this.#sender.headerAt(i));
      this.#sender.push(pending.headerBytes, pending.memory.address + PENDING_BODY_AT, pending.bodyBytes);
      this.#sending.push(pending);
      moved++;
    }
    this.#finished.splice(0, moved);
  }

  /** Adds what the ring had no room for since the last call to the counters. */
  countDropped(): void {
    if (!this.#closed) this.options.counters.framesDropped += this.#ring.takeDropped();
  }

  close(): void {
    if (this.#closed) return;
    this.flush();
    this.countDropped();
    this.#closed = true;
    libc.close(this.#fd);
    this.#ring.close();
    this.#sender.close();
    // Those that a storage still works on are freed when it is done with them.
    for (const pending of [...this.#pendingFree, ...this.#finished, ...this.#sending]) freeMemory(pending.memory);
    this.#pendingFree = [];
    this.#finished = [];
    this.#sending = [];
  }
}
