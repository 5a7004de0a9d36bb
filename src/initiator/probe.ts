/** Measures one path to a target. Only reads and queries: nothing on the target is changed. */
import { setTimeout as sleep } from "node:timers/promises";
import {
  AT_ATA_DATA,
  ATA_READ_SECTORS_EXT,
  ATA_STATUS_ERR,
  CONFIG_READ,
  sectorsPerFrame,
} from "../protocol/aoe/frame.ts";
import { SECTOR_BYTES } from "../storage/block-storage.ts";
import type { IdentifiedPath } from "./discover.ts";
import type { Initiator } from "./initiator.ts";
import { OUTSTANDING_MOST } from "./disk.ts";
import { aoeErrorName, aoeErrorOf, ataErrorName, parseAtaReply } from "./replies.ts";
import { ataRequest, configRequest } from "./requests.ts";

/** What was measured. Figures are undefined where an earlier failure made them pointless. */
export interface PathMeasurements {
  /** Sectors that the interface's MTU carries, that the target says, and that come through one frame both ways. */
  readonly sectors: { readonly interface: number; readonly target: number; readonly passed: number };
  /** Largest frames that arrived, Ethernet header included: of a request, and of a reply. */
  readonly largestFrameBytes: { readonly toTarget: number; readonly fromTarget: number };
  readonly latency: Latency | undefined;
  readonly loss: Loss;
  readonly throughput: Throughput | undefined;
  /** What the target said instead of data; "" where it did not. */
  readonly refusal: string;
}

/** Of a lone request for one sector. */
export interface Latency {
  readonly requests: number;
  readonly minMs: number;
  readonly medianMs: number;
  readonly p99Ms: number;
}

/** Of requests of the size and number outstanding that Linux would send. None was sent twice. */
export interface Loss {
  readonly requests: number;
  readonly lost: number;
  /** Answered, but after more than `ANSWER_MS`: slow storage and no fault of the path. */
  readonly late: number;
}

export interface Throughput {
  readonly requests: number;
  readonly seconds: number;
  readonly iops: number;
  /** Of 10^6 bytes. */
  readonly megabytesPerSecond: number;
  readonly sectorsPerRequest: number;
  readonly outstanding: number;
}

/** How long a request is waited for before the next takes its place, and how long more before it counts as lost. */
export const ANSWER_MS = 1000;
const LATE_MS = 3000;
const LATE_LOOK_MS = 20;
const SIZE_ATTEMPTS = 4;
const SIZE_ANSWER_MS = 250;
/** Lone requests: so many at most, and for so long. */
const LATENCY_REQUESTS = 500;
const LATENCY_MS = 1500;
const THROUGHPUT_MS = 4000;

type Answer =
  | { readonly kind: "data"; readonly roundTripMs: number }
  | { readonly kind: "lost" }
  | { readonly kind: "refused"; readonly reason: string };

/** The frame that carries so many sectors, Ethernet header included. */
export const frameBytes = (sectors: number): number => AT_ATA_DATA + sectors * SECTOR_BYTES;

/** Measures a path with about this many requests. */
export async function measurePath(path: IdentifiedPath, requestCount: number): Promise<PathMeasurements> {
  const { initiator, config } = path;
  const diskSectors = path.identity?.sectorCount ?? 0;
  const interfaceSectors = sectorsPerFrame(initiator.interface.mtuBytes);
  const measurements = {
    sectors: { interface: interfaceSectors, target: config.sectorsPerFrame, passed: 0 },
    largestFrameBytes: { toTarget: 0, fromTarget: 0 },
    latency: undefined,
    loss: { requests: 0, lost: 0, late: 0 },
    throughput: undefined,
    refusal: "",
  };
  if (diskSectors === 0) return { ...measurements, refusal: path.refusal || "the disk has no sectors" };

  const { latency, loss, refusal } = await measureLatency(path, Math.min(requestCount, LATENCY_REQUESTS));
  if (refusal || !latency) return { ...measurements, loss, refusal };

  const fromTarget = await largestPassing(Math.min(path.sectorsPerFrame, diskSectors), async (sectors) => {
    return (await read(path, 0, sectors, SIZE_ANSWER_MS)).kind === "data";
  });
  const toTarget = await largestPassing(path.sectorsPerFrame, (sectors) => carriesRequest(path, sectors));
  const passed = Math.min(fromTarget, toTarget);
  const measured: PathMeasurements = {
    ...measurements,
    sectors: { ...measurements.sectors, passed },
    largestFrameBytes: { toTarget: frameBytes(toTarget), fromTarget: frameBytes(fromTarget) },
    latency,
  };
  if (fromTarget === 0) return { ...measured, loss };
  const load = await measureThroughput(path, requestCount, fromTarget, diskSectors);
  return {
    ...measured,
    loss: {
      requests: loss.requests + load.loss.requests,
      lost: loss.lost + load.loss.lost,
      late: loss.late + load.loss.late,
    },
    throughput: load.throughput,
    refusal: load.refusal,
  };
}

/** Reads without sending twice, so that a loss shows. */
function read(
  { initiator, target }: IdentifiedPath,
  sector: number,
  count: number,
  timeoutMs: number,
): Promise<Answer> {
  return new Promise((resolve) => {
    const frame = ataRequest(target.route, { command: ATA_READ_SECTORS_EXT, sector, count });
    initiator.request(frame, { timeoutMs, retransmit: false }, (reply, roundTripMs) => {
      resolve(classify(reply, count, roundTripMs));
    });
  });
}

