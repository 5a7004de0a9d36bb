/** What an append to the journal costs, and the sync after it, beside plain writes of as many bytes to one file. */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { libc } from "../../ffi/libc.ts";
import { allocateMemory } from "../../ffi/memory.ts";
import type { Memory } from "../../src/base/memory.ts";
import { LATER, OK, SECTOR_BYTES } from "../../src/storage/block-storage.ts";
import type { DiskFile } from "../../src/storage/cas/disk.ts";
import { recordBytes } from "../../src/storage/cas/journal-format.ts";
import type { Journal } from "../../src/storage/cas/journal.ts";
import { openJournal } from "../../src/storage/cas/open-journal.ts";
import { realDisk } from "../../src/storage/cas/real-disk.ts";
import { RecordBatch } from "../../src/storage/cas/record-batch.ts";
import { median } from "../testbed/median.ts";

const MIB = 2 ** 20;
const SOURCE_BYTES = 2 * MIB;
const SYNCS = 200;
const PIECE_BYTES = 65_536;

export interface Shape {
  readonly payloadBytes: number;
  /** Records of one append. */
  readonly records: number;
}

/** Microseconds: CPU time of a record, or how long a sync took. */
export interface Costs {
  /** pwrite(2) that lengthens a new file, and one over cached pages, which is the least that it can cost. */
  readonly lengthening: number;
  readonly overwriting: number;
  /** Appends to segments that were never used before, and to recycled ones. */
  readonly fresh: number;
  readonly recycled: number;
}

export interface Row extends Shape {
  readonly append: Costs;
  /** Reading everything back in the order of the journal. */
  readonly readBack: number;
  /** Median of fdatasync(2) after each append. */
  readonly sync: Costs;
}

const source: Memory = allocateMemory(SOURCE_BYTES);
const target: Memory = allocateMemory(65_536);
const batch = new RecordBatch();

export function fillSource(): void {
  for (let at = 0; at < SOURCE_BYTES; at += 65_536) crypto.getRandomValues(source.bytes.subarray(at, at + 65_536));
}

const CLOCK_THREAD_CPUTIME_ID = 3;
const clock = allocateMemory(16);

/** CPU time of this thread so far, in microseconds. (The wall clock would count other processes on a busy machine.) */
function cpuMicroseconds(): number {
  if (libc.clock_gettime(CLOCK_THREAD_CPUTIME_ID, clock.address) !== 0) throw new Error("the thread has no clock");
  return Number(clock.view.getBigInt64(0, true)) * 1e6 + Number(clock.view.getBigInt64(8, true)) / 1000;
}

/** Where in the source the data of the append with this number lies: not always in the same cache lines. */
const sourceAt = (append: number, lengthBytes: number): number =>
  (append % Math.floor(SOURCE_BYTES / lengthBytes)) * lengthBytes;

const appendBytes = ({ payloadBytes, records }: Shape): number => recordBytes(payloadBytes) * records;

function writeAll(file: DiskFile, appends: number, lengthBytes: number): number {
  const start = cpuMicroseconds();
  for (let i = 0; i < appends; i++) {
    const written = file.write(source, sourceAt(i, lengthBytes), lengthBytes, i * lengthBytes);
    if (written !== lengthBytes) throw new Error(`${file.path} cannot be written (${written})`);
  }
  return cpuMicroseconds() - start;
}

function append(journal: Journal, shape: Shape, number: number): void {
  const { payloadBytes, records } = shape;
  const sectors = payloadBytes / SECTOR_BYTES;
  const at = sourceAt(number, payloadBytes * records);
  batch.clear();
  for (let i = 0; i < records; i++) {
    batch.addWrite(1, (number * records + i) * sectors, sectors, source, at + i * payloadBytes);
  }
  const status = journal.append(batch);
  if (status !== OK) throw new Error(`an append was refused with status ${status}`);
}

function appendAll(journal: Journal, shape: Shape, appends: number): number {
  const start = cpuMicroseconds();
  for (let i = 0; i < appends; i++) append(journal, shape, i);
  return cpuMicroseconds() - start;
}

