/** A target as a disk: reads, writes and flushes of any length, split into frames, several outstanding at a time. */
import { formatAddress, type TargetAddress } from "../base/address.ts";
import {
  ATA_FLUSH_CACHE_EXT,
  ATA_READ_SECTORS_EXT,
  ATA_STATUS_ERR,
  ATA_WRITE_SECTORS_EXT,
} from "../protocol/aoe/frame.ts";
import type { Mac } from "../protocol/aoe/mac.ts";
import { SECTOR_BYTES } from "../storage/block-storage.ts";
import { findPaths, type Path } from "./discover.ts";
import type { Identity } from "./identify.ts";
import type { Initiator, RequestOptions } from "./initiator.ts";
import { aoeErrorOf, parseAtaReply, type AtaReply } from "./replies.ts";
import { RequestError } from "./request-error.ts";
import { ataRequest, type AtaRequest } from "./requests.ts";
import type { Target } from "./target.ts";

/** What Linux allows itself, whatever the target offers (drivers/block/aoe/aoenet.c). */
export const OUTSTANDING_MOST = 64;

export interface DiskInfo extends Identity {
  readonly address: TargetAddress;
  readonly mac: Mac;
  readonly sectorsPerFrame: number;
  readonly bufferCount: number;
  readonly configString: string;
}

export interface Disk {
  /** As of when the disk was opened. */
  readonly info: DiskInfo;
  readonly target: Target;
  /** Rejects with `RequestError` where any part failed. */
  read(sector: number, count: number): Promise<Uint8Array>;
  /** `data` is a multiple of 512 bytes and stays untouched until the end. After a rejection any part may be written. */
  write(sector: number, data: Uint8Array): Promise<void>;
  flush(): Promise<void>;
  /** Sends a frame as it is: see `Initiator.exchange`. */
  raw(frame: Uint8Array, options?: { timeoutMs?: number }): Promise<Uint8Array | undefined>;
}

export interface DiskOptions extends RequestOptions {
  /** How long to look for the target; by default 3000. */
  readonly findMs?: number;
  /** Most sectors in one request, where less than the path allows is wanted. */
  readonly sectorsPerFrame?: number;
  /** Most requests outstanding, where less than the target's buffer count is wanted. */
  readonly outstanding?: number;
}

/** Finds a target and identifies it. Rejects with `RequestError` where it does not answer. */
export async function openDisk(initiator: Initiator, address: TargetAddress, options: DiskOptions = {}): Promise<Disk> {
  const { target, config, ...path } = await findTarget(initiator, address, options.findMs ?? 3000);
  const identity = await target.identify(options);
  const info: DiskInfo = {
    ...identity,
    address,
    mac: config.mac,
    sectorsPerFrame: Math.min(path.sectorsPerFrame, options.sectorsPerFrame ?? Infinity),
    bufferCount: config.bufferCount,
    configString: config.configString,
  };
  const outstandingMost = Math.max(1, Math.min(config.bufferCount, OUTSTANDING_MOST, options.outstanding ?? Infinity));
  const waiting: (() => void)[] = [];
  let outstanding = 0;

  const release = (): void => {
    outstanding--;
    waiting.shift()?.();
  };
  const request = (ata: AtaRequest, what: string, take?: (reply: AtaReply) => boolean): Promise<void> =>
    new Promise((resolve, reject) => {
      const begin = (): void => {
        outstanding++;
        try {
          initiator.request(ataRequest(target.route, ata), options, (frame) => {
            const error = failureOf(frame, `${formatAddress(address)}: ${what}`, take);
            if (error) reject(error);
            else resolve();
            release();
          });
        } catch (error) {
          reject(error);
          release();
        }
      };
      if (outstanding < outstandingMost) begin();
      else waiting.push(begin);
    });

  /** Calls `part` for every frame's worth of the sectors. */
  async function inFrames(sector: number, count: number, part: (at: number, sectors: number) => Promise<void>) {
    const parts: Promise<void>[] = [];
    for (let at = sector; at < sector + count; at += info.sectorsPerFrame) {
      parts.push(part(at, Math.min(info.sectorsPerFrame, sector + count - at)));
    }
    const failed = (await Promise.allSettled(parts)).find((result) => result.status === "rejected");
    if (failed) throw failed.reason;
  }

  return {
    info,
    target,
    async read(sector, count) {
      const result = new Uint8Array(count * SECTOR_BYTES);
      await inFrames(sector, count, (at, sectors) => {
        const bytes = sectors * SECTOR_BYTES;
        return request(
          { command: ATA_READ_SECTORS_EXT, sector: at, count: sectors },
          `read of ${sectors} sectors at ${at}`,
          ({ data }) => {
            if (data.length < bytes) return false;
            result.set(data.subarray(0, bytes), (at - sector) * SECTOR_BYTES);
            return true;
          },
        );
      });
      return result;
    },
    async write(sector, data) {
      if (data.length % SECTOR_BYTES !== 0) throw new Error(`${data.length} bytes are not a whole number of sectors`);
      await inFrames(sector, data.length / SECTOR_BYTES, (at, sectors) => {
        const offset = (at - sector) * SECTOR_BYTES;
        const part = data.subarray(offset, offset + sectors * SECTOR_BYTES);
        const write = { command: ATA_WRITE_SECTORS_EXT, sector: at, count: sectors, data: part };
        return request(write, `write of ${sectors} sectors at ${at}`);
      });
    },
    flush: () => request({ command: ATA_FLUSH_CACHE_EXT }, "flush"),
    raw: (frame, rawOptions) => initiator.exchange(frame, rawOptions),
  };
}

async function findTarget(initiator: Initiator, address: TargetAddress, findMs: number): Promise<Path> {
  const endMs = performance.now() + findMs;
  for (let windowMs = 30; performance.now() < endMs; windowMs *= 2) {
    const [path] = await findPaths([initiator], Math.min(windowMs, endMs - performance.now()), address);
    if (path) return path;
  }
  throw new RequestError(`${formatAddress(address)} on ${initiator.interface.name}`, { kind: "timeout" });
}

function failureOf(frame: Uint8Array | undefined, what: string, take?: (reply: AtaReply) => boolean) {
  if (!frame) return new RequestError(what, { kind: "timeout" });
  const code = aoeErrorOf(frame);
  if (code !== 0) return new RequestError(what, { kind: "aoe", code });
  const reply = parseAtaReply(frame);
  if (!reply) return new RequestError(what, { kind: "malformed" });
  const { status, error } = reply;
  if ((status & ATA_STATUS_ERR) !== 0) return new RequestError(what, { kind: "ata", status, error });
  return take && !take(reply) ? new RequestError(what, { kind: "malformed" }) : undefined;
}
