/** Reads payloads back from a journal. Nothing is handed out that was not verified against its record's hash. */
import { EAGAIN, EIO, errorName } from "../../../ffi/libc.ts";
import { allocateMemory } from "../../../ffi/memory.ts";
import type { Memory } from "../../base/memory.ts";
import { LATER, MEDIUM_ERROR, OK, type StorageStatus } from "../block-storage.ts";
import {
  isPayloadIntact,
  isRecordHeader,
  padded,
  PAYLOAD_MOST_BYTES,
  payloadBytesOf,
  recordHeader,
  sequenceOf,
} from "./journal-format.ts";
import { payloadOffsetOf, type Segment, skipOf } from "./journal-segment.ts";

const HEADER_BYTES = recordHeader.bytes;
const RECORD_MOST_BYTES = HEADER_BYTES + PAYLOAD_MOST_BYTES;

export type Report = (key: string, message: string) => void;

/** Memory of reads that wait: as much as there ever were at once. */
const spare: Memory[] = [];

/**
 * What was read last, so that records are not read, nor verified, again for each of their blocks, and that a reader in
 * the order of the journal, as a checkpoint of sequential writes is, reads many records in one call. What is appended
 * never changes while its segment can be read, so it does not grow old.
 */
const AHEAD_BYTES = 2 ** 18;
const ahead = {
  memory: allocateMemory(AHEAD_BYTES),
  segment: undefined as Segment | undefined,
  startBytes: 0,
  endBytes: 0,
  /** Where the last record that was asked for begins, once it was verified, and where the one after it does. */
  verifiedBytes: -1,
  nextBytes: -1,
};

/**
 * Copies `lengthBytes` from the sector at `place` on, where that does not have to wait: OK, LATER, or MEDIUM_ERROR,
 * which was reported.
 */
export function tryReadPayload(
  segment: Segment,
  place: number,
  lengthBytes: number,
  target: Memory,
  at: number,
  report: Report,
): StorageStatus {
  const start = payloadOffsetOf(place) - HEADER_BYTES;
  const fromBytes = HEADER_BYTES + skipOf(place);
  const { memory } = ahead;
  if (ahead.segment !== segment || ahead.verifiedBytes !== start) {
    // Mostly the end of what is asked for is the end of the record, and one call reads it all.
    const first = show(segment, start, fromBytes + lengthBytes);
    if (first < 0) return refused(segment, start, first, report);
    const header = start - ahead.startBytes;
    if (!isRecordHeader(memory, header, segment.key, start)) return damaged(segment, start, "header", report);
    const bytes = HEADER_BYTES + payloadBytesOf(memory, header);
    if (fromBytes + lengthBytes > bytes) throw beyond(segment, start, fromBytes - HEADER_BYTES + lengthBytes);
    const rest = show(segment, start, bytes);
    if (rest < 0) return refused(segment, start, rest, report);
    const record = start - ahead.startBytes;
    if (!isPayloadIntact(memory, record)) return damagedData(memory, record, segment, start, report);
    ahead.verifiedBytes = start;
    ahead.nextBytes = start + padded(bytes);
  }
  const from = start - ahead.startBytes + fromBytes;
  if (start + fromBytes + lengthBytes > ahead.nextBytes) {
    throw beyond(segment, start, fromBytes - HEADER_BYTES + lengthBytes);
  }
  target.bytes.set(memory.bytes.subarray(from, from + lengthBytes), at);
  return OK;
}

/** Makes bytes of a segment present in `ahead`: 0, or the negative error number. */
function show(segment: Segment, start: number, lengthBytes: number): number {
  const isSame = ahead.segment === segment;
  if (isSame && start >= ahead.startBytes && start + lengthBytes <= ahead.endBytes) return 0;
  const isNext = isSame && start === ahead.nextBytes;
  // Of a record that is longer than was asked for, the beginning.
  const haveBytes = isSame && start === ahead.startBytes ? ahead.endBytes - start : 0;
  ahead.segment = undefined;
  ahead.verifiedBytes = -1;
  ahead.startBytes = start;
  const mostBytes = Math.min(AHEAD_BYTES, segment.endBytes - start);
  if (isNext && segment.file.tryRead(ahead.memory, 0, mostBytes, start) === mostBytes) {
    ahead.endBytes = start + mostBytes;
  } else {
    const wanted = lengthBytes - haveBytes;
    const done = segment.file.tryRead(ahead.memory, haveBytes, wanted, start + haveBytes);
    if (done !== wanted) return done;
    ahead.endBytes = start + lengthBytes;
  }
  ahead.segment = segment;
  return 0;
}

/** The same, off the event loop. `target` must stay allocated until then. */
export async function readPayload(
  segment: Segment,
  place: number,
  lengthBytes: number,
  target: Memory,
  at: number,
  report: Report,
): Promise<StorageStatus> {
  const start = payloadOffsetOf(place) - HEADER_BYTES;
  const skipBytes = skipOf(place);
  const memory = spare.pop() ?? allocateMemory(RECORD_MOST_BYTES);
  try {
    let haveBytes = HEADER_BYTES + skipBytes + lengthBytes;
    const first = await segment.file.read(memory, 0, haveBytes, start);
    if (first !== haveBytes) return refused(segment, start, first < 0 ? first : -EIO, report);
    if (!isRecordHeader(memory, 0, segment.key, start)) return damaged(segment, start, "header", report);
    const recordBytes = HEADER_BYTES + payloadBytesOf(memory, 0);
    if (haveBytes > recordBytes) throw beyond(segment, start, skipBytes + lengthBytes);
    if (haveBytes < recordBytes) {
      const rest = await segment.file.read(memory, haveBytes, recordBytes - haveBytes, start + haveBytes);
      if (rest !== recordBytes - haveBytes) return refused(segment, start, rest < 0 ? rest : -EIO, report);
      haveBytes = recordBytes;
    }
    return deliver(memory, segment, start, skipBytes, lengthBytes, target, at, report);
  } finally {
    spare.push(memory);
  }
}

function deliver(
  memory: Memory,
  segment: Segment,
  start: number,
  skipBytes: number,
  lengthBytes: number,
  target: Memory,
  at: number,
  report: Report,
): StorageStatus {
  if (!isPayloadIntact(memory, 0)) return damagedData(memory, 0, segment, start, report);
  const from = HEADER_BYTES + skipBytes;
  target.bytes.set(memory.bytes.subarray(from, from + lengthBytes), at);
  return OK;
}

function refused(segment: Segment, start: number, result: number, report: Report): StorageStatus {
  if (result === -EAGAIN) return LATER;
  const { path } = segment.file;
  report(`${path}:read`, `${path}: a record at byte ${start} cannot be read: ${errorName(-result)}. Check the medium`);
  return MEDIUM_ERROR;
}

function damaged(segment: Segment, start: number, what: string, report: Report): StorageStatus {
  const { path } = segment.file;
  report(
    `${path}:damaged`,
    `${path}: the ${what} at byte ${start} is not what was written. Check the medium: these sectors cannot be read, ` +
      `and writing them anew mends them`,
  );
  return MEDIUM_ERROR;
}

const damagedData = (memory: Memory, header: number, segment: Segment, start: number, report: Report): StorageStatus =>
  damaged(segment, start, `data of record ${sequenceOf(memory, header)}`, report);

const beyond = (segment: Segment, start: number, endBytes: number): Error =>
  new Error(`${segment.file.path}: the record at byte ${start} was asked for ${endBytes} bytes, which it has not`);
