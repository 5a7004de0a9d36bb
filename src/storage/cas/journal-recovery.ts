/**
 * Reads a journal's segments from the oldest record to the end of what is intact, and decides what that end is. After
 * power loss the part that was not synced may have any holes, so an end is a torn tail unless something after it that
 * is intact says that what is missing was durable: then it is corruption.
 */
import { EIO, SystemError } from "../../../ffi/libc.ts";
import { allocateMemory, freeMemory } from "../../../ffi/memory.ts";
import type { Memory } from "../../base/memory.ts";
import type { DiskFile } from "./disk.ts";
import type { Claim, Damage } from "./journal-corruption.ts";
import {
  durableSequenceOf,
  getU64,
  isPayloadIntact,
  isRecordHeader,
  PAYLOAD_MOST_BYTES,
  payloadBytesOf,
  recordBytes,
  recordHeader,
  segmentHeader,
  type SegmentFields,
  segmentKey,
  sequenceOf,
  UNIT_BYTES,
} from "./journal-format.ts";
import { placeIn } from "./journal-segment.ts";

/** A record as recovery tells it. The object is one for all records and the payload holds during the call only. */
export interface JournalRecord {
  /** WRITE, DISCARD or MARKER of journal-format.ts. */
  kind: number;
  volume: number;
  firstSector: number;
  sectorCount: number;
  sequence: number;
  /** Place of the first sector, as `Journal.tryRead` takes it; the next sector's is one more. */
  place: number;
  payload: Memory;
  payloadAt: number;
  payloadBytes: number;
}

/** A segment's file as it was found. */
export interface FoundSegment {
  readonly file: DiskFile;
  /** From its name. */
  readonly firstSequence: number;
  /** Undefined where the header is not intact. */
  readonly header: SegmentFields | undefined;
  readonly sizeBytes: number;
  readonly key: Uint8Array;
  /** What the scan learns: where its intact records end, as offset and as sequence number. */
  endBytes: number;
  endSequence: number;
}

export interface Scan {
  /** Number of segments, from the oldest on, whose records were replayed, to the end or to the damage. */
  readonly intactCount: number;
  /** The sequence number after the last intact record. */
  readonly nextSequence: number;
  /** Where the segment to come has to say that the one before it ended. */
  readonly endSequence: number;
  readonly recordCount: number;
  /** Why not everything was replayed, and the proof that it ought to have been, where there is one. */
  readonly damage: Damage | undefined;
  readonly claim: Claim | undefined;
  /** Records after the damage whose header is intact, those of the damage itself included. */
  readonly lostCount: number;
}

const HEADER_DAMAGED = "the header is damaged";
const BUFFER_BYTES = 2 ** 20;
const RECORD_MOST_BYTES = recordBytes(PAYLOAD_MOST_BYTES);

/** A part of one file in memory, which moves forward. */
class Window {
  readonly memory = allocateMemory(BUFFER_BYTES);
  #file: DiskFile | undefined;
  startBytes = 0;
  endBytes = 0;

  /** Whether all that the file has of these bytes is present. */
  has(file: DiskFile, offsetBytes: number, lengthBytes: number, sizeBytes: number): boolean {
    const endBytes = Math.min(offsetBytes + lengthBytes, sizeBytes);
    return file === this.#file && offsetBytes >= this.startBytes && endBytes <= this.endBytes;
  }

  /** Moves to `offsetBytes`, which is within the file. */
  async moveTo(file: DiskFile, offsetBytes: number, sizeBytes: number): Promise<void> {
    const wanted = Math.min(BUFFER_BYTES, sizeBytes - offsetBytes);
    const done = await file.read(this.memory, 0, wanted, offsetBytes);
    if (done !== wanted)
      throw new SystemError(`${file.path} cannot be read at byte ${offsetBytes}`, done < 0 ? -done : EIO);
    this.#file = file;
    this.startBytes = offsetBytes;
    this.endBytes = offsetBytes + done;
  }
}

/** Replays what is intact and looks for proof of more. `found` is sorted, of one journal, and not empty. */
export async function scanJournal(
  found: readonly FoundSegment[],
  replay: (record: JournalRecord) => void,
): Promise<Scan> {
  const window = new Window();
  try {
    const replayed = await replaySegments(found, window, replay);
    if (replayed.damage === undefined) return { ...replayed, claim: undefined, lostCount: 0 };
    return { ...replayed, ...(await findClaim(found, window, replayed, replayed.damage.sequence)) };
  } finally {
    freeMemory(window.memory);
  }
}

interface Replayed extends Omit<Scan, "claim" | "lostCount"> {
  /** Where replaying stopped: number of the segment among those found, and offset in it. */
  readonly stoppedIn: number;
  readonly stoppedAt: number;
}

