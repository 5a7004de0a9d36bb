/**
 * The journal: writes in the order in which they were accepted, each with its data. It is what answers are given on,
 * and until the next checkpoint it is where their data is read from. See docs/format.md for the bytes, and
 * `open-journal.ts` for how it is opened and what is found after a crash.
 */
import { EDQUOT, EFBIG, ENOSPC, errorName, SystemError } from "../../../ffi/libc.ts";
import type { Memory } from "../../base/memory.ts";
import { MEDIUM_ERROR, NO_SPACE, OK, type StorageStatus } from "../block-storage.ts";
import type { Disk } from "./disk.ts";
import { type Report, readPayload, tryReadPayload } from "./journal-reader.ts";
import { createSegment, isEmpty, ordinalOf, prepareUpTo, type Segment } from "./journal-segment.ts";
import type { RecordBatch } from "./record-batch.ts";
import { SPARE_MOST_BYTES, type SpareSegments } from "./spare-segments.ts";

/** What `append` returns, besides statuses, when the journal has reached its limit: nothing was taken. */
export const FULL = 16;

/** What markers may take beyond the limit, so that a full journal can still note the checkpoint that empties it. */
export const RESERVE_BYTES = 2 ** 20;

export interface JournalState {
  readonly disk: Disk;
  readonly directory: string;
  /** Eight bytes in hexadecimal that tell this journal from others. */
  readonly id: string;
  /** Oldest first; the last one, to which records are appended, is durable and has none. */
  readonly segments: Segment[];
  readonly spares: SpareSegments;
  readonly segmentBytes: number;
  readonly limitBytes: number;
  readonly report: Report;
}

export class Journal {
  readonly id: string;
  readonly limitBytes: number;
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #segmentBytes: number;
  readonly #report: Report;
  readonly #segments: Segment[];
  readonly #spares: SpareSegments;
  readonly #byOrdinal = new Map<number, Segment>();
  #current: Segment;
  #nextSequence: number;
  #durableSequence: number;
  #sizeBytes = 0;
  /** Bytes of all segments when the last release began. */
  #lastPeakBytes = 0;
  #failure: Error | undefined;
  /** A file was created, and the directory not synced since. */
  #namesUnsynced = false;
  /** The remains of a record that did not fit were cut off, and that is not yet durable. */
  #settling = false;
  #syncing: Promise<void> | undefined;
  #nextSync: Promise<void> | undefined;
  #releasing: Promise<void> = Promise.resolve();

  constructor(state: JournalState) {
    this.id = state.id;
    this.limitBytes = state.limitBytes;
    this.#disk = state.disk;
    this.#directory = state.directory;
    this.#segmentBytes = state.segmentBytes;
    this.#report = state.report;
    this.#segments = state.segments;
    this.#spares = state.spares;
    this.#current = state.segments.at(-1)!;
    this.#nextSequence = this.#current.firstSequence;
    this.#durableSequence = this.#current.firstSequence;
    for (const segment of state.segments) {
      this.#byOrdinal.set(segment.ordinal, segment);
      this.#sizeBytes += segment.endBytes;
    }
  }

  /** Bytes of all segments. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Sequence number of the next record. Numbers grow and are never given twice, but they may skip some. */
  get nextSequence(): number {
    return this.#nextSequence;
  }

  /** Every record before this one survives power loss. */
  get durableSequence(): number {
    return this.#durableSequence;
  }

