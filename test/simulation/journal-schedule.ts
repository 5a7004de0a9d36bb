/**
 * One seeded run of a journal on the simulated disk: lives of a process that appends, syncs, rotates, releases and
 * reads, each ended by a power cut, a kill, a failed sync or an orderly close, and after each the recovery, checked
 * against the model. Throws what is wrong; the same seed does the same again.
 */
import { EIO, SystemError } from "../../ffi/libc.ts";
import { allocateMemory } from "../../ffi/memory.ts";
import type { Memory } from "../../src/base/memory.ts";
import { LATER, MEDIUM_ERROR, NO_SPACE, OK } from "../../src/storage/block-storage.ts";
import { DISCARD, MARKER, WRITE } from "../../src/storage/cas/journal-format.ts";
import { FULL, type Journal } from "../../src/storage/cas/journal.ts";
import type { Disk } from "../../src/storage/cas/disk.ts";
import { openJournal, type OpenOptions } from "../../src/storage/cas/open-journal.ts";
import { RecordBatch } from "../../src/storage/cas/record-batch.ts";
import { type SeededRandom, seededRandom } from "../support/seeded-random.ts";
import { copyOf, JournalModel, kinds, type ModelRecord } from "./journal-model.ts";
import { PowerLoss, SimulatedDisk } from "./simulated-disk.ts";

export const DIRECTORY = "/state/journal";
const SOURCE_BYTES = 64 * 1024;
const SECTOR_BYTES = 512;

const source = allocateMemory(SOURCE_BYTES);
const batch = new RecordBatch();

/** How often what happened, over all runs: a simulation that meets no faults proves nothing. */
export interface Tally {
  [what: string]: number;
}

export class JournalRun {
  readonly random: SeededRandom;
  readonly disk: SimulatedDisk;
  readonly model = new JournalModel();
  journal: Journal | undefined;
  /** The journal's id, and what the last checkpoint would know, once it was open. */
  expected: { journalId: string; fromSequence: number } | undefined;
  readonly #segmentBytes: number;
  readonly #limitBytes: number;
  /** Whether a sync failed in this life: then what is in the page cache is no proof. */
  #syncFailed = false;
  readonly #targets: Memory[] = [];
  #pending: Promise<void>[] = [];
  #failures: unknown[] = [];

  constructor(
    readonly seed: number,
    readonly tally: Tally,
  ) {
    this.random = seededRandom(seed);
    this.disk = new SimulatedDisk(this.random);
    this.disk.makeDirectory("/state");
    this.#segmentBytes = this.random.pick([1024, 4096, 16_384]);
    this.#limitBytes = this.random.pick([32_768, 65_536, 262_144]);
  }

  count(what: string): void {
    this.tally[what] = (this.tally[what] ?? 0) + 1;
  }

  options(): OpenOptions {
    return {
      ...(this.expected !== undefined && (this.model.releasedBefore > 0 || this.random.chance(0.5))
        ? { expected: this.expected }
        : {}),
      segmentBytes: this.#segmentBytes,
      limitBytes: this.#limitBytes,
      random: (bytes) => this.random.fill(bytes),
      report: () => {},
    };
  }

