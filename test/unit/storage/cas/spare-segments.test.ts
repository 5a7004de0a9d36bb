import { expect, test } from "bun:test";
import { allocateMemory } from "../../../../ffi/memory.ts";
import { OK } from "../../../../src/storage/block-storage.ts";
import type { Disk, DiskFile } from "../../../../src/storage/cas/disk.ts";
import { recordBytes, segmentHeader, segmentName } from "../../../../src/storage/cas/journal-format.ts";
import type { Journal } from "../../../../src/storage/cas/journal.ts";
import { openJournal, type OpenOptions } from "../../../../src/storage/cas/open-journal.ts";
import { RecordBatch } from "../../../../src/storage/cas/record-batch.ts";
import { seededRandom } from "../../../support/seeded-random.ts";
import { SimulatedDisk } from "../../../simulation/simulated-disk.ts";

const DIRECTORY = "/journal";
const RECORD_BYTES = recordBytes(4096);
const SEGMENT_BYTES = 64 * 1024;

const source = allocateMemory(4096);
const target = allocateMemory(4096);
const batch = new RecordBatch();

/** A disk on which nothing leaves the page cache, so that a file that is used again keeps what it held. */
function warmDisk(): SimulatedDisk {
  const random = seededRandom(1);
  return new SimulatedDisk({ ...random, chance: (probability) => probability !== 0.3 && random.chance(probability) });
}

const options = (expected?: OpenOptions["expected"]): OpenOptions => ({
  segmentBytes: SEGMENT_BYTES,
  ...(expected === undefined ? {} : { expected }),
  random: (bytes) => bytes.fill(0x21),
  report: () => {},
});

const open = async (disk: Disk, expected?: OpenOptions["expected"]): Promise<Journal> =>
  (await openJournal(disk, DIRECTORY, options(expected), () => {})).journal;

/** Appends writes of 4 KiB, each full of one of the values. Returns the place of the last one. */
function write(journal: Journal, ...values: number[]): number {
  for (const value of values) {
    source.bytes.fill(value);
    batch.clear();
    batch.addWrite(1, value * 8, 8, source, 0);
    expect(journal.append(batch)).toBe(OK);
  }
  return batch.placeOf(0);
}

/** What a checkpoint does: everything before it is released. Returns what it would note of the journal. */
async function checkpoint(journal: Journal): Promise<{ journalId: string; fromSequence: number }> {
  expect(journal.rotate()).toBe(OK);
  const fromSequence = journal.nextSequence;
  await journal.release(fromSequence);
  return { journalId: journal.id, fromSequence };
}

/** What a recovery finds: the first byte of every record. */
async function found(disk: Disk, expected?: OpenOptions["expected"]): Promise<number[]> {
  const values: number[] = [];
  await openJournal(disk, DIRECTORY, options(expected), ({ payload, payloadAt }) => {
    values.push(payload.bytes[payloadAt]!);
  });
  return values;
}

const names = async (disk: Disk, ending: string): Promise<string[]> =>
  (await disk.list(DIRECTORY)).filter((name) => name.endsWith(ending));

/** A journal whose last segment, of records 5 and 6, lies in the file that records 1 to 4 were in. */
async function recycled(disk: SimulatedDisk) {
  const journal = await open(disk);
  write(journal, 1, 2, 3, 4);
  await checkpoint(journal);
  expect(await names(disk, ".spare")).toEqual(["0000000000000001.spare"]);
  write(journal, 0xee);
  const expected = await checkpoint(journal);
  write(journal, 5, 6);
  const path = `${DIRECTORY}/${segmentName(expected.fromSequence)}`;
  return { journal, expected, path };
}

test("a released segment's file is used again, and what it held is neither replayed nor taken for damage", async () => {
  const disk = warmDisk();
  const { journal, expected, path } = await recycled(disk);
  await journal.sync();
  disk.crash();
  // The third record of the first use is still there, after the second record of the other.
  expect(disk.contentOf(path)[segmentHeader.bytes + 2 * RECORD_BYTES + 64]).toBe(3);
  const values: number[] = [];
  const { recovery } = await openJournal(disk, DIRECTORY, options(expected), ({ payload, payloadAt }) => {
    values.push(payload.bytes[payloadAt]!);
  });
  expect(values).toEqual([5, 6]);
  expect(recovery).toEqual({ recordCount: 2, endSequence: expected.fromSequence + 2, lostCount: 0 });
});

