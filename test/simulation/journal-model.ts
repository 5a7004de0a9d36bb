/** What a journal ought to hold: the records it has accepted, and which of them it may have lost. */
import { DISCARD, MARKER, WRITE } from "../../src/storage/cas/journal-format.ts";
import type { JournalRecord } from "../../src/storage/cas/journal-recovery.ts";
import type { RecordBatch } from "../../src/storage/cas/record-batch.ts";

export interface ModelRecord {
  readonly kind: number;
  readonly volume: number;
  readonly sector: number;
  readonly count: number;
  readonly payload: Uint8Array;
  sequence: number;
  place: number;
  /** What the record says of those before it: they were durable. */
  claim: number;
}

export class JournalModel {
  /** In the order of their sequence numbers; those that were released may be among them. */
  accepted: ModelRecord[] = [];
  /** Every record before this must be found again. */
  durableSequence = 0;
  /** Records before this may be gone because they were released. */
  releasedBefore = 0;
  /** The largest sequence number that was ever given. */
  lastSequence = 0;
  /** The record that did not fit, which may be found as the last one. */
  refused: ModelRecord | undefined;

  accept(records: ModelRecord[], batch: RecordBatch, durableSequence: number): void {
    this.refused = records[batch.acceptedCount];
    for (let index = 0; index < batch.acceptedCount; index++) {
      const record = records[index]!;
      record.sequence = batch.sequenceOf(index);
      record.place = batch.placeOf(index);
      record.claim = durableSequence;
      if (record.sequence <= this.lastSequence) throw new Error(`sequence number ${record.sequence} was given twice`);
      this.lastSequence = record.sequence;
      this.accepted.push(record);
    }
  }

  /** Why these recovered records are not what the journal ought to hold, or undefined where they are. */
  fault(found: readonly ModelRecord[], everything: boolean): string | undefined {
    const first = found[0]?.sequence ?? this.#afterLast();
    let start = this.accepted.findIndex((record) => record.sequence >= first);
    if (start < 0) start = this.accepted.length;
    const before = this.accepted[start - 1];
    if (found.length > 0 && before !== undefined && before.sequence >= this.releasedBefore) {
      return `record ${before.sequence} is missing at the beginning, released was what is before ${this.releasedBefore}`;
    }
    for (const [index, record] of found.entries()) {
      const accepted = this.accepted[start + index];
      if (accepted !== undefined) {
        if (!isSame(record, accepted))
          return `record ${record.sequence} is not what was accepted as ${accepted.sequence}`;
      } else if (index !== found.length - 1 || this.refused === undefined || !isAlike(record, this.refused)) {
        return `record ${record.sequence} was never accepted`;
      }
    }
    const lost = this.accepted.slice(start + found.length);
    const missing = lost.find((record) => everything || record.sequence < this.durableSequence);
    if (missing !== undefined && missing.sequence >= this.releasedBefore) {
      return `record ${missing.sequence} is lost, and everything before ${this.durableSequence} was durable`;
    }
    return undefined;
  }

  /** Goes on with what was recovered, all of which is durable. */
  adopt(found: ModelRecord[], nextSequence: number): void {
    this.accepted = found;
    this.durableSequence = nextSequence;
    this.refused = undefined;
  }

  #afterLast(): number {
    const kept = this.accepted.find((record) => record.sequence >= this.releasedBefore);
    return kept?.sequence ?? this.lastSequence + 1;
  }
}

export function copyOf(record: JournalRecord): ModelRecord {
  return {
    kind: record.kind,
    volume: record.volume,
    sector: record.firstSector,
    count: record.sectorCount,
    payload: record.payload.bytes.slice(record.payloadAt, record.payloadAt + record.payloadBytes),
    sequence: record.sequence,
    place: record.place,
    claim: 0,
  };
}

const isAlike = (a: ModelRecord, b: ModelRecord): boolean =>
  a.kind === b.kind &&
  a.volume === b.volume &&
  a.sector === b.sector &&
  a.count === b.count &&
  Buffer.compare(a.payload, b.payload) === 0;

const isSame = (a: ModelRecord, b: ModelRecord): boolean => a.sequence === b.sequence && isAlike(a, b);

export const kinds = [WRITE, WRITE, WRITE, DISCARD, MARKER] as const;
