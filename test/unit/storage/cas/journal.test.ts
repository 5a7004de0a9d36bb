import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { allocateMemory } from "../../../../ffi/memory.ts";
import { LATER, MEDIUM_ERROR, NO_SPACE, OK } from "../../../../src/storage/block-storage.ts";
import type { Disk, DiskFile } from "../../../../src/storage/cas/disk.ts";
import { DISCARD, MARKER, PAYLOAD_MOST_BYTES, WRITE } from "../../../../src/storage/cas/journal-format.ts";
import type { JournalRecord } from "../../../../src/storage/cas/journal-recovery.ts";
import { payloadOffsetOf } from "../../../../src/storage/cas/journal-segment.ts";
import { FULL, type Journal } from "../../../../src/storage/cas/journal.ts";
import { openJournal, type OpenOptions } from "../../../../src/storage/cas/open-journal.ts";
import { realDisk } from "../../../../src/storage/cas/real-disk.ts";
import { BATCH_MOST_RECORDS, RecordBatch } from "../../../../src/storage/cas/record-batch.ts";
import { reasonOf } from "../../../support/reason-of.ts";
import { seededRandom } from "../../../support/seeded-random.ts";
import { SimulatedDisk } from "../../../simulation/simulated-disk.ts";

const DIRECTORY = "/journal";
const temporary = mkdtempSync(join(tmpdir(), "voe-journal-"));
afterAll(() => rmSync(temporary, { recursive: true }));

const source = allocateMemory(PAYLOAD_MOST_BYTES);
const target = allocateMemory(PAYLOAD_MOST_BYTES);
const batch = new RecordBatch();

function options(more: Partial<OpenOptions> = {}): OpenOptions & { reports: string[] } {
  const reports: string[] = [];
  return { random: (bytes) => bytes.fill(0x21), report: (_key, message) => reports.push(message), reports, ...more };
}

const simulated = (): SimulatedDisk => new SimulatedDisk(seededRandom(1));
const open = async (disk: SimulatedDisk, opened = options()): Promise<Journal> =>
  (await openJournal(disk, DIRECTORY, opened, () => {})).journal;

/** A batch of writes of 4 KiB, each full of one of the values. */
function writes(...values: number[]): RecordBatch {
  batch.clear();
  for (const [index, value] of values.entries()) {
    source.bytes.fill(value, index * 4096, (index + 1) * 4096);
    batch.addWrite(1, value * 8, 8, source, index * 4096);
  }
  return batch;
}

/** What a recovery finds: the first byte of every record. */
async function found(disk: SimulatedDisk): Promise<number[]> {
  const values: number[] = [];
  await openJournal(disk, DIRECTORY, options(), (record) => values.push(record.payload.bytes[record.payloadAt]!));
  return values;
}

test("on the real disk records of every kind come back as they were appended, and are read by their places", async () => {
  const directory = join(temporary, "kinds");
  const { journal } = await openJournal(realDisk, directory, options(), () => {});
  batch.clear();
  source.bytes.fill(0x55, 0, 1024);
  batch.addWrite(7, 2 ** 40 + 3, 2, source, 0);
  batch.addDiscard(8, 5, 2 ** 32 - 1);
  source.bytes.set(new TextEncoder().encode("checkpoint 12"), 2048);
  batch.addMarker(9, source, 2048, 13);
  expect(journal.append(batch)).toBe(OK);
  const firstSequence = batch.sequenceOf(0);
  expect(journal.tryRead(batch.placeOf(0) + 1, 512, target, 100)).toBe(OK);
  expect(target.bytes.subarray(100, 612).every((byte) => byte === 0x55)).toBe(true);
  await journal.close();

  const records: (Omit<JournalRecord, "payload"> & { text: string })[] = [];
  const again = await openJournal(realDisk, directory, options(), ({ payload, ...record }) => {
    const bytes = payload.bytes.subarray(record.payloadAt, record.payloadAt + record.payloadBytes);
    records.push({ ...record, text: new TextDecoder().decode(bytes) });
  });
  expect(records.map(({ kind, volume, firstSector, sectorCount }) => [kind, volume, firstSector, sectorCount])).toEqual(
    [
      [WRITE, 7, 2 ** 40 + 3, 2],
      [DISCARD, 8, 5, 2 ** 32 - 1],
      [MARKER, 9, 0, 0],
    ],
  );
  expect(records.map(({ sequence }) => sequence - firstSequence)).toEqual([0, 1, 2]);
  expect(records[2]!.text).toBe("checkpoint 12");
  expect(again.journal.nextSequence).toBeGreaterThan(journal.nextSequence);
  expect(again.journal.tryRead(records[0]!.place, 1024, target, 0)).toBe(OK);
  expect(await again.journal.read(records[0]!.place + 1, 24, target, 0)).toBe(OK);
  expect(target.bytes.subarray(0, 24).every((byte) => byte === 0x55)).toBe(true);
  await again.journal.close();
  // The segment of the first process, and the one that says where that ended: starts leave no others behind.
  expect(readdirSync(directory)).toHaveLength(2);
});

