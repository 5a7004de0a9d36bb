import type { Memory } from "../../base/memory.ts";
import { SECTOR_BYTES, type Completion, type StorageStatus } from "../../storage/block-storage.ts";
import { ataStatus } from "./ata-status.ts";
import { AT_ATA_DATA } from "./frame.ts";
import type { AoeLink } from "./link.ts";
import type { AoeTarget } from "./target.ts";

/** Where a pending request's data begins in its memory: aligned for direct I/O. */
export const PENDING_BODY_AT = 512;

/**
 * A request that could not be answered at once: its reply's header, and room for the data of a read. These are made
 * once and reused, so that a request that waits allocates nothing.
 */
export class PendingRequest implements Completion {
  target: AoeTarget | undefined;
  headerBytes = 0;
  bodyBytes = 0;
  #readCount = 0;

  constructor(
    readonly memory: Memory,
    readonly link: AoeLink,
  ) {}

  /** Keeps a reply whose ATA status is still open. `readCount`: sectors that a read will have put into the body. */
  keep(target: AoeTarget, reply: Uint8Array, replyAt: number, readCount: number): void {
    this.target = target;
    target.counters.inFlight++;
    const { bytes } = this.memory;
    for (let i = 0; i < AT_ATA_DATA; i++) bytes[i] = reply[replyAt + i]!;
    this.headerBytes = AT_ATA_DATA;
    this.bodyBytes = 0;
    this.#readCount = readCount;
  }

  complete(status: StorageStatus): void {
    const target = this.target!;
    target.counters.inFlight--;
    this.bodyBytes = ataStatus(target, this.memory.bytes, 0, status) ? this.#readCount * SECTOR_BYTES : 0;
    this.link.finishPending(this);
  }

  /** Holds a finished reply until it may be sent: what it says has to be durable first. */
  keepReply(target: AoeTarget, bytes: Uint8Array, headerAt: number, headerBytes: number, body: Uint8Array): void {
    this.target = target;
    target.counters.inFlight++;
    this.memory.bytes.set(bytes.subarray(headerAt, headerAt + headerBytes), 0);
    this.memory.bytes.set(body, PENDING_BODY_AT);
    this.headerBytes = headerBytes;
    this.bodyBytes = body.length;
  }

  /** Lets a reply kept with `keepReply` go. */
  sendReply(): void {
    this.target!.counters.inFlight--;
    this.link.finishPending(this);
  }
}
