/** What every storage does, whatever it is kept in: the comments of src/storage/block-storage.ts as tests. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  LATER,
  OK,
  OUT_OF_RANGE,
  READ_ONLY,
  SECTOR_BYTES,
  type StorageStatus,
} from "../../src/storage/block-storage.ts";
import { testSeed } from "../support/seeded-random.ts";
import { runSchedule } from "../support/storage-schedule.ts";
import {
  copyLent,
  discardStatus,
  ended,
  flushStatus,
  readSectors,
  readStatus,
  withMemory,
  writeSectors,
  writeStatus,
} from "../support/storage-requests.ts";
import { makeSectors, versionOf } from "../support/versioned-sectors.ts";
import { SECTOR_COUNT, type Implementation, type StorageUnderTest } from "./storage-under-test.ts";
import { describeExtents, describeParts, describePartsRefused } from "./block-storage-parts.ts";

const content = makeSectors(0, SECTOR_COUNT, 1);
const zeros = (count: number): Uint8Array => new Uint8Array(count * SECTOR_BYTES);

/** Sectors and counts that do not lie on the disk, up to the ends of what a request can name. */
const OUTSIDE: readonly [sector: number, count: number][] = [
  [SECTOR_COUNT, 1],
  [SECTOR_COUNT - 1, 2],
  [0, SECTOR_COUNT + 1],
  [2 ** 28 - 1, 1],
  [2 ** 48 - 1, 1],
  [2 ** 48 - 1, 255],
];

function describeImplementation(
  { name, missing, open }: Implementation,
  tests: (use: () => StorageUnderTest) => void,
): void {
  describe.skipIf(missing !== undefined)(missing === undefined ? name : `${name} [skipped: ${missing}]`, () => {
    let used: StorageUnderTest;
    beforeEach(async () => {
      used = await open(content);
    });
    afterEach(async () => {
      await used[Symbol.asyncDispose]();
    });
    tests(() => used);
  });
}

/** What a disk that can be read does. */
function describeReading(use: () => StorageUnderTest): void {
  test("says how large it is and what it is called, in what fits into IDENTIFY", () => {
    const { info } = use().storage;
    expect(info.sectorCount).toBe(SECTOR_COUNT);
    expect(info.model).toMatch(/^[ -~]{1,40}$/);
    expect(info.serial).toMatch(/^[ -~]{1,20}$/);
    expect(info.firmware).toMatch(/^[ -~]{1,8}$/);
  });

  test("reads what it holds, the first and the last sector too", async () => {
    const { storage, evict } = use();
    for (const [sector, count] of [
      [0, 1],
      [SECTOR_COUNT - 1, 1],
      [SECTOR_COUNT - 17, 17],
      [3, 16],
    ] as const) {
      evict?.();
      expect(await readSectors(storage, sector, count)).toEqual(makeSectors(sector, count, 1));
      expect(await readSectors(storage, sector, count)).toEqual(makeSectors(sector, count, 1));
    }
  });

  test("a read touches nothing of the target beside its sectors", async () => {
    const { storage, evict } = use();
    evict?.();
    await withMemory(8, async (memory) => {
      memory.bytes.fill(0x55);
      // At a byte that no alignment fits, as in the middle of a frame.
      const at = 36;
      let status = storage.tryRead(5, 2, memory, at);
      if (status === LATER) status = await ended((completion) => storage.read(5, 2, memory, at, completion));
      expect(status).toBe(OK);
      const endAt = at + 2 * SECTOR_BYTES;
      expect(memory.bytes.slice(at, endAt)).toEqual(makeSectors(5, 2, 1));
      expect(memory.bytes.subarray(0, at).every((byte) => byte === 0x55)).toBe(true);
      expect(memory.bytes.subarray(endAt).every((byte) => byte === 0x55)).toBe(true);
    });
  });

  test.each(OUTSIDE)("a read of sector %d, count %d, is out of range", async (sector, count) => {
    const { storage } = use();
    await withMemory(1, async (memory) => {
      expect(storage.tryRead(sector, count, memory, 0)).toBe(OUT_OF_RANGE);
      expect(await ended((completion) => storage.read(sector, count, memory, 0, completion))).toBe(OUT_OF_RANGE);
      expect(storage.lend(sector, count)).toBe(0);
    });
  });

  test("what it lends are the sectors' bytes", async () => {
    const { storage } = use();
    await readSectors(storage, 0, SECTOR_COUNT);
    for (const [sector, count] of [
      [0, 1],
      [7, 2],
      [11, 17],
      [SECTOR_COUNT - 3, 3],
    ] as const) {
      await readSectors(storage, sector, count);
      const address = storage.lend(sector, count);
      if (address !== 0) expect(copyLent(address, count * SECTOR_BYTES)).toEqual(makeSectors(sector, count, 1));
    }
  });

  test("a flush is answered", async () => {
    expect(await flushStatus(use().storage)).toBe(OK);
  });

  test("reads that are under way when it is closed are answered", async () => {
    const { storage, evict } = use();
    evict?.();
    await withMemory(64, async (memory) => {
      const end = ended((completion) => storage.read(64, 64, memory, 0, completion));
      await storage.close();
      expect(await end).toBe(OK);
      expect(memory.bytes.slice(0, 64 * SECTOR_BYTES)).toEqual(makeSectors(64, 64, 1));
    });
  });

  test("after it is closed every request fails", async () => {
    const { storage } = use();
    await readSectors(storage, 0, 8);
    await storage.close();
    await withMemory(8, async (memory) => {
      expect(storage.lend(0, 8)).toBe(0);
      expect(await readStatus(storage, 0, 8, memory)).not.toBe(OK);
      expect(await writeStatus(storage, 0, zeros(8))).not.toBe(OK);
      expect(await discardStatus(storage, 0, 8)).not.toBe(OK);
      expect(await flushStatus(storage)).not.toBe(OK);
    });
  });
}