test("a journal at its limit says FULL and takes nothing, markers excepted, until a release", async () => {
  const journal = await open(simulated(), options({ limitBytes: 10_000 }));
  expect(journal.append(writes(1, 2))).toBe(OK);
  const { sizeBytes, nextSequence } = journal;
  expect(journal.append(writes(3))).toBe(FULL);
  expect([batch.acceptedCount, journal.sizeBytes, journal.nextSequence]).toEqual([0, sizeBytes, nextSequence]);
  batch.clear();
  batch.addMarker(0, source, 0, 4096);
  expect(journal.append(batch)).toBe(OK);
  expect(journal.rotate()).toBe(OK);
  await journal.release(journal.nextSequence);
  expect(journal.sizeBytes).toBe(64);
  expect(journal.append(writes(3))).toBe(OK);
});

test("a write that does not fit is refused, what fitted is kept, and nothing is taken until the rest is gone for good", async () => {
  const disk = simulated();
  const opened = options();
  const journal = await open(disk, opened);
  disk.roomBytes = 4160 + 1000;
  expect(journal.append(writes(1, 2, 3))).toBe(NO_SPACE);
  expect(batch.acceptedCount).toBe(1);
  expect(opened.reports.join()).toContain("/journal: the journal cannot grow (ENOSPC");
  disk.roomBytes = Number.POSITIVE_INFINITY;
  expect(journal.append(writes(4))).toBe(NO_SPACE);
  await journal.sync();
  expect(journal.append(writes(5))).toBe(OK);
  await journal.sync();
  disk.crash();
  expect(await found(disk)).toEqual([1, 5]);
});

test("a segment that cannot be begun for want of space is begun when there is room", async () => {
  const disk = simulated();
  const journal = await open(disk, options({ segmentBytes: 4096 }));
  expect(journal.append(writes(1))).toBe(OK);
  disk.roomBytes = 63;
  expect(journal.append(writes(2))).toBe(NO_SPACE);
  expect(journal.rotate()).toBe(NO_SPACE);
  expect(await disk.list(DIRECTORY)).toHaveLength(1);
  disk.roomBytes = Number.POSITIVE_INFINITY;
  expect(journal.append(writes(3))).toBe(OK);
  await journal.sync();
  disk.crash();
  expect(await found(disk)).toEqual([1, 3]);
});

test("a sync that fails is final: nothing is accepted after it, what was accepted is still read", async () => {
  const disk = simulated();
  const opened = options();
  const journal = await open(disk, opened);
  expect(journal.append(writes(1))).toBe(OK);
  const place = batch.placeOf(0);
  disk.failingSyncs = 1;
  expect(await reasonOf(journal.sync())).toContain("the journal failed");
  expect(journal.append(writes(2))).toBe(MEDIUM_ERROR);
  expect(journal.rotate()).toBe(MEDIUM_ERROR);
  expect(await reasonOf(journal.sync())).toContain("could not be synced");
  expect(await reasonOf(journal.release(100))).toContain("the journal failed");
  expect(journal.durableSequence).toBe(1);
  expect(opened.reports).toHaveLength(1);
  expect(journal.tryRead(place, 4096, target, 0)).toBe(OK);
  expect(await reasonOf(journal.close())).toContain("the journal failed");
});

