/**
 * The bytes of a journal: see docs/format.md. All numbers are little-endian. A hash is 64-bit xxHash3; those of records
 * are keyed by the segment, so that nothing that was not appended to this segment, at this place, passes for a record
 * of it: not the remains of a file that lay there before, and not the copy of a journal that a client stores.
 */
import { allocateMemory } from "../../../ffi/memory.ts";
import type { Memory } from "../../base/memory.ts";

export const JOURNAL_VERSION = 1;

/** What everything in a segment is a multiple of. */
export const UNIT_BYTES = 64;

/** Kinds of records. */
export const WRITE = 1;
export const DISCARD = 2;
export const MARKER = 3;

/** Most bytes of one record's payload: 128 sectors. A sector is read and verified with its whole record. */
export const PAYLOAD_MOST_BYTES = 65_536;

const SEGMENT_MAGIC = new TextEncoder().encode("voe-jrnl");
const RECORD_MAGIC = new DataView(new TextEncoder().encode("voeR").buffer).getUint32(0, true);

/** Byte offsets of the fields of a segment's header. */
export const segmentHeader = {
  magic: 0,
  version: 8,
  reserved: 12,
  journalId: 16,
  firstSequence: 24,
  previousEnd: 32,
  durableSequence: 40,
  limitBytes: 48,
  hash: 56,
  bytes: 64,
} as const;

/** Byte offsets of the fields of a record's header. */
export const recordHeader = {
  magic: 0,
  kind: 4,
  place: 8,
  volume: 12,
  firstSector: 16,
  sectorCount: 24,
  payloadBytes: 28,
  sequence: 32,
  durableSequence: 40,
  payloadHash: 48,
  hash: 56,
  bytes: 64,
} as const;

for (const { hash, bytes } of [segmentHeader, recordHeader]) {
  if (hash + 8 !== bytes || bytes !== UNIT_BYTES) throw new Error("a header of the journal has not the declared size");
}

export interface SegmentFields {
  /** Eight random bytes in hexadecimal that all segments of one journal share. */
  readonly journalId: string;
  /** Sequence number of its first record. */
  readonly firstSequence: number;
  /** Where the segment before it ended: one more than its last record's sequence number. */
  readonly previousEnd: number;
  /** Every record before this was known to be durable when the segment was made. */
  readonly durableSequence: number;
  /** Limit of the whole journal at that time. */
  readonly limitBytes: number;
}

export const hash64 = (bytes: Uint8Array | DataView): bigint => Bun.hash.xxHash3(bytes);

export const padded = (lengthBytes: number): number => Math.ceil(lengthBytes / UNIT_BYTES) * UNIT_BYTES;

/** Bytes of a record with this payload. */
export const recordBytes = (payloadBytes: number): number => recordHeader.bytes + padded(payloadBytes);

/** Numbers of 64 bits are below 2^53 here, so that no bigint is needed. */
export function setU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value >>> 0, true);
  // Whole: storing a fraction as an integer leaves the compiled code (34 ns, and 4 so).
  view.setUint32(at + 4, Math.floor(value / 0x1_0000_0000), true);
}

export const getU64 = (view: DataView, at: number): number =>
  view.getUint32(at + 4, true) * 0x1_0000_0000 + view.getUint32(at, true);

/** Name of the segment that begins with this record. Names sort as their numbers do. */
export const segmentName = (firstSequence: number): string => `${firstSequence.toString(16).padStart(16, "0")}.journal`;

/** The first sequence number that a segment's name tells, or undefined for other names. */
export function parseSegmentName(name: string): number | undefined {
  const digits = /^([0-9a-f]{16})\.journal$/.exec(name)?.[1];
  const sequence = digits === undefined ? Number.NaN : Number.parseInt(digits, 16);
  return Number.isSafeInteger(sequence) ? sequence : undefined;
}

export function encodeSegmentHeader(fields: SegmentFields, target: Memory, at: number): void {
  const { view } = target;
  const bytes = target.bytes.subarray(at, at + segmentHeader.bytes);
  bytes.fill(0);
  bytes.set(SEGMENT_MAGIC, segmentHeader.magic);
  view.setUint32(at + segmentHeader.version, JOURNAL_VERSION, true);
  bytes.set(Uint8Array.fromHex(fields.journalId), segmentHeader.journalId);
  setU64(view, at + segmentHeader.firstSequence, fields.firstSequence);
  setU64(view, at + segmentHeader.previousEnd, fields.previousEnd);
  setU64(view, at + segmentHeader.durableSequence, fields.durableSequence);
  setU64(view, at + segmentHeader.limitBytes, fields.limitBytes);
  view.setBigUint64(at + segmentHeader.hash, hash64(bytes.subarray(0, segmentHeader.hash)), true);
}

