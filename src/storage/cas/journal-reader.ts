/** Reads payloads back from a journal. Nothing is handed out that was not verified against its record's hash. */
import { EAGAIN, EIO, errorName } from "../../../ffi/libc.ts";
import { allocateMemory } from "../../../ffi/memory.ts";
import type { Memory } from "../../base/memory.ts";
import { LATER, MEDIUM_ERROR, OK, type StorageStatus } from "../block-storage.ts";
import {
  isPayloadIntact,
  isRecordHeader,
  PAYLOAD_MOST_BYTES,
  payloadBytesOf,
  recordHeader,
  sequenceOf,
} from "./journal-format.ts";
import { payloadOffsetOf, type Segment, skipOf } from "./journal-segment.ts";

const HEADER_BYTES = recordHeader.bytes;
const RECORD_MOST_BYTES = HEADER_BYTES + PAYLOAD_MOST_BYTES;

export type Report = (key: string, message: string) => void;

const scratch = allocateMemory(RECORD_MOST_BYTES);
/** Memory of reads that wait: as much as there ever were at once. */
const spare: Memory[] = [];

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
  const skipBytes = skipOf(place);
  // Mostly the end of what is asked for is the end of the record, and one call reads it all.
  let haveBytes = HEADER_BYTES + skipBytes + lengthBytes;
  const first = segment.file.tryRead(scratch, 0, haveBytes, start);
  if (first !== haveBytes) return refused(segment, start, first, report);
  if (!isRecordHeader(scratch, 0, segment.key, start)) return damaged(segment, start, "header", report);
  const recordBytes = HEADER_BYTES + payloadBytesOf(scratch, 0);
  if (haveBytes > recordBytes) throw beyond(segment, start, skipBytes + lengthBytes);
  if (haveBytes < recordBytes) {
    const rest = segment.file.tryRead(scratch, haveBytes, recordBytes - haveBytes, start + haveBytes);
    if (rest !== recordBytes - haveBytes) return refused(segment, start, rest, report);
    haveBytes = recordBytes;
  }
  return deliver(scratch, segment, start, skipBytes, lengthBytes, target, at, report);
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
  if (!isPayloadIntact(memory, 0)) return damaged(segment, start, `data of record ${sequenceOf(memory, 0)}`, report);
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

const beyond = (segment: Segment, start: number, endBytes: number): Error =>
  new Error(`${segment.file.path}: the record at byte ${start} was asked for ${endBytes} bytes, which it has not`);