  /** Opens the journal, through power cuts and kills while it does, and checks what it found. */
  async recover(everything: boolean): Promise<void> {
    let all = everything;
    const { failedSyncCount } = this.disk;
    for (let attempt = 0; ; attempt++) {
      const found: ModelRecord[] = [];
      if (attempt < 5 && this.random.chance(0.5)) this.disk.losePowerAfter(this.random.below(30));
      if (attempt < 3 && this.random.chance(0.1)) this.disk.failingSyncs = 1;
      if (attempt < 3 && this.random.chance(0.1)) this.disk.failingWrites = 1;
      const { failedWriteCount } = this.disk;
      try {
        const { journal } = await openJournal(this.#session(), DIRECTORY, this.options(), (record) => {
          found.push(copyOf(record));
        });
        this.disk.losePowerAfter(Number.POSITIVE_INFINITY);
        this.disk.failingSyncs = 0;
        this.disk.failingWrites = 0;
        const fault = this.model.fault(found, all);
        if (fault !== undefined) throw new Error(fault);
        if (found.length < this.model.accepted.length) this.count("recoveries that lost something");
        if (journal.nextSequence <= this.model.lastSequence) throw new Error("sequence numbers are given again");
        this.model.adopt(found, journal.nextSequence);
        this.journal = journal;
        this.expected ??= { journalId: journal.id, fromSequence: 1 };
        return;
      } catch (error) {
        if (this.disk.failedWriteCount > failedWriteCount) this.count("failed writes during recovery");
        else if (error instanceof PowerLoss) this.count("crashes during recovery");
        else if (error instanceof SystemError && error.errno === EIO) this.count("failed syncs during recovery");
        else throw error;
        if (this.disk.failedSyncCount !== failedSyncCount) all = false;
        if (this.random.chance(0.5)) {
          this.disk.crash();
          all = false;
        } else {
          this.disk.restart();
        }
      }
    }
  }

  /** The disk of one life, on which it is counted how often a segment's file is used again. */
  #session(): Disk {
    const session = this.disk.session();
    return {
      ...session,
      rename: (from, to) => {
        session.rename(from, to);
        if (to.endsWith(".journal")) this.count("recycled segments");
      },
    };
  }

  /** One life: some operations, and an end. Returns whether everything accepted must be found again. */
  async live(): Promise<boolean> {
    const operations = this.random.below(60);
    const { failedSyncCount } = this.disk;
    this.#syncFailed = false;
    this.disk.waitChance = this.random.pick([0, 0.3]);
    if (this.random.chance(0.6)) this.disk.losePowerAfter(this.random.below(150));
    let cut = false;
    try {
      for (let i = 0; i < operations; i++) await this.#operate();
      if (this.random.chance(0.5)) await this.#settle();
    } catch (error) {
      if (!(error instanceof PowerLoss)) throw error;
      cut = true;
    }
    return await this.#end(cut, failedSyncCount);
  }

  /** A life without faults that ends with everything durable, and the journal closed or not. */
  async liveWell(closes: boolean): Promise<void> {
    this.disk.waitChance = 0;
    for (let left = this.random.below(60); left > 0; left--) await this.#operate(94);
    await this.#settle();
    if (closes) await this.journal!.close();
    else await this.journal!.sync();
    this.model.durableSequence = this.model.lastSequence + 1;
  }

  async #end(cut: boolean, failedSyncCount: number): Promise<boolean> {
    this.disk.roomBytes = Number.POSITIVE_INFINITY;
    if (!cut && !this.disk.isOff && !this.#syncFailed && this.random.chance(0.3)) {
      this.disk.losePowerAfter(Number.POSITIVE_INFINITY);
      this.disk.failingSyncs = 0;
      this.disk.failingWrites = 0;
      await this.#settle();
      const refusal: unknown = await this.journal!.close().catch((error: unknown) => error);
      if (refusal === undefined) {
        this.model.durableSequence = this.model.lastSequence + 1;
        this.count("orderly ends");
      } else {
        this.#noteFailure(this.journal!);
        if (!this.#syncFailed) throw refusal as Error;
      }
    }
    const killed = this.random.chance(0.3);
    if (killed) this.disk.restart();
    else this.disk.crash();
    this.count(killed ? "kills" : "power cuts");
    await this.#settle();
    this.#noteFailure(this.journal!);
    return killed && this.disk.failedSyncCount === failedSyncCount;
  }

  /** Waits for everything under way; throws the first failure that is none of the simulated ones. */
  async #settle(): Promise<void> {
    while (this.#pending.length > 0) await Promise.all(this.#pending.splice(0));
    const [failure] = this.#failures;
    if (failure !== undefined) throw failure as Error;
  }

  /** Runs something beside the operations that follow. */
  #begin(work: Promise<void>): void {
    this.#pending.push(
      work.catch((error: unknown) => {
        if (error instanceof PowerLoss || this.journal!.failure !== undefined) return;
        this.#failures.push(error);
      }),
    );
  }

  /** Does one of the first `choices` in a hundred operations, of which the last six are faults. */
  async #operate(choices = 100): Promise<void> {
    const choice = this.random.below(choices);
    if (choice < 45) this.#append();
    else if (choice < 60) this.#begin(this.#sync());
    else if (choice < 72) await this.#wait();
    else if (choice < 76) this.#rotate();
    else if (choice < 82) this.#begin(this.#checkpoint());
    else if (choice < 94) this.#begin(this.#read());
    else if (choice < 98) this.disk.roomBytes = this.random.chance(0.5) ? this.random.below(6000) : Infinity;
    else if (this.random.chance(0.2)) this.disk.failingSyncs = 1;
    else if (this.random.chance(0.3)) this.disk.failingWrites = 1;
  }

  async #wait(): Promise<void> {
    if (this.random.chance(0.3)) await this.#settle();
    else for (let turns = this.random.below(12); turns > 0; turns--) await Promise.resolve();
  }

  #append(): void {
    const records = this.#fillBatch();
    const { durableSequence, failure } = this.journal!;
    const { failedWriteCount } = this.disk;
    const status = this.journal!.append(batch);
    const wroteBadly = this.disk.failedWriteCount > failedWriteCount;
    if (wroteBadly && failure === undefined && status === MEDIUM_ERROR) this.count("failed writes");
    if (wroteBadly && status === NO_SPACE) this.count("writes that failed in the middle");
    this.model.accept(records, batch, durableSequence);
    if (status === OK && batch.acceptedCount !== records.length) throw new Error("OK, and not all was accepted");
    if (status === FULL && batch.acceptedCount > 0) throw new Error("full, and some was accepted");
    if (status === MEDIUM_ERROR && this.journal!.failure === undefined) throw new Error("refused without failure");
    this.count(status === OK ? "appends" : status === FULL ? "appends when full" : "appends refused");
    if (status === NO_SPACE && batch.acceptedCount > 0) this.count("appends taken in part");
    if (status === OK && this.journal!.failure !== undefined) throw new Error("accepted after a failure");
    if (status === FULL) this.#begin(this.#checkpoint());
  }

  #fillBatch(): ModelRecord[] {
    batch.clear();
    const records: ModelRecord[] = [];
    let usedBytes = 0;
    for (let left = 1 + this.random.below(this.random.pick([1, 4, 12])); left > 0; left--) {
      const kind = this.random.pick(kinds);
      const [volume, sector] = [this.random.below(5), this.random.below(2 ** 40)];
      const count = kind === MARKER ? 0 : 1 + this.random.below(kind === WRITE ? 9 : 1000);
      const lengthBytes = kind === WRITE ? count * SECTOR_BYTES : kind === MARKER ? this.random.below(300) : 0;
      const bytes = source.bytes.subarray(usedBytes, usedBytes + lengthBytes);
      this.random.fill(bytes.subarray(0, 200));
      bytes.fill(this.random.pick([0, 0, 0x5a]), Math.min(200, this.random.below(lengthBytes + 1)));
      if (kind === WRITE) batch.addWrite(volume, sector, count, source, usedBytes);
      else if (kind === DISCARD) batch.addDiscard(volume, sector, count);
      else batch.addMarker(volume, source, usedBytes, lengthBytes);
      const [atVolume, atSector] = [volume, kind === MARKER ? 0 : sector];
      records.push({
        kind,
        volume: atVolume,
        sector: atSector,
        count,
        payload: bytes.slice(),
        sequence: 0,
        place: 0,
        claim: 0,
      });
      usedBytes += lengthBytes;
    }
    return records;
  }

  async #sync(): Promise<void> {
    const upTo = this.journal!.nextSequence;
    const { journal } = this;
    try {
      await journal!.sync();
    } catch (error) {
      if (!(error instanceof PowerLoss)) this.#noteFailure(journal!);
      throw error;
    }
    if (journal!.durableSequence < upTo) throw new Error(`the sync ended, and ${upTo} is not durable`);
    this.model.durableSequence = Math.max(this.model.durableSequence, upTo);
    this.count("syncs");
  }

  #noteFailure(journal: Journal): void {
    const cause = journal.failure?.cause;
    if (cause === undefined || cause instanceof PowerLoss) return;
    if (!this.#syncFailed) this.count("failed syncs");
    this.#syncFailed = true;
  }

  #rotate(): void {
    const status = this.journal!.rotate();
    if (status !== OK && status !== NO_SPACE && this.journal!.failure === undefined) throw new Error("rotate failed");
  }

  /** What the engine does: what was before this moment is elsewhere, and durable there, when the release begins. */
  async #checkpoint(): Promise<void> {
    const journal = this.journal!;
    const syncsFirst = this.random.chance(0.3);
    if (syncsFirst) await this.#sync();
    const boundary = journal.nextSequence;
    if (journal.rotate() !== OK) return;
    if (!syncsFirst || journal.durableSequence < boundary) await this.#sync();
    this.expected = { journalId: journal.id, fromSequence: Math.max(boundary, this.expected!.fromSequence) };
    this.model.releasedBefore = Math.max(this.model.releasedBefore, boundary);
    try {
      await journal.release(boundary);
    } catch (error) {
      if (!(error instanceof PowerLoss)) this.#noteFailure(journal);
      throw error;
    }
    this.count("releases");
  }

  /** Reads part of a record that was not released, and compares it. */
  async #read(): Promise<void> {
    const readable = this.model.accepted.filter(
      ({ sequence, kind }) => sequence >= this.model.releasedBefore && kind === WRITE,
    );
    if (readable.length === 0) return;
    const { place, payload, sequence } = this.random.pick(readable);
    const skipped = this.random.below(payload.length / SECTOR_BYTES);
    const skip = skipped * SECTOR_BYTES;
    const lengthBytes = payload.length - skip - this.random.below(SECTOR_BYTES);
    // Reads that wait go on beside what follows: releases too.
    const target = this.#targets.pop() ?? allocateMemory(SOURCE_BYTES);
    target.bytes.fill(0xee, 0, lengthBytes);
    let status = this.journal!.tryRead(place + skipped, lengthBytes, target, 0);
    if (status === LATER) status = await this.journal!.read(place + skipped, lengthBytes, target, 0);
    this.#targets.push(target);
    const same = Buffer.compare(target.bytes.subarray(0, lengthBytes), payload.subarray(skip, skip + lengthBytes));
    if (status !== OK || same !== 0) throw new Error(`record ${sequence} reads differently, status ${status}`);
    this.count("reads");
  }
}

/** Lives that end in crashes, and what is recovered after each. */
export async function runCrashes(seed: number, tally: Tally): Promise<void> {
  const run = new JournalRun(seed, tally);
  await run.disk.syncDirectory("/");
  let everything = false;
  for (let lives = 2 + run.random.below(4); lives > 0; lives--) {
    await run.recover(everything);
    everything = await run.live();
  }
  await run.recover(everything);
  await run.journal!.close();
}
