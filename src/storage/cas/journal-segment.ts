/** One file of a journal. */
import { join } from "node:path";
import { ENOSPC, SystemError } from "../../../ffi/libc.ts";
import { allocateMemory } from "../../../ffi/memory.ts";
import type { Disk, DiskFile } from "./disk.ts";
import { encodeSegmentHeader, segmentHeader, segmentKey, segmentName, type SegmentFields } from "./journal-format.ts";

/** Largest configurable size of a segment: a place has 30 bits for the offset in it. */
export const SEGMENT_MOST_BYTES = 2 ** 30;

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
  /** Whether a sync that began after the last change covers it. */
  synced: boolean;
  /** Reads that are under way, which keep the file open. */
  readCount: number;
  released: boolean;
}

/**
 * A place in the journal is one number: the segment's ordinal in the high bits, the offset in bytes in the low 30.
 * Places hold while the process lives and the segment is not released; a payload's sectors follow each other.
 */
export const placeIn = (segment: Segment, offsetBytes: number): number =>
  segment.ordinal * SEGMENT_MOST_BYTES + offsetBytes;
export const ordinalOf = (place: number): number => Math.floor(place / SEGMENT_MOST_BYTES);
export const offsetOf = (place: number): number => place % SEGMENT_MOST_BYTES;

export const isEmpty = (segment: Segment): boolean => segment.endBytes === segmentHeader.bytes;

const header = allocateMemory(segmentHeader.bytes);

/** Creates a segment's file and writes its header. Durable once file and directory are synced. */
export function createSegment(disk: Disk, directory: string, ordinal: number, fields: SegmentFields): Segment {
  const path = join(directory, segmentName(fields.firstSequence));
  const file = disk.create(path);
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
    synced: false,
    readCount: 0,
    released: false,
  };
}