test("syncs that are asked for while one runs share the next, which covers what was appended meanwhile", async () => {
  const journal = await open(simulated());
  journal.append(writes(1));
  const first = journal.sync();
  journal.append(writes(2));
  const [second, third] = [journal.sync(), journal.sync()];
  expect(second).not.toBe(first);
  expect(third).toBe(second);
  await first;
  expect(journal.durableSequence).toBe(2);
  await third;
  expect(journal.durableSequence).toBe(3);
});

test("a segment that is being read when it is released is closed after that", async () => {
  const disk = simulated();
  const journal = await open(disk);
  journal.append(writes(6));
  const place = batch.placeOf(0);
  journal.rotate();
  await journal.sync();
  const reading = journal.read(place, 4096, target, 0);
  await journal.release(journal.nextSequence);
  expect(await reading).toBe(OK);
  expect(target.bytes.subarray(0, 4096).every((byte) => byte === 6)).toBe(true);
  expect(() => journal.tryRead(place, 4096, target, 0)).toThrow("was it released?");
});

test("release keeps a segment that holds a record which is still wanted", async () => {
  const disk = simulated();
  const journal = await open(disk);
  journal.append(writes(1, 2));
  const wanted = batch.sequenceOf(1);
  journal.rotate();
  await journal.release(wanted);
  expect(await found(disk)).toEqual([1, 2]);
});

test("a payload that is not what was written is a medium error, reported, and none of it is handed out", async () => {
  const disk = simulated();
  const opened = options();
  const journal = await open(disk, opened);
  journal.append(writes(1, 2));
  const place = batch.placeOf(0);
  const [name] = await disk.list(DIRECTORY);
  disk.flipBit(`${DIRECTORY}/${name}`, payloadOffsetOf(place) + 4000, 1);
  target.bytes.fill(0xaa);
  // Not even the part that is intact: a record is believed whole or not at all.
  expect(journal.tryRead(place, 512, target, 0)).toBe(MEDIUM_ERROR);
  expect(await journal.read(place, 512, target, 0)).toBe(MEDIUM_ERROR);
  expect(target.bytes.subarray(0, 512).every((byte) => byte === 0xaa)).toBe(true);
  expect(opened.reports[0]).toContain("data of record 1 at byte 64 is not what was written");
  disk.flipBit(`${DIRECTORY}/${name}`, payloadOffsetOf(place) - 10, 1);
  expect(journal.tryRead(place, 512, target, 0)).toBe(MEDIUM_ERROR);
  disk.waitChance = 1;
  expect(journal.tryRead(batch.placeOf(1), 512, target, 0)).toBe(LATER);
});

test("the records of another journal in a client's data are no witness that anything was durable", async () => {
  // A journal of discards of 64 bytes each: its third, at byte 192, says that the first two are durable.
  const disk = simulated();
  const other = (await openJournal(disk, "/other", options({ random: (bytes) => bytes.fill(0x77) }), () => {})).journal;
  for (let index = 0; index < 3; index++) {
    batch.clear();
    batch.addDiscard(1, 0, 1);
    other.append(batch);
    await other.sync();
  }
  const [otherName] = await disk.list("/other");
  const stored = disk.contentOf(`/other/${otherName}`);
  // A client stores it so that this record of it comes to lie at byte 192 here, too.
  const journal = await open(disk);
  source.bytes.fill(0, 0, 512);
  source.bytes.set(stored.subarray(128));
  batch.clear();
  batch.addWrite(1, 0, 1, source, 0);
  expect(journal.append(batch)).toBe(OK);
  await journal.sync();
  const [name] = await disk.list(DIRECTORY);
  disk.restart();
  expect(disk.contentOf(`${DIRECTORY}/${name}`).subarray(192, 256)).toEqual(stored.subarray(192, 256));
  disk.flipBit(`${DIRECTORY}/${name}`, 70, 0);
  expect(await found(disk)).toEqual([]);
});