/** Reads a segment's header: undefined where it is not intact. Throws where a later version of voe has written it. */
export function parseSegmentHeader(source: Memory, at: number, path: string): SegmentFields | undefined {
  const { view } = source;
  const bytes = source.bytes.subarray(at, at + segmentHeader.bytes);
  if (SEGMENT_MAGIC.some((byte, index) => bytes[index] !== byte)) return undefined;
  if (view.getBigUint64(at + segmentHeader.hash, true) !== hash64(bytes.subarray(0, segmentHeader.hash))) {
    return undefined;
  }
  const version = view.getUint32(at + segmentHeader.version, true);
  if (version !== JOURNAL_VERSION) {
    throw new Error(`${path} has version ${version} of the journal's format, and this voe knows ${JOURNAL_VERSION}`);
  }
  return {
    journalId: bytes.subarray(segmentHeader.journalId, segmentHeader.journalId + 8).toHex(),
    firstSequence: getU64(view, at + segmentHeader.firstSequence),
    previousEnd: getU64(view, at + segmentHeader.previousEnd),
    durableSequence: getU64(view, at + segmentHeader.durableSequence),
    limitBytes: getU64(view, at + segmentHeader.limitBytes),
  };
}

/** What the headers of a segment's records are hashed with: different for every segment that ever was. */
export function segmentKey(journalId: string, firstSequence: number): Uint8Array {
  const source = new Uint8Array(16);
  source.set(Uint8Array.fromHex(journalId));
  setU64(new DataView(source.buffer), 8, firstSequence);
  const key = new Uint8Array(8);
  new DataView(key.buffer).setBigUint64(0, hash64(source), true);
  return key;
}

/**
 * A record's header with the segment's key before it, so that both are hashed in one go: the header lies at HEADER_AT
 * and is what goes to the disk.
 */
export const HEADER_AT = 8;
const HASHED_BYTES = HEADER_AT + recordHeader.hash;

/** Fills in what depends on the place, and the hash. `hashed` are the bytes that `hashedPart` gives for this header. */
export function sealRecordHeader(
  slots: Memory,
  at: number,
  hashed: Uint8Array,
  key: Uint8Array,
  offsetBytes: number,
  sequence: number,
  durableSequence: number,
): void {
  const { view } = slots;
  hashed.set(key);
  const header = at + HEADER_AT;
  view.setUint32(header + recordHeader.place, offsetBytes / UNIT_BYTES, true);
  setU64(view, header + recordHeader.sequence, sequence);
  setU64(view, header + recordHeader.durableSequence, durableSequence);
  view.setBigUint64(header + recordHeader.hash, hash64(hashed), true);
}

export const hashedPart = (slots: Memory, at: number): Uint8Array => slots.bytes.subarray(at, at + HASHED_BYTES);

/** Fills in what a record says, all but what `sealRecordHeader` adds. */
export function fillRecordHeader(
  view: DataView,
  header: number,
  kind: number,
  volume: number,
  firstSector: number,
  sectorCount: number,
  payloadBytes: number,
  payloadHash: bigint,
): void {
  view.setUint32(header + recordHeader.magic, RECORD_MAGIC, true);
  view.setUint32(header + recordHeader.kind, kind, true);
  view.setUint32(header + recordHeader.volume, volume, true);
  setU64(view, header + recordHeader.firstSector, firstSector);
  view.setUint32(header + recordHeader.sectorCount, sectorCount, true);
  view.setUint32(header + recordHeader.payloadBytes, payloadBytes, true);
  view.setBigUint64(header + recordHeader.payloadHash, payloadHash, true);
}

const check = allocateMemory(UNIT_BYTES);
const checked = hashedPart(check, 0);

/** Whether the bytes at `at` are the intact header of a record at `offsetBytes` of the segment with this key. */
export function isRecordHeader(source: Memory, at: number, key: Uint8Array, offsetBytes: number): boolean {
  const { view } = source;
  if (view.getUint32(at, true) !== RECORD_MAGIC) return false;
  if (view.getUint32(at + recordHeader.place, true) !== offsetBytes / UNIT_BYTES) return false;
  checked.set(key);
  checked.set(source.bytes.subarray(at, at + recordHeader.hash), HEADER_AT);
  if (view.getBigUint64(at + recordHeader.hash, true) !== hash64(checked)) return false;
  const kind = view.getUint32(at + recordHeader.kind, true);
  return kind >= WRITE && kind <= MARKER && payloadBytesOf(source, at) <= PAYLOAD_MOST_BYTES;
}

export const payloadBytesOf = (source: Memory, header: number): number =>
  source.view.getUint32(header + recordHeader.payloadBytes, true);

export const sequenceOf = (source: Memory, header: number): number =>
  getU64(source.view, header + recordHeader.sequence);

export const durableSequenceOf = (source: Memory, header: number): number =>
  getU64(source.view, header + recordHeader.durableSequence);

/** Whether the payload that follows the header at `at` is what was hashed when the record was written. */
export function isPayloadIntact(source: Memory, header: number): boolean {
  const start = header + recordHeader.bytes;
  const payload = source.bytes.subarray(start, start + payloadBytesOf(source, header));
  return source.view.getBigUint64(header + recordHeader.payloadHash, true) === hash64(payload);
}