/** What a checkpoint does when it is done. */
async function releaseAll(journal: Journal): Promise<void> {
  journal.rotate();
  await journal.sync();
  await journal.release(journal.nextSequence);
}

async function readAll(journal: Journal, shape: Shape, appends: number): Promise<number> {
  const places: number[] = [];
  for (let i = 0; i < appends; i++) {
    append(journal, shape, i);
    for (let record = 0; record < shape.records; record++) places.push(batch.placeOf(record));
  }
  const start = cpuMicroseconds();
  for (const place of places) {
    let status = journal.tryRead(place, shape.payloadBytes, target, 0);
    if (status === LATER) status = await journal.read(place, shape.payloadBytes, target, 0);
    if (status !== OK) throw new Error(`place ${place} cannot be read`);
  }
  return (cpuMicroseconds() - start) / places.length;
}

async function medianSync(work: (i: number) => void, sync: () => Promise<void>): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < SYNCS; i++) {
    work(i);
    const start = Bun.nanoseconds();
    await sync();
    times.push((Bun.nanoseconds() - start) / 1000);
  }
  return median(times);
}

type Plain = Pick<Costs, "lengthening" | "overwriting">;

/** Plain writes of as many bytes in one call as an append takes. `each` makes the time of a pass that of a record. */
async function measurePlain(
  path: string,
  shape: Shape,
  appends: number,
  each: (microseconds: number) => number,
): Promise<{ append: Plain; sync: Plain }> {
  const lengthBytes = appendBytes(shape);
  const file = realDisk.create(path);
  const syncs = (): Promise<number> =>
    medianSync(
      (i) => {
        file.write(source, sourceAt(i, lengthBytes), lengthBytes, i * lengthBytes);
      },
      () => file.sync(),
    );
  const syncLengthening = await syncs();
  file.truncate(0);
  const lengthening = each(writeAll(file, appends, lengthBytes));
  file.truncate(0);
  // In the pieces that the page cache takes small writes fastest with.
  for (let at = 0; at < appends * lengthBytes; at += PIECE_BYTES) file.write(source, 0, PIECE_BYTES, at);
  await file.sync();
  const overwriting = each(writeAll(file, appends, lengthBytes));
  await file.sync();
  const syncOverwriting = await syncs();
  await file.close();
  realDisk.remove(path);
  return {
    append: { lengthening, overwriting },
    sync: { lengthening: syncLengthening, overwriting: syncOverwriting },
  };
}

/** Measures everything once, in files of `bytes` bytes in `directory`, which are removed. */
export async function measureRow(directory: string, shape: Shape, bytes: number): Promise<Row> {
  const appends = Math.floor(bytes / appendBytes(shape)) - 1;
  const each = (microseconds: number): number => microseconds / (appends * shape.records);
  const plain = await measurePlain(join(directory, "plain"), shape, appends, each);

  const place = join(directory, "journal");
  mkdirSync(place);
  const options = {
    segmentBytes: bytes,
    limitBytes: 4 * bytes,
    random: (id: Uint8Array): void => void id.fill(0x76),
    report: (_key: string, message: string): void => console.error(message),
  };
  const { journal } = await openJournal(realDisk, place, options, () => {});
  const syncs = (): Promise<number> =>
    medianSync(
      (i) => append(journal, shape, i),
      () => journal.sync(),
    );
  const syncFresh = await syncs();
  await releaseAll(journal);
  const fresh = each(appendAll(journal, shape, appends));
  await releaseAll(journal);
  // A segment is begun before the one before it is released: the first one to be used again held the few syncs above.
  appendAll(journal, shape, appends);
  await releaseAll(journal);
  const recycled = each(appendAll(journal, shape, appends));
  await releaseAll(journal);
  const syncRecycled = await syncs();
  await releaseAll(journal);
  const readBack = await readAll(journal, shape, appends);
  await journal.close();
  rmSync(place, { recursive: true });

  return {
    ...shape,
    append: { ...plain.append, fresh, recycled },
    readBack,
    sync: { ...plain.sync, fresh: syncFresh, recycled: syncRecycled },
  };
}