async function replaySegments(
  found: readonly FoundSegment[],
  window: Window,
  replay: (record: JournalRecord) => void,
): Promise<Replayed> {
  let nextSequence = found[0]!.header?.firstSequence ?? found[0]!.firstSequence;
  let endSequence = found[0]!.header?.previousEnd ?? nextSequence;
  let recordCount = 0;
  const record = { payload: window.memory } as JournalRecord;
  for (const [index, segment] of found.entries()) {
    const stop = (offsetBytes: number, what: string, intactCount: number): Replayed => {
      const damage = { path: segment.file.path, offsetBytes, sequence: nextSequence, what };
      const [stoppedIn, stoppedAt] = [index, offsetBytes];
      return { intactCount, nextSequence, endSequence, recordCount, damage, stoppedIn, stoppedAt };
    };
    if (segment.header === undefined) return stop(0, HEADER_DAMAGED, index);
    if (index > 0 && segment.header.previousEnd !== endSequence) {
      return stop(0, `records up to ${segment.header.previousEnd - 1} are missing before this file`, index);
    }
    nextSequence = segment.header.firstSequence;
    // The next segment's header knows where this one ended: what lies beyond are the remains of an earlier use of the
    // file, or of records that were refused. Its name is no proof: it may be of a file that could not be begun.
    const next = found[index + 1];
    const lastSequence = next?.header?.previousEnd ?? Number.POSITIVE_INFINITY;
    let offset: number = segmentHeader.bytes;
    while (offset < segment.sizeBytes && nextSequence < lastSequence) {
      if (!window.has(segment.file, offset, RECORD_MOST_BYTES, segment.sizeBytes)) {
        await window.moveTo(segment.file, offset, segment.sizeBytes);
      }
      const at = offset - window.startBytes;
      const what = findFault(window.memory, at, segment, offset, nextSequence);
      if (what !== undefined) {
        const stopped = stop(offset, what, index + 1);
        if (next === undefined || next.header !== undefined || next.firstSequence !== nextSequence) return stopped;
        // This is where the segment ends, as the next one would say.
        const damage = { path: next.file.path, offsetBytes: 0, sequence: nextSequence, what: HEADER_DAMAGED };
        return { ...stopped, damage };
      }
      // The segments are numbered from 1 on, as those of the journal will be that is opened with them.
      describe(record, at, placeIn(index + 1, offset + recordHeader.bytes));
      replay(record);
      recordCount++;
      nextSequence++;
      endSequence = nextSequence;
      offset += recordBytes(record.payloadBytes);
      segment.endBytes = offset;
      segment.endSequence = endSequence;
    }
    segment.endSequence = endSequence;
  }
  const ended = { intactCount: found.length, stoppedIn: found.length, stoppedAt: 0, damage: undefined };
  return { ...ended, nextSequence, endSequence, recordCount };
}

/** Why the bytes at `at` are not the record that belongs there, or undefined where they are. */
function findFault(
  memory: Memory,
  at: number,
  segment: FoundSegment,
  offset: number,
  sequence: number,
): string | undefined {
  const restBytes = segment.sizeBytes - offset;
  if (restBytes < recordHeader.bytes) return "the file ends within a record's header";
  if (!isRecordHeader(memory, at, segment.key, offset)) return "there is no intact record";
  if (sequenceOf(memory, at) !== sequence) return `there is record ${sequenceOf(memory, at)}`;
  if (restBytes < recordBytes(payloadBytesOf(memory, at))) return "the file ends within a record";
  return isPayloadIntact(memory, at) ? undefined : "the data of a record is damaged";
}

function describe(record: JournalRecord, at: number, place: number): void {
  const { view } = record.payload;
  record.kind = view.getUint32(at + recordHeader.kind, true);
  record.volume = view.getUint32(at + recordHeader.volume, true);
  record.firstSector = getU64(view, at + recordHeader.firstSector);
  record.sectorCount = view.getUint32(at + recordHeader.sectorCount, true);
  record.sequence = sequenceOf(record.payload, at);
  record.place = place;
  record.payloadAt = at + recordHeader.bytes;
  record.payloadBytes = payloadBytesOf(record.payload, at);
}

/** Looks at everything after the end of what was replayed for a header that says that the record there was durable. */
async function findClaim(
  found: readonly FoundSegment[],
  window: Window,
  { stoppedIn, stoppedAt }: Replayed,
  missing: number,
): Promise<Pick<Scan, "claim" | "lostCount">> {
  let lostCount = 0;
  for (const [index, segment] of found.slice(stoppedIn).entries()) {
    const { path } = segment.file;
    const durable = segment.header?.durableSequence ?? 0;
    const startBytes = index === 0 ? stoppedAt : 0;
    if (startBytes === 0 && durable > missing) {
      return { claim: { path, offsetBytes: 0, durableSequence: durable }, lostCount };
    }
    let offset = Math.max(startBytes, segmentHeader.bytes);
    while (offset + UNIT_BYTES <= segment.sizeBytes) {
      if (!window.has(segment.file, offset, UNIT_BYTES, segment.sizeBytes)) {
        await window.moveTo(segment.file, offset, segment.sizeBytes);
      }
      for (; offset + UNIT_BYTES <= window.endBytes; offset += UNIT_BYTES) {
        const at = offset - window.startBytes;
        if (!isRecordHeader(window.memory, at, segment.key, offset)) continue;
        // What an earlier use of the file has left had lower numbers: besides the key a second reason not to believe it.
        if (sequenceOf(window.memory, at) < missing) continue;
        lostCount++;
        const durableSequence = durableSequenceOf(window.memory, at);
        if (durableSequence > missing) {
          return { claim: { path, offsetBytes: offset, durableSequence }, lostCount };
        }
      }
    }
  }
  return { claim: undefined, lostCount };
}

/** Opens nothing and closes nothing: what a file and its header say, for `scanJournal`. */
export function foundSegment(
  file: DiskFile,
  firstSequence: number,
  header: SegmentFields | undefined,
  sizeBytes: number,
  journalId: string,
): FoundSegment {
  const key = segmentKey(journalId, firstSequence);
  const endSequence = header?.previousEnd ?? firstSequence;
  return { file, firstSequence, header, sizeBytes, key, endBytes: segmentHeader.bytes, endSequence };
}