function classify(reply: Uint8Array | undefined, count: number, roundTripMs: number): Answer {
  if (!reply) return { kind: "lost" };
  const code = aoeErrorOf(reply);
  if (code !== 0) return { kind: "refused", reason: aoeErrorName(code) };
  const ata = parseAtaReply(reply);
  if (!ata) return { kind: "refused", reason: "the answer to a read makes no sense" };
  if ((ata.status & ATA_STATUS_ERR) !== 0) return { kind: "refused", reason: ataErrorName(ata.status, ata.error) };
  if (ata.data.length >= count * SECTOR_BYTES) return { kind: "data", roundTripMs };
  return { kind: "refused", reason: `a read of ${count} sectors was answered with ${ata.data.length} bytes` };
}

/** Whether a frame as long as a write of so many sectors reaches the target: a query, filled up behind its end. */
async function carriesRequest({ initiator, target }: IdentifiedPath, sectors: number): Promise<boolean> {
  const query = configRequest(target.route, CONFIG_READ);
  const frame = new Uint8Array(frameBytes(sectors));
  frame.set(query);
  // Any answer will do, an error too: it tells that the frame arrived.
  return (await initiator.ask(frame, { timeoutMs: SIZE_ANSWER_MS, retransmit: false })) !== undefined;
}

/** The largest count, up to `most`, that passes at least once in a few attempts, counting up until one does not. */
async function largestPassing(most: number, passes: (sectors: number) => Promise<boolean>): Promise<number> {
  for (let sectors = 1; sectors <= most; sectors++) {
    let passed = false;
    for (let attempt = 0; attempt < SIZE_ATTEMPTS && !passed; attempt++) passed = await passes(sectors);
    if (!passed) return sectors - 1;
  }
  return most;
}

/** What became of the unanswered of so many requests, all sent since `answeredBefore`. */
async function lossOf(initiator: Initiator, answeredBefore: number, requests: number, unanswered: number) {
  const { counters } = initiator;
  const endMs = performance.now() + LATE_MS;
  // Listening keeps the initiator looking for frames.
  const stop = initiator.listen(() => {});
  while (counters.answered - answeredBefore < requests && performance.now() < endMs) await sleep(LATE_LOOK_MS);
  stop();
  const lost = Math.max(0, requests - (counters.answered - answeredBefore));
  return { requests, lost, late: unanswered - lost };
}

async function measureLatency(path: IdentifiedPath, requestCount: number) {
  const times: number[] = [];
  const answeredBefore = path.initiator.counters.answered;
  let lost = 0;
  let refusal = "";
  const endMs = performance.now() + LATENCY_MS;
  while (times.length + lost < requestCount && !refusal && (performance.now() < endMs || times.length === 0)) {
    // A path that carries nothing shows soon.
    if (times.length === 0 && lost >= SIZE_ATTEMPTS) break;
    const answer = await read(path, 0, 1, ANSWER_MS);
    if (answer.kind === "data") times.push(answer.roundTripMs);
    else if (answer.kind === "lost") lost++;
    else refusal = answer.reason;
  }
  const requests = times.length + lost + (refusal === "" ? 0 : 1);
  return { latency: summarise(times), loss: await lossOf(path.initiator, answeredBefore, requests, lost), refusal };
}

/** Undefined of no times. The 99th percentile is the value that 99 of 100 do not exceed. */
export function summarise(timesMs: readonly number[]): Latency | undefined {
  const sorted = timesMs.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0;
  if (sorted.length === 0) return undefined;
  return { requests: sorted.length, minMs: at(0), medianMs: at(0.5), p99Ms: at(0.99) };
}

/** Reads on through the disk, as many at once as Linux would. */
async function measureThroughput(path: IdentifiedPath, requestCount: number, sectors: number, diskSectors: number) {
  const { initiator, target, config } = path;
  const outstandingMost = Math.max(1, Math.min(config.bufferCount, OUTSTANDING_MOST));
  const answeredBefore = initiator.counters.answered;
  const startMs = performance.now();
  const places = Math.max(1, Math.floor(diskSectors / sectors));
  let sent = 0;
  let ended = 0;
  let lost = 0;
  let refusal = "";
  const more = (): boolean => sent < requestCount && refusal === "" && performance.now() - startMs < THROUGHPUT_MS;
  await new Promise<void>((resolve, reject) => {
    const end = (answer: Answer): void => {
      ended++;
      if (answer.kind === "lost") lost++;
      if (answer.kind === "refused") refusal = answer.reason;
      if (more()) next();
      else if (ended === sent) resolve();
    };
    const next = (): void => {
      const request = { command: ATA_READ_SECTORS_EXT, sector: (sent++ % places) * sectors, count: sectors };
      const options = { timeoutMs: ANSWER_MS, retransmit: false };
      try {
        initiator.request(ataRequest(target.route, request), options, (reply, roundTripMs) =>
          end(classify(reply, sectors, roundTripMs)),
        );
      } catch (error) {
        // The interface went down. This may be within the end of another request, where nobody would catch it.
        reject(error);
      }
    };
    for (let i = 0; i < outstandingMost && more(); i++) next();
  });
  const seconds = (performance.now() - startMs) / 1000;
  const iops = (sent - lost) / seconds;
  const throughput: Throughput = {
    requests: sent,
    seconds,
    iops,
    megabytesPerSecond: (iops * sectors * SECTOR_BYTES) / 1e6,
    sectorsPerRequest: sectors,
    outstanding: outstandingMost,
  };
  return { throughput, loss: await lossOf(initiator, answeredBefore, sent, lost), refusal };
}