test("a batch takes 64 records, and a record 64 KiB", () => {
  batch.clear();
  for (let index = 0; index < BATCH_MOST_RECORDS; index++) batch.addDiscard(1, index, 1);
  expect(batch.isFull).toBe(true);
  expect(() => batch.addDiscard(1, 0, 1)).toThrow("at most 64 records");
  batch.clear();
  expect(() => batch.addWrite(1, 0, 129, source, 0)).toThrow("at most 65536 bytes");
  batch.addWrite(1, 0, 128, source, 0);
  expect(batch.totalBytes).toBe(64 + PAYLOAD_MOST_BYTES);
});

test("every sector of the largest records is read by its own place, wherever in the segment they lie", async () => {
  const journal = await open(simulated());
  for (let sector = 0; sector < 128; sector++) source.bytes.fill(sector, sector * 512, (sector + 1) * 512);
  batch.clear();
  for (let record = 0; record < 5; record++) batch.addWrite(1, 0, 128, source, 0);
  expect(journal.append(batch)).toBe(OK);
  for (const place of [batch.placeOf(0), batch.placeOf(4)]) {
    for (const sector of [0, 1, 64, 127]) {
      expect(journal.tryRead(place + sector, 512, target, 0)).toBe(OK);
      expect(target.bytes.subarray(0, 512).every((byte) => byte === sector)).toBe(true);
    }
  }
  expect(() => journal.tryRead(batch.placeOf(0) + 127, 1024, target, 0)).toThrow("which it has not");
});

/** A disk that counts the reads of its files that do not wait. */
function countingReads(disk: SimulatedDisk): { disk: Disk; reads: () => number } {
  let reads = 0;
  const counting = (file: DiskFile): DiskFile => {
    const tryRead = file.tryRead.bind(file);
    return Object.assign(file, {
      tryRead: (...args: Parameters<DiskFile["tryRead"]>) => {
        reads++;
        return tryRead(...args);
      },
    });
  };
  return { disk: { ...disk.session(), create: (path) => counting(disk.create(path)) }, reads: () => reads };
}

test("the blocks of a record are read from the disk once, and records that follow on each other many at a time", async () => {
  const { disk, reads } = countingReads(simulated());
  const { journal } = await openJournal(disk, DIRECTORY, options(), () => {});
  const places: number[] = [];
  const append = (value: number): void => {
    source.bytes.fill(value, 0, 8192);
    batch.clear();
    batch.addWrite(1, value * 16, 16, source, 0);
    expect(journal.append(batch)).toBe(OK);
    places.push(batch.placeOf(0));
  };
  const expectRead = (record: number, skippedSectors: number): void => {
    expect(journal.tryRead(places[record]! + skippedSectors, 4096, target, 0)).toBe(OK);
    expect(target.bytes.subarray(0, 4096).every((byte) => byte === record)).toBe(true);
  };
  for (let value = 0; value < 50; value++) append(value);
  for (const skipped of [0, 8, 3]) expectRead(7, skipped);
  // The first half of the record, and then the rest of it.
  expect(reads()).toBe(2);
  for (let record = 8; record < 30; record++) for (const skipped of [0, 8]) expectRead(record, skipped);
  expect(reads()).toBe(3);
  // What is appended after that is found too, and so is what lies before it.
  append(50);
  for (const record of [50, 3, 31, 49, 50]) expectRead(record, 8);
});

test("what was read ahead of one segment is not taken for another's", async () => {
  const journal = await open(simulated(), options({ segmentBytes: 3 * 4160 + 64 }));
  const places: number[] = [];
  for (let value = 1; value <= 9; value++) {
    expect(journal.append(writes(value))).toBe(OK);
    places.push(batch.placeOf(0));
  }
  for (const record of [1, 2, 4, 1, 5, 8, 9, 3]) {
    expect(journal.tryRead(places[record - 1]!, 4096, target, 0)).toBe(OK);
    expect(target.bytes.subarray(0, 4096).every((byte) => byte === record)).toBe(true);
  }
});