  /** Why nothing is accepted any more, where a sync or a write failed. What was accepted can still be read. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  /**
   * Appends the batch to the page cache in one call, and tells it the places. Returns OK; FULL at the limit, where
   * nothing was taken: checkpoint and release; NO_SPACE where the disk is full, when the first `acceptedCount` records
   * were taken and the others were not (after a crash the first of those may be found all the same, as the last record,
   * where the file held its missing end already: zeros); MEDIUM_ERROR where the journal has failed. Measured on ext4, for a record of 1, 4
   * and 8 KiB: 0.75, 1.3 and 2.1 us alone, 0.45, 1.1 and 1.75 us among 16.
   */
  append(batch: RecordBatch): StorageStatus {
    batch.acceptedCount = 0;
    if (this.#failure !== undefined) return MEDIUM_ERROR;
    const { totalBytes } = batch;
    const limitBytes = batch.onlyMarkers ? this.limitBytes + RESERVE_BYTES : this.limitBytes;
    if (this.#sizeBytes + totalBytes > limitBytes) return FULL;
    if (this.#settling) return NO_SPACE;
    if (this.#current.endBytes + totalBytes > this.#segmentBytes && !isEmpty(this.#current)) {
      const status = this.rotate();
      if (status !== OK) return status;
    }
    const segment = this.#current;
    const { endBytes } = segment;
    prepareUpTo(segment, endBytes + totalBytes);
    batch.seal(segment.key, segment.ordinal, endBytes, this.#nextSequence, this.#durableSequence);
    const written = segment.file.writeRanges(batch.ranges, endBytes);
    if (written > 0) segment.synced = false;
    this.#advance(segment, batch, batch.accept(Math.max(0, written)));
    return written === totalBytes ? OK : this.#cutShort(segment, written);
  }

  #advance(segment: Segment, batch: RecordBatch, lengthBytes: number): void {
    if (batch.acceptedCount === 0) return;
    segment.endBytes += lengthBytes;
    this.#sizeBytes += lengthBytes;
    this.#nextSequence += batch.acceptedCount;
    segment.endSequence = this.#nextSequence;
  }

  /**
   * A write stopped at `written` bytes. What there is of the next record is cut off, and no other takes its place
   * before that is durable: after a crash a sector of the one could stand among those of the other.
   */
  #cutShort(segment: Segment, written: number): StorageStatus {
    const { path } = segment.file;
    if (written < 0) return this.#refuse(new SystemError(`${path} cannot be written`, -written));
    try {
      segment.file.truncate(segment.endBytes);
    } catch (error) {
      return this.#fail(error as Error);
    }
    this.#settling = true;
    this.sync().then(
      () => {
        this.#settling = false;
      },
      // The failure is kept, and refuses everything from now on.
      () => {},
    );
    return this.#refuse(new SystemError(`${path} cannot be written`, ENOSPC));
  }

  /** The disk is full, which passes; everything else does not. */
  #refuse(error: SystemError): StorageStatus {
    if (error.errno !== ENOSPC && error.errno !== EDQUOT && error.errno !== EFBIG) return this.#fail(error);
    this.#report(
      `${this.#directory}:full`,
      `${this.#directory}: the journal cannot grow (${errorName(error.errno)}). Writes are refused until there is room: free space on its filesystem, or enlarge it`,
    );
    return NO_SPACE;
  }