/** Runs the contract of a disk that cannot be written. */
export function describeReadOnlyStorage(implementation: Implementation): void {
  describeImplementation(implementation, (use) => {
    describeReading(use);

    test("refuses every write and changes nothing", async () => {
      const { storage } = use();
      expect(storage.info.readOnly).toBe(true);
      await withMemory(2, async (memory) => {
        expect(storage.tryWrite(1, 2, memory, 0)).toBe(READ_ONLY);
        for (const durable of [false, true]) {
          expect(await ended((completion) => storage.write(1, 2, memory, 0, durable, completion))).toBe(READ_ONLY);
        }
      });
      expect(await readSectors(storage, 0, 8)).toEqual(makeSectors(0, 8, 1));
    });
    describePartsRefused(use);
    describeExtents(use);
  });
}

/** Runs the contract of a disk that can be read and written. */
export function describeWritableStorage(implementation: Implementation): void {
  describeImplementation(implementation, (use) => {
    describeReading(use);
    describeWriting(use);
    describeOrder(use);
    describeParts(use);
    describeExtents(use);
    describeLife(use);
  });
}

function describeWriting(use: () => StorageUnderTest): void {
  test("reads back what was written, the first and the last sector too, and nothing beside it has changed", async () => {
    const { storage, evict } = use();
    for (const [sector, count] of [
      [0, 1],
      [9, 17],
      [SECTOR_COUNT - 1, 1],
    ] as const) {
      evict?.();
      expect(await writeStatus(storage, sector, makeSectors(sector, count, 2))).toBe(OK);
    }
    const bytes = await readSectors(storage, 0, SECTOR_COUNT);
    for (let sector = 0; sector < SECTOR_COUNT; sector++) {
      const written = sector === 0 || (sector >= 9 && sector < 26) || sector === SECTOR_COUNT - 1;
      expect(versionOf(bytes.subarray(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES), sector)).toBe(
        written ? 2 : 1,
      );
    }
  });

  test.each(OUTSIDE)("a write of sector %d, count %d, is out of range and changes nothing", async (sector, count) => {
    const { storage } = use();
    await withMemory(1, async (memory) => {
      expect(storage.tryWrite(sector, count, memory, 0)).toBe(OUT_OF_RANGE);
      expect(await ended((completion) => storage.write(sector, count, memory, 0, true, completion))).toBe(OUT_OF_RANGE);
    });
    expect(await discardStatus(storage, sector, count)).toBe(OUT_OF_RANGE);
    expect(storage.info.sectorCount).toBe(SECTOR_COUNT);
    expect(await readSectors(storage, 0, SECTOR_COUNT)).toEqual(content);
  });

  test("a durable write is answered and read back", async () => {
    const { storage } = use();
    expect(await writeStatus(storage, 6, makeSectors(6, 3, 2), true)).toBe(OK);
    expect(await readSectors(storage, 6, 3)).toEqual(makeSectors(6, 3, 2));
  });

  test("a flush after writes is answered", async () => {
    const { storage } = use();
    for (let i = 0; i < 20; i++) await writeSectors(storage, i * 3, makeSectors(i * 3, 2, 2));
    expect(await flushStatus(storage)).toBe(OK);
  });

  test.each([
    [0, 1],
    [5, 9],
    [8, 16],
    [SECTOR_COUNT - 6, 6],
    [0, SECTOR_COUNT],
  ])("sectors that were discarded from %d on, count %d, are zeros, and the others stay", async (sector, count) => {
    const { storage, evict } = use();
    expect(await discardStatus(storage, sector, count)).toBe(OK);
    evict?.();
    const expected = content.slice();
    expected.fill(0, sector * SECTOR_BYTES, (sector + count) * SECTOR_BYTES);
    expect(await readSectors(storage, 0, SECTOR_COUNT)).toEqual(expected);
    const address = storage.lend(sector, 1);
    if (address !== 0) expect(copyLent(address, SECTOR_BYTES)).toEqual(zeros(1));
  });

  test("what was discarded can be written again", async () => {
    const { storage } = use();
    expect(await discardStatus(storage, 0, 64)).toBe(OK);
    await writeSectors(storage, 13, makeSectors(13, 2, 2));
    expect(await readSectors(storage, 12, 1)).toEqual(zeros(1));
    expect(await readSectors(storage, 13, 2)).toEqual(makeSectors(13, 2, 2));
    expect(await readSectors(storage, 15, 1)).toEqual(zeros(1));
  });
}

