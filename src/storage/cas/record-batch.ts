/** Records that are appended to the journal in one call: made once, filled, appended, cleared, filled again. */
import { allocateMemory } from "../../../ffi/memory.ts";
import type { Memory } from "../../base/memory.ts";
import { SECTOR_BYTES } from "../block-storage.ts";
import { RangeList } from "./disk.ts";
import {
  DISCARD,
  fillRecordHeader,
  hash64,
  hashedPart,
  HEADER_AT,
  MARKER,
  padded,
  PAYLOAD_MOST_BYTES,
  recordHeader,
  sealRecordHeader,
  WRITE,
} from "./journal-format.ts";
import { placeIn } from "./journal-segment.ts";

/** Most records of one batch: that of frames which are received at once. */
export const BATCH_MOST_RECORDS = 64;

const SLOT_BYTES = 2 * recordHeader.bytes;
const zeros = allocateMemory(recordHeader.bytes);
const NOTHING = hash64(new Uint8Array(0));

/**
 * The payloads are not copied: they are hashed when they are added, and must not change until the batch was appended.
 * Per record it allocates the view and the number that `Bun.hash` asks for and gives, and nothing else.
 */
export class RecordBatch {
  /** Records in the batch. */
  count = 0;
  /** How many of them, from the first on, the last `append` has taken. */
  acceptedCount = 0;
  /** Whether there is nothing but markers, which may use the journal's reserve. */
  onlyMarkers = true;
  readonly ranges = new RangeList();
  readonly #slots = allocateMemory(BATCH_MOST_RECORDS * SLOT_BYTES);
  readonly #hashed = Array.from({ length: BATCH_MOST_RECORDS }, (_, index) =>
    hashedPart(this.#slots, index * SLOT_BYTES),
  );
  readonly #recordBytes = new Float64Array(BATCH_MOST_RECORDS);
  readonly #places = new Float64Array(BATCH_MOST_RECORDS);
  #firstSequence = 0;

  /** Bytes that the batch takes in the journal. */
  get totalBytes(): number {
    return this.ranges.totalBytes;
  }

  get isFull(): boolean {
    return this.count === BATCH_MOST_RECORDS;
  }

  clear(): void {
    this.count = 0;
    this.acceptedCount = 0;
    this.onlyMarkers = true;
    this.ranges.clear();
  }

  /** Adds a write of at most PAYLOAD_MOST_BYTES, whose data lies in `source` from byte `at` on. */
  addWrite(volume: number, sector: number, sectorCount: number, source: Memory, at: number): void {
    this.onlyMarkers = false;
    this.#add(WRITE, volume, sector, sectorCount, source, at, sectorCount * SECTOR_BYTES);
  }

  /** Adds the discard of at most 2^32-1 sectors. */
  addDiscard(volume: number, sector: number, sectorCount: number): void {
    this.onlyMarkers = false;
    this.#add(DISCARD, volume, sector, sectorCount, zeros, 0, 0);
  }

  /** Adds bytes that mean nothing to the journal, at most PAYLOAD_MOST_BYTES. */
  addMarker(volume: number, source: Memory, at: number, lengthBytes: number): void {
    this.#add(MARKER, volume, 0, 0, source, at, lengthBytes);
  }

  #add(
    kind: number,
    volume: number,
    sector: number,
    sectorCount: number,
    source: Memory,
    at: number,
    payloadBytes: number,
  ): void {
    if (this.isFull) throw new Error(`a batch takes at most ${BATCH_MOST_RECORDS} records`);
    if (payloadBytes > PAYLOAD_MOST_BYTES) {
      throw new Error(`a record takes at most ${PAYLOAD_MOST_BYTES} bytes, not ${payloadBytes}`);
    }
    const header = this.count * SLOT_BYTES + HEADER_AT;
    const payloadHash = payloadBytes === 0 ? NOTHING : hash64(source.bytes.subarray(at, at + payloadBytes));
    fillRecordHeader(this.#slots.view, header, kind, volume, sector, sectorCount, payloadBytes, payloadHash);
    this.ranges.add(this.#slots, header, recordHeader.bytes);
    if (payloadBytes > 0) this.ranges.add(source, at, payloadBytes);
    const paddingBytes = padded(payloadBytes) - payloadBytes;
    if (paddingBytes > 0) this.ranges.add(zeros, 0, paddingBytes);
    this.#recordBytes[this.count++] = recordHeader.bytes + payloadBytes + paddingBytes;
  }

  /** Says where the records will lie: from `offsetBytes` of this segment, numbered from `sequence` on. */
  seal(key: Uint8Array, ordinal: number, offsetBytes: number, sequence: number, durableSequence: number): void {
    this.#firstSequence = sequence;
    let doneBytes = 0;
    for (let index = 0; index < this.count; index++) {
      const offset = offsetBytes + doneBytes;
      const hashed = this.#hashed[index]!;
      sealRecordHeader(this.#slots, index * SLOT_BYTES, hashed, key, offset, sequence + index, durableSequence);
      this.#places[index] = placeIn(ordinal, offset + recordHeader.bytes);
      doneBytes += this.#recordBytes[index]!;
    }
  }

  /** Notes how much of the batch was written, and returns the bytes of the records that are whole. */
  accept(writtenBytes: number): number {
    let wholeBytes = 0;
    this.acceptedCount = 0;
    while (this.acceptedCount < this.count) {
      const withNext = wholeBytes + this.#recordBytes[this.acceptedCount]!;
      if (withNext > writtenBytes) break;
      wholeBytes = withNext;
      this.acceptedCount++;
    }
    return wholeBytes;
  }

  /** Place of an accepted record's first sector, as `Journal.tryRead` takes it; the next sector's is one more. */
  placeOf(index: number): number {
    return this.#places[index]!;
  }

  sequenceOf(index: number): number {
    return this.#firstSequence + index;
  }
}
