/** One file of a journal. */
import { join } from "node:path";
import { ENOSPC, SystemError } from "../../../ffi/libc.ts";
import { allocateMemory } from "../../../ffi/memory.ts";
import type { Disk, DiskFile } from "./disk.ts";
import { SECTOR_BYTES } from "../block-storage.ts";
import {
  encodeSegmentHeader,
  PAYLOAD_MOST_BYTES,
  segmentHeader,
  segmentKey,
  segmentName,
  type SegmentFields,
  UNIT_BYTES,
} from "./journal-format.ts";
import type { SpareSegments } from "./spare-segments.ts";

/** Largest configurable size of a segment: a place has 23 bits for the offset in it, in units of 64 bytes. */
export const SEGMENT_MOST_BYTES = 2 ** 29;

const SECTORS_MOST = PAYLOAD_MOST_BYTES / SECTOR_BYTES;
const ORDINAL_STEP = (SEGMENT_MOST_BYTES / UNIT_BYTES) * SECTORS_MOST;

export interface Segment {
  /** Number of the segment in this process, from 1 on. */
  readonly ordinal: number;
  readonly file: DiskFile;
  readonly key: Uint8Array;
  readonly firstSequence: number;
  /** One more than its last record's sequence number; of a segment without records, where the one before it ends. */
  endSequence: number;
  /** Where the next record goes. */
  endBytes: number;
  /** Up to where the file was made quick to write. */
  preparedBytes: number;
  /** Whether a sync that began after the last change covers it. */
  synced: boolean;
  /** Reads that are under way, which keep the file open. */
  readCount: number;
  released: boolean;
}

/**
 * A place in the journal is one number, at least 1: the segment's ordinal, 23 bits for the offset of a record's payload
 * in units of 64 bytes, and 7 bits for a sector of that payload. So the places of a record's sectors go up by 1, and
 * each of them tells where the record is that it is verified with. Places hold while the process lives and the segment
 * is not released.
 */
export const placeIn = (ordinal: number, payloadAt: number): number =>
  ordinal * ORDINAL_STEP + (payloadAt / UNIT_BYTES) * SECTORS_MOST;
export const ordinalOf = (place: number): number => Math.floor(place / ORDINAL_STEP);
/** Offset in the segment of the payload that a place lies in. */
export const payloadOffsetOf = (place: number): number =>
  Math.floor((place % ORDINAL_STEP) / SECTORS_MOST) * UNIT_BYTES;
/** Offset in that payload of the sector at a place. */
export const skipOf = (place: number): number => (place % SECTORS_MOST) * SECTOR_BYTES;

export const isEmpty = (segment: Segment): boolean => segment.endBytes === segmentHeader.bytes;

const header = allocateMemory(segmentHeader.bytes);

/**
 * How much of a segment is prepared at a time: the page cache then keeps it in pieces of this size, which take small
 * writes faster than single pages do, and than pieces of 512 KiB. Measured on ext4, a write of 8 KiB: 1.2 us into
 * prepared pages, 2.0 us into single pages, 3.1 us at the end of the file.
 */
const PREPARED_BYTES = 65_536;

/** Prepares what an append up to `endBytes` will not fill whole. */
export function prepareUpTo(segment: Segment, endBytes: number): void {
  if (endBytes <= segment.preparedBytes) return;
  const from = Math.max(segment.preparedBytes, Math.floor(endBytes / PREPARED_BYTES) * PREPARED_BYTES);
  const to = Math.ceil(endBytes / PREPARED_BYTES) * PREPARED_BYTES;
  if (from < to) segment.file.prepare(from, to - from);
  segment.preparedBytes = to;
}

/**
 * Makes a segment's file, of a spare one where there is any, and writes its header. Durable once file and directory are
 * synced.
 */
export function createSegment(
  disk: Disk,
  directory: string,
  ordinal: number,
  fields: SegmentFields,
  spares?: SpareSegments,
): Segment {
  const path = join(directory, segmentName(fields.firstSequence));
  const recycled = spares?.take(path);
  const file = recycled ?? disk.create(path);
  // A file that is new holds its header and nothing else until it is durable: see `unborn` of open-journal.ts.
  recycled?.prepare(0, PREPARED_BYTES);
  encodeSegmentHeader(fields, header, 0);
  const written = file.write(header, 0, segmentHeader.bytes, 0);
  if (written !== segmentHeader.bytes) {
    // The same name is wanted again when there is room.
    disk.remove(path);
    void file.close().catch(() => {});
    throw new SystemError(`${path} cannot be begun`, written < 0 ? -written : ENOSPC);
  }
  return {
    ordinal,
    file,
    key: segmentKey(fields.journalId, fields.firstSequence),
    firstSequence: fields.firstSequence,
    endSequence: fields.previousEnd,
    endBytes: segmentHeader.bytes,
    preparedBytes: recycled === undefined ? segmentHeader.bytes : PREPARED_BYTES,
    synced: false,
    readCount: 0,
    released: false,
  };
}