function describeOrder(use: () => StorageUnderTest): void {
  test("a write does not overtake an earlier read of its sectors", async () => {
    const { storage, evict } = use();
    evict?.();
    await withMemory(32, async (memory) => {
      const read = ended((completion) => storage.read(0, 32, memory, 0, completion));
      const write = writeStatus(storage, 10, makeSectors(10, 4, 2));
      expect(await read).toBe(OK);
      expect(memory.bytes.slice(0, 32 * SECTOR_BYTES)).toEqual(makeSectors(0, 32, 1));
      expect(await write).toBe(OK);
      expect(await readSectors(storage, 10, 4)).toEqual(makeSectors(10, 4, 2));
    });
  });

  test("a read does not overtake an earlier write of its sectors, nor one write another", async () => {
    const { storage, evict } = use();
    evict?.();
    // The first read makes all the others queue up where reads take their time.
    const ends: Promise<unknown>[] = [readSectors(storage, 0, 40)];
    for (let version = 2; version < 12; version++) {
      ends.push(writeStatus(storage, version, makeSectors(version, 20, version)));
      ends.push(
        readSectors(storage, version, 20).then((bytes) => expect(bytes).toEqual(makeSectors(version, 20, version))),
      );
    }
    await Promise.all(ends);
    expect(await readSectors(storage, 11, 20)).toEqual(makeSectors(11, 20, 11));
  });

  test("a discard keeps its place among reads and writes", async () => {
    const { storage, evict } = use();
    evict?.();
    const before = readSectors(storage, 0, 16);
    const write = writeStatus(storage, 0, makeSectors(0, 16, 2));
    const discard = discardStatus(storage, 4, 8);
    const after = readSectors(storage, 0, 16);
    const last = writeStatus(storage, 5, makeSectors(5, 1, 3));
    expect(await before).toEqual(makeSectors(0, 16, 1));
    expect([await write, await discard, await last]).toEqual([OK, OK, OK]);
    const expected = makeSectors(0, 16, 2);
    expected.fill(0, 4 * SECTOR_BYTES, 12 * SECTOR_BYTES);
    expect(await after).toEqual(expected);
    expect(await readSectors(storage, 5, 1)).toEqual(makeSectors(5, 1, 3));
  });

  test("nothing is lent that an earlier request has still to change", async () => {
    const { storage, evict } = use();
    await readSectors(storage, 0, 16);
    const discard = discardStatus(storage, 0, 16);
    const address = storage.lend(0, 16);
    if (address !== 0) expect(copyLent(address, 16 * SECTOR_BYTES)).toEqual(zeros(16));
    expect(await discard).toBe(OK);
    evict?.();
  });

  test(`random requests that overlap all see what was asked before them (VOE_TEST_SEED=${testSeed})`, async () => {
    const { storage, evict } = use();
    for (let round = 0; round < 4; round++) {
      await runSchedule({ storage, evict, seed: testSeed + round, requestCount: 600, version: round * 1000 + 2 });
    }
  });
}