  #fail(error: Error): StorageStatus {
    if (this.#failure === undefined) {
      const reason = `${this.#directory}: the journal failed (${error.message}). Nothing more is accepted, since what the system could not write it has dropped. Check the medium, then start voe again`;
      this.#failure = new Error(reason, { cause: error });
      this.#report(`${this.#directory}:failed`, reason);
    }
    return MEDIUM_ERROR;
  }

  /** Accepts nothing any more, for a reason that is not the journal's. What was accepted can still be read. */
  stop(reason: Error): void {
    this.#failure ??= reason;
  }

  /**
   * Begins a new segment, so that what was appended before can be released as a whole, which is what a checkpoint wants:
   * records before `nextSequence` are in older segments then. Returns OK, NO_SPACE or MEDIUM_ERROR.
   */
  rotate(): StorageStatus {
    if (this.#failure !== undefined) return MEDIUM_ERROR;
    if (isEmpty(this.#current)) return OK;
    try {
      const fields = {
        journalId: this.id,
        firstSequence: this.#nextSequence,
        previousEnd: this.#current.endSequence,
        durableSequence: this.#durableSequence,
        limitBytes: this.limitBytes,
      };
      this.#current = createSegment(this.#disk, this.#directory, this.#current.ordinal + 1, fields, this.#spares);
    } catch (error) {
      if (error instanceof SystemError) return this.#refuse(error);
      throw error;
    }
    this.#namesUnsynced = true;
    this.#segments.push(this.#current);
    this.#byOrdinal.set(this.#current.ordinal, this.#current);
    this.#sizeBytes += this.#current.endBytes;
    return OK;
  }

  /**
   * Makes everything accepted before this call durable; calls that come while one sync runs share the next. Rejects
   * where that fails, which is final: see `failure`.
   */
  sync(): Promise<void> {
    // One at a time: a sync that succeeds beside one that fails would say more than is true.
    if (this.#nextSync !== undefined) return this.#nextSync;
    if (this.#syncing === undefined) {
      this.#syncing = this.#syncAll();
      return this.#syncing;
    }
    this.#nextSync = this.#syncing
      .catch(() => {})
      .then(() => {
        this.#nextSync = undefined;
        this.#syncing = this.#syncAll();
        return this.#syncing;
      });
    return this.#nextSync;
  }

  async #syncAll(): Promise<void> {
    try {
      if (this.#failure !== undefined) throw this.#failure;
      const upTo = this.#nextSequence;
      const work: Promise<void>[] = [];
      for (const segment of this.#segments) {
        if (segment.synced) continue;
        segment.synced = true;
        work.push(segment.file.sync());
      }
      if (this.#namesUnsynced) {
        this.#namesUnsynced = false;
        work.push(this.#disk.syncDirectory(this.#directory));
      }
      await Promise.all(work);
      this.#durableSequence = upTo;
    } catch (error) {
      this.#fail(error as Error);
      throw this.#failure;
    } finally {
      this.#syncing = undefined;
    }
  }

  /**
   * Lets go of the segments that hold only records before this sequence number, oldest first, after a sync. The one
   * that is appended to stays: `rotate` first. Their places must not be read any more. Rejects where a file cannot be
   * renamed or removed, which may be tried again, or a sync fails, which is final.
   *
   * The files are kept for segments to come, as many as the journal took since the release before: so much it will take
   * until the next.
   */
  release(beforeSequence: number): Promise<void> {
    const released = this.#releasing.catch(() => {}).then(() => this.#releaseNow(beforeSequence));
    this.#releasing = released;
    return released;
  }

  async #releaseNow(beforeSequence: number): Promise<void> {
    // The oldest segment that stays is where the next recovery begins: it must be there.
    await this.sync();
    const peakBytes = this.#sizeBytes;
    for (;;) {
      const oldest = this.#segments[0]!;
      if (oldest === this.#current || oldest.endSequence > beforeSequence || !oldest.synced) break;
      await this.#releaseOldest(oldest);
    }
    // The last segments of both times were not full.
    const mostBytes = Math.max(peakBytes, this.#lastPeakBytes) - this.#sizeBytes + this.#segmentBytes;
    this.#spares.trim(Math.min(SPARE_MOST_BYTES, Math.max(0, mostBytes)));
    this.#lastPeakBytes = peakBytes;
  }

  async #releaseOldest(oldest: Segment): Promise<void> {
    const { file } = oldest;
    // What is still being read must not be written over.
    const recyclable = oldest.readCount === 0;
    const sizeBytes = recyclable ? file.sizeBytes() : 0;
    const spare = recyclable ? this.#spares.retire(file.path, oldest.firstSequence) : undefined;
    if (!recyclable) this.#disk.remove(file.path);
    this.#segments.shift();
    this.#byOrdinal.delete(oldest.ordinal);
    this.#sizeBytes -= oldest.endBytes;
    oldest.released = true;
    this.#closeUnused(oldest);
    // One after the other, so that a crash leaves no gap between segments.
    this.#namesUnsynced = true;
    await this.sync();
    if (spare !== undefined) this.#spares.keep(spare, sizeBytes);
  }

  /** Gives the space of spare segments back to the disk: false where there was none. */
  dropSpares(): boolean {
    const hadSome = this.#spares.sizeBytes > 0;
    this.#spares.trim(0);
    return hadSome;
  }

  /** Closing gives the file's space and cached pages back, which takes a while: never waited for. */
  #closeUnused(segment: Segment): void {
    if (!segment.released || segment.readCount > 0) return;
    segment.file.close().catch((error: Error) => this.#report(`${segment.file.path}:close`, error.message));
  }

  /**
   * Copies `lengthBytes` from the sector at `place` on, all of them in that record, verified against the record's hash:
   * OK; LATER: call `read`; MEDIUM_ERROR, reported. The record is read whole, whatever is asked of it.
   */
  tryRead(place: number, lengthBytes: number, target: Memory, at: number): StorageStatus {
    return tryReadPayload(this.#segmentOf(place), place, lengthBytes, target, at, this.#report);
  }

  /** The same, off the event loop. `target` must stay allocated and untouched until then. */
  async read(place: number, lengthBytes: number, target: Memory, at: number): Promise<StorageStatus> {
    const segment = this.#segmentOf(place);
    segment.readCount++;
    try {
      return await readPayload(segment, place, lengthBytes, target, at, this.#report);
    } finally {
      segment.readCount--;
      this.#closeUnused(segment);
    }
  }

  #segmentOf(place: number): Segment {
    const segment = this.#byOrdinal.get(ordinalOf(place));
    if (segment === undefined)
      throw new Error(`place ${place} is in no segment of ${this.#directory}: was it released?`);
    return segment;
  }

  /**
   * Makes everything durable and lets go of the files; reads must have ended. Rejects where the sync fails, or the
   * journal had failed.
   */
  async close(): Promise<void> {
    try {
      await this.#releasing.catch(() => {});
      await this.sync();
      // The header of a new segment says that everything before it is durable: damage to the last records, which no
      // record after them could tell from a torn tail, is corruption from now on.
      if (this.rotate() === OK) await this.sync();
    } finally {
      this.#failure ??= new Error(`${this.#directory}: the journal is closed`);
      await Promise.all(this.#segments.map((segment) => segment.file.close()));
    }
  }
}