test("where the last records of a file that was used again are torn, what follows from its first use is no witness", async () => {
  const disk = warmDisk();
  const { journal, expected, path } = await recycled(disk);
  await journal.sync();
  const torn = disk.contentOf(path);
  const at = segmentHeader.bytes;
  for (const [offset, bit] of [
    [at, 0],
    [at + RECORD_BYTES + 64 + 4000, 1],
  ] as const) {
    disk.flipBit(path, offset, bit);
  }
  expect(torn[at + 2 * RECORD_BYTES + 64]).toBe(3);
  disk.restart();
  expect(await found(disk, expected)).toEqual([]);
});

test("a file that was renamed for a new segment, and lost its header, is a torn tail", async () => {
  const disk = warmDisk();
  const journal = await open(disk);
  write(journal, 1, 2);
  const expected = await checkpoint(journal);
  write(journal, 3);
  await journal.sync();
  const [spare] = await names(disk, ".spare");
  disk.rename(`${DIRECTORY}/${spare}`, `${DIRECTORY}/${segmentName(journal.nextSequence)}`);
  disk.restart();
  expect(await found(disk, expected)).toEqual([3]);
});

test("a released segment that is back after a crash is passed over, be it as it was or written over", async () => {
  for (const damaged of [false, true]) {
    const disk = warmDisk();
    const journal = await open(disk);
    write(journal, 1, 2);
    const expected = await checkpoint(journal);
    write(journal, 3);
    await journal.sync();
    const back = `${DIRECTORY}/${segmentName(1)}`;
    disk.rename(`${DIRECTORY}/${(await names(disk, ".spare"))[0]}`, back);
    if (damaged) disk.flipBit(back, 20, 0);
    disk.restart();
    expect(await found(disk, expected)).toEqual([3]);
  }
});

test("a file is not used again while what it held is being read", async () => {
  const disk = warmDisk();
  let endReads = (): void => {};
  const held = new Promise<void>((resolve) => {
    endReads = resolve;
  });
  const holding = (file: DiskFile): DiskFile => {
    const read = file.read.bind(file);
    return Object.assign(file, { read: (...args: Parameters<DiskFile["read"]>) => held.then(() => read(...args)) });
  };
  const slow: Disk = {
    ...disk.session(),
    create: (path) => holding(disk.create(path)),
  };
  const journal = await open(slow);
  const place = write(journal, 1);
  const reading = journal.read(place, 4096, target, 0);
  await checkpoint(journal);
  expect(await names(disk, ".spare")).toEqual([]);
  write(journal, 2);
  await checkpoint(journal);
  write(journal, 3);
  endReads();
  expect(await reading).toBe(OK);
  expect(target.bytes.every((byte) => byte === 1)).toBe(true);
});

test("as many files are kept as the journal took between two releases, and a burst's surplus goes", async () => {
  const disk = warmDisk();
  const journal = await open(disk);
  const perSegment = Math.floor((SEGMENT_BYTES - segmentHeader.bytes) / RECORD_BYTES);
  const fill = (segments: number): void => {
    for (let record = 0; record < segments * perSegment; record++) write(journal, 1);
  };
  fill(8);
  await checkpoint(journal);
  expect(await names(disk, ".spare")).toHaveLength(8);
  const createdBefore = (await disk.list(DIRECTORY)).length;
  for (let round = 0; round < 4; round++) {
    fill(8);
    await checkpoint(journal);
  }
  // One more than before is in use at a time, since a checkpoint begins a segment before it releases others.
  expect((await disk.list(DIRECTORY)).length).toBeLessThanOrEqual(createdBefore + 1);
  for (let round = 0; round < 3; round++) {
    fill(1);
    await checkpoint(journal);
  }
  expect((await names(disk, ".spare")).length).toBeLessThanOrEqual(2);
});

test("a restart takes over the files that the process before it kept", async () => {
  const disk = warmDisk();
  const journal = await open(disk);
  write(journal, 1);
  const expected = await checkpoint(journal);
  await journal.close();
  const [spare] = await names(disk, ".spare");
  disk.restart();
  const again = await open(disk, expected);
  expect(await names(disk, ".spare")).toEqual([spare!]);
  write(again, 2);
  expect(again.rotate()).toBe(OK);
  expect(await names(disk, ".spare")).toEqual([]);
});