function describeLife(use: () => StorageUnderTest): void {
  test("what was written is there after it was closed and opened again", async () => {
    const { storage, reopen } = use();
    if (reopen === undefined) return;
    const ends: Promise<StorageStatus>[] = [];
    for (let i = 0; i < 50; i++) ends.push(writeStatus(storage, i * 7, makeSectors(i * 7, 5, i + 2)));
    await storage.close();
    expect(await Promise.all(ends)).toEqual(Array.from({ length: 50 }, () => OK));
    const again = await reopen();
    for (let i = 0; i < 50; i++) {
      expect(await readSectors(again, i * 7, 5)).toEqual(makeSectors(i * 7, 5, i + 2));
    }
    expect(await readSectors(again, SECTOR_COUNT - 1, 1)).toEqual(makeSectors(SECTOR_COUNT - 1, 1, 1));
  });

  test("writes that wait for reads are finished by closing it", async () => {
    const { storage, reopen, evict } = use();
    evict?.();
    await withMemory(64, async (memory) => {
      const read = ended((completion) => storage.read(0, 64, memory, 0, completion));
      const write = writeStatus(storage, 3, makeSectors(3, 50, 2));
      const flush = flushStatus(storage);
      await storage.close();
      expect([await read, await write, await flush]).toEqual([OK, OK, OK]);
    });
    if (reopen !== undefined) expect(await readSectors(await reopen(), 3, 50)).toEqual(makeSectors(3, 50, 2));
  });

  test("its serial number is the same when it is opened again", async () => {
    const { storage, reopen } = use();
    if (reopen === undefined) return;
    const { serial } = storage.info;
    await storage.close();
    expect((await reopen()).info.serial).toBe(serial);
  });

  test("a disk that grows tells its listeners, keeps what it holds and has zeros after it", async () => {
    const { storage, grow } = use();
    if (grow === undefined) return;
    const told: number[] = [];
    storage.onResize(() => told.push(storage.info.sectorCount));
    const grownCount = 3 * SECTOR_COUNT;
    await grow(grownCount);
    expect(storage.info.sectorCount).toBe(grownCount);
    expect(told).toEqual([grownCount]);
    expect(await readSectors(storage, 0, SECTOR_COUNT)).toEqual(content);
    expect(await readSectors(storage, SECTOR_COUNT, 16)).toEqual(zeros(16));
    await writeSectors(storage, grownCount - 2, makeSectors(grownCount - 2, 2, 2));
    expect(await readSectors(storage, grownCount - 2, 2)).toEqual(makeSectors(grownCount - 2, 2, 2));
    await grow(grownCount);
    expect(told).toEqual([grownCount]);
  });
}
