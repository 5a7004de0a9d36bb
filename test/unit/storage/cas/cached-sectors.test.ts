import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { allocateMemory, freeMemory } from "../../../../ffi/memory.ts";
import type { Memory } from "../../../../src/base/memory.ts";
import { LATER, MEDIUM_ERROR, OK, SECTOR_BYTES, type StorageStatus } from "../../../../src/storage/block-storage.ts";
import { cachedSectors, type CachedSectors } from "../../../../src/storage/cas/cached-sectors.ts";
import { EXTENT_BYTES, ExtentCache } from "../../../../src/storage/cas/extent-cache.ts";
import { EXTENT_SECTORS } from "../../../../src/storage/cas/sector-mask.ts";
import { heldSectors, type HeldSectors } from "../../../support/held-sectors.ts";
import { seededRandom, testSeed } from "../../../support/seeded-random.ts";
import { copyLent } from "../../../support/storage-requests.ts";
import { makeSectors, versionOf } from "../../../support/versioned-sectors.ts";

/** Not a multiple of any block: the last block and the last extent are parts of one. */
const SECTORS = 10 * EXTENT_SECTORS + 21;

let memory: Memory;
let cache: ExtentCache;
let reader: HeldSectors;
let sectors: CachedSectors;

function open(extents: number, blockSectors = 8, sectorCount = SECTORS): void {
  cache = new ExtentCache(extents * EXTENT_BYTES);
  reader = heldSectors(sectorCount, blockSectors);
  sectors = cachedSectors(cache, reader);
}

beforeEach(() => {
  memory = allocateMemory(SECTORS * SECTOR_BYTES);
  open(64);
});

afterEach(() => {
  sectors.close();
  while (reader.waiting.length > 0) reader.release();
  freeMemory(memory);
});

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function versionsIn(bytes: Uint8Array, sector: number): number[] {
  const count = bytes.length / SECTOR_BYTES;
  return Array.from({ length: count }, (_, i) =>
    versionOf(bytes.subarray(i * SECTOR_BYTES, (i + 1) * SECTOR_BYTES), sector + i),
  );
}

const times = (count: number, version: number): number[] => Array.from({ length: count }, () => version);

/** The versions of sectors that have to be there without waiting. */
function readNow(sector: number, count: number): number[] {
  expect(sectors.tryRead(sector, count, memory, 0)).toBe(OK);
  return versionsIn(memory.bytes.subarray(0, count * SECTOR_BYTES), sector);
}

/** The versions that are lent, or undefined where nothing is. */
function lent(sector: number, count: number): number[] | undefined {
  const address = sectors.lend(sector, count);
  return address === 0 ? undefined : versionsIn(copyLent(address, count * SECTOR_BYTES), sector);
}

/** Begins a read, into memory of its own. */
async function readLater(sector: number, count: number): Promise<number[] | StorageStatus> {
  const target = allocateMemory(count * SECTOR_BYTES);
  const status = await sectors.read(sector, count, target, 0);
  const versions = status === OK ? versionsIn(target.bytes.subarray(0, count * SECTOR_BYTES), sector) : status;
  freeMemory(target);
  return versions;
}

/** Writes as a volume does: what is behind the cache first. */
function write(sector: number, count: number, version: number): void {
  reader.versions.fill(version, sector, sector + count);
  memory.bytes.set(makeSectors(sector, count, version));
  sectors.wrote(sector, count, memory, 0);
  memory.bytes.fill(0xee, 0, count * SECTOR_BYTES);
}

function discard(sector: number, count: number): void {
  reader.versions.fill(0, sector, sector + count);
  sectors.changed(sector, count);
}

describe("what is in the cache", () => {
  test("was read once, in whole blocks, and is lent from then on", () => {
    expect(lent(3, 2)).toBeUndefined();
    expect(readNow(3, 2)).toEqual([1, 1]);
    expect(reader.calls).toEqual(["tryRead 0+8"]);
    expect(lent(0, 8)).toEqual(times(8, 1));
    expect(readNow(5, 3)).toEqual([1, 1, 1]);
    expect(lent(7, 2)).toBeUndefined();
    expect(reader.calls).toEqual(["tryRead 0+8"]);
    expect(cache.counters).toMatchObject({ hits: 2, misses: 1, hitBytes: 11 * SECTOR_BYTES });
  });

  test("comes in up to the end of the disk, and nothing beyond", () => {
    expect(readNow(SECTORS - 1, 1)).toEqual([1]);
    expect(reader.calls).toEqual([`tryRead ${SECTORS - 5}+5`]);
  });

  test("across two extents is copied, and not lent", () => {
    expect(readNow(EXTENT_SECTORS - 4, 8)).toEqual(times(8, 1));
    reader.calls.length = 0;
    expect(lent(EXTENT_SECTORS - 4, 8)).toBeUndefined();
    expect(readNow(EXTENT_SECTORS - 4, 8)).toEqual(times(8, 1));
    expect(lent(EXTENT_SECTORS - 4, 4)).toEqual(times(4, 1));
    expect(reader.calls).toEqual([]);
  });

  test("follows the writes of one who reads in between", () => {
    readNow(0, 16);
    write(2, 3, 2);
    expect(lent(0, 8)).toEqual([1, 1, 2, 2, 2, 1, 1, 1]);
    expect(reader.calls).toEqual(["tryRead 0+16"]);
  });

  test("loses what is written twice without being read, and has it again when it is read", () => {
    readNow(0, 16);
    write(0, 4, 2);
    write(2, 4, 3);
    expect(lent(2, 4)).toBeUndefined();
    expect(lent(6, 8)).toEqual(times(8, 1));
    expect(readNow(0, 8)).toEqual([2, 2, 3, 3, 3, 3, 1, 1]);
    expect(reader.calls).toEqual(["tryRead 0+16", "tryRead 2+4"]);
  });

  test("is not made by writes alone", () => {
    write(0, 200, 2);
    expect(cache.statistics().usedBytes).toBe(0);
    expect(readNow(120, 16)).toEqual(times(16, 2));
  });

  test("is zeros after a discard, of part of an extent and of the whole disk", () => {
    readNow(0, 300);
    discard(100, 100);
    expect(readNow(96, 8)).toEqual([1, 1, 1, 1, 0, 0, 0, 0]);
    expect(readNow(196, 8)).toEqual([0, 0, 0, 0, 1, 1, 1, 1]);
    discard(0, SECTORS);
    expect(lent(0, 8)).toBeUndefined();
    expect(readNow(0, 300)).toEqual(times(300, 0));
  });

  test("is forgotten when all of the content is another", () => {
    readNow(0, 300);
    reader.versions.fill(5);
    sectors.forget();
    expect(lent(0, 8)).toBeUndefined();
    expect(readNow(0, 300)).toEqual(times(300, 5));
  });

  test("beyond the old end comes in when the disk has grown", () => {
    open(64, 8, 20);
    expect(readNow(16, 4)).toEqual(times(4, 1));
    const grown = heldSectors(40, 8);
    Object.assign(reader, { sectorCount: 40, tryRead: grown.tryRead.bind(grown) });
    grown.versions.fill(0, 20);
    expect(lent(16, 8)).toBeUndefined();
    expect(readNow(16, 16)).toEqual([1, 1, 1, 1, ...times(12, 0)]);
    expect(grown.calls).toEqual(["tryRead 20+12"]);
  });

  test("of two disks is kept apart", () => {
    const other = heldSectors(SECTORS, 8);
    other.versions.fill(9);
    const others = cachedSectors(cache, other);
    readNow(0, 8);
    expect(others.tryRead(0, 8, memory, 0)).toBe(OK);
    expect(versionsIn(memory.bytes.subarray(0, 8 * SECTOR_BYTES), 0)).toEqual(times(8, 9));
    expect(lent(0, 8)).toEqual(times(8, 1));
    others.close();
    expect(lent(0, 8)).toEqual(times(8, 1));
  });

  test("is never what could not be verified", () => {
    reader.damaged.add(10);
    expect(sectors.tryRead(8, 2, memory, 0)).toBe(MEDIUM_ERROR);
    expect(lent(8, 8)).toBeUndefined();
    reader.damaged.clear();
    expect(readNow(8, 2)).toEqual([1, 1]);
  });
});

describe("what is on its way", () => {
  beforeEach(() => {
    reader.waits = true;
  });

  test("is read once for all who ask for it", async () => {
    expect(sectors.tryRead(0, 2, memory, 0)).toBe(LATER);
    const reads = [readLater(0, 2), readLater(2, 2), readLater(4, 4)];
    expect(sectors.tryRead(6, 2, memory, 0)).toBe(LATER);
    expect(reader.waiting).toEqual(["read 0+8"]);
    reader.release();
    expect(await Promise.all(reads)).toEqual([times(2, 1), times(2, 1), times(4, 1)]);
    expect(lent(0, 8)).toEqual(times(8, 1));
  });

  test("is not lent before it is there", async () => {
    const read = readLater(0, 8);
    expect(lent(0, 8)).toBeUndefined();
    reader.release();
    await read;
    expect(lent(0, 8)).toEqual(times(8, 1));
  });

  test("does not bring back what was written meanwhile, and earlier reads still get what was there", async () => {
    const before = readLater(0, 8);
    write(2, 3, 2);
    const after = readLater(0, 8);
    expect(lent(2, 3)).toBeUndefined();
    while (reader.waiting.length > 0) reader.release();
    expect(await before).toEqual(times(8, 1));
    expect(await after).toEqual([1, 1, 2, 2, 2, 1, 1, 1]);
    expect(lent(0, 2)).toEqual([1, 1]);
    expect(lent(2, 1)).toBeUndefined();
    reader.waits = false;
    expect(readNow(0, 8)).toEqual([1, 1, 2, 2, 2, 1, 1, 1]);
    expect(lent(0, 8)).toEqual([1, 1, 2, 2, 2, 1, 1, 1]);
  });

  test("does not bring back what was discarded meanwhile", async () => {
    const before = readLater(0, 8);
    discard(0, SECTORS);
    reader.release();
    expect(await before).toEqual(times(8, 1));
    reader.waits = false;
    expect(readNow(0, 8)).toEqual(times(8, 0));
  });

  test("does not bring back what was there before all of the content became another", async () => {
    const before = readLater(0, 8);
    reader.versions.fill(5);
    sectors.forget();
    const after = readLater(0, 8);
    expect(reader.waiting.length).toBe(2);
    reader.release(1);
    expect(await after).toEqual(times(8, 5));
    reader.release();
    expect(await before).toEqual(times(8, 1));
    expect(lent(0, 8)).toEqual(times(8, 5));
  });

  test("a read of what is there in part gets what was there when it began", async () => {
    reader.waits = false;
    readNow(0, 8);
    reader.waits = true;
    const read = readLater(4, 8);
    expect(reader.waiting).toEqual(["read 8+8"]);
    write(4, 4, 2);
    reader.release();
    expect(await read).toEqual(times(8, 1));
    reader.waits = false;
    expect(readNow(4, 8)).toEqual([2, 2, 2, 2, 1, 1, 1, 1]);
  });

  test("another block of the same extent is read beside it", async () => {
    const first = readLater(0, 8);
    const other = readLater(64, 8);
    expect(reader.waiting).toEqual(["read 0+8", "read 64+8"]);
    reader.release(1);
    expect(await other).toEqual(times(8, 1));
    reader.release();
    expect(await first).toEqual(times(8, 1));
  });

  test("fails those alone who asked for what cannot be read", async () => {
    for (let i = 0; i < 3; i++) sectors.tryRead(i * 16, 16, memory, 0);
    reader.damaged.add(41);
    const reads = [readLater(32, 8), readLater(40, 8), readLater(48, 8), readLater(36, 8)];
    expect(reader.waiting).toEqual(["read 0+128"]);
    reader.release();
    expect(await Promise.all(reads)).toEqual([times(8, 1), MEDIUM_ERROR, times(8, 1), MEDIUM_ERROR]);
    expect(lent(32, 8)).toEqual(times(8, 1));
    expect(lent(40, 1)).toBeUndefined();
    expect(lent(48, 8)).toEqual(times(8, 1));
  });

  test("ends as it would have when the disk is closed meanwhile", async () => {
    const read = readLater(0, 8);
    sectors.close();
    reader.release();
    expect(await read).toEqual(times(8, 1));
    expect(cache.statistics().usedBytes).toBe(0);
  });

  test("a cache of one extent serves reads of many at once", async () => {
    open(1);
    reader.waits = true;
    const reads = Array.from({ length: 8 }, (_, i) => readLater(i * EXTENT_SECTORS + 8, 16));
    while (reader.waiting.length > 0) reader.release();
    for (const read of reads) expect(await read).toEqual(times(16, 1));
  });
});

describe("a reader from front to back", () => {
  test("finds what it comes to", async () => {
    for (let sector = 0; sector < 48; sector += 16) readNow(sector, 16);
    expect(lent(112, 16)).toEqual(times(16, 1));
    let misses = 0;
    for (let sector = 48; sector + 16 <= SECTORS; sector += 16) {
      if (lent(sector, 16) === undefined) misses++;
      await turn();
    }
    expect(misses).toBe(0);
    const { fetchedAhead, usedAhead } = cache.counters;
    expect(usedAhead).toBe(10);
    expect(fetchedAhead).toBe(10);
  });

  test("finds what it comes to where that takes waiting", async () => {
    reader.waits = true;
    const first: Promise<unknown>[] = [];
    for (let sector = 0; sector < 48; sector += 16) {
      sectors.tryRead(sector, 16, memory, 0);
      first.push(readLater(sector, 16));
    }
    while (reader.waiting.length < 5) await turn();
    expect(reader.waiting.slice(-2)).toEqual([`read ${EXTENT_SECTORS}+128`, `read ${2 * EXTENT_SECTORS}+128`]);
    const joined = readLater(EXTENT_SECTORS, 16);
    while (reader.waiting.length > 0) reader.release();
    await Promise.all(first);
    expect(await joined).toEqual(times(16, 1));
    expect(lent(EXTENT_SECTORS + 112, 16)).toEqual(times(16, 1));
  });

  test("is told nothing of what cannot be read before it gets there", async () => {
    reader.damaged.add(EXTENT_SECTORS + 64);
    for (let sector = 0; sector < 64; sector += 16) readNow(sector, 16);
    await turn();
    expect(readNow(EXTENT_SECTORS, 16)).toEqual(times(16, 1));
    expect(sectors.tryRead(EXTENT_SECTORS + 64, 16, memory, 0)).toBe(MEDIUM_ERROR);
  });
});

for (const blockSectors of [1, 8, 32, 128]) {
  for (const extents of [1, 3, 64]) {
    const name = `blocks of ${blockSectors * SECTOR_BYTES} bytes, ${extents} extents`;
    test(`${name}: random requests see what a disk would hold, and nothing lent changes (VOE_TEST_SEED=${testSeed})`, async () => {
      open(extents, blockSectors);
      await runRequests(seededRandom(testSeed + extents * 1000 + blockSectors));
    });
  }
}

/** Requests of every kind, whose reads end in any order, against the versions that the reader holds. */
async function runRequests(random: ReturnType<typeof seededRandom>): Promise<void> {
  let version = 1;
  let lentRanges: { sector: number; address: number; expected: number[] }[] = [];
  const ends: Promise<void>[] = [];
  const present = (sector: number, count: number): number[] => [...reader.versions.subarray(sector, sector + count)];

  const checkLent = (sector: number, count: number): void => {
    const meets = (range: { sector: number; expected: number[] }): boolean =>
      sector < range.sector + range.expected.length && range.sector < sector + count;
    for (const { sector: first, address, expected } of lentRanges.filter(meets)) {
      expect(versionsIn(copyLent(address, expected.length * SECTOR_BYTES), first)).toEqual(expected);
    }
    lentRanges = lentRanges.filter((range) => !meets(range));
  };

  /** Lets go of the turn, before which everything lent was sent. */
  const giveWay = async (): Promise<void> => {
    checkLent(0, SECTORS);
    await turn();
  };

  let cursor = 0;
  for (let step = 0; step < 1500; step++) {
    const isNext = random.chance(0.4);
    const count = isNext ? 16 : 1 + random.below(random.chance(0.1) ? 300 : 24);
    if (isNext) cursor = cursor + 32 > SECTORS ? 0 : cursor + 16;
    const sector = isNext ? cursor : random.below(SECTORS - count);
    reader.waits = random.chance(0.4);
    const choice = random.below(100);
    if (choice < 25) {
      checkLent(sector, count);
      write(sector, count, ++version);
    } else if (choice < 30) {
      checkLent(sector, count);
      discard(sector, count);
    } else if (choice < 31) {
      await giveWay();
      if (random.chance(0.3)) reader.versions.fill(++version);
      sectors.forget();
    } else if (choice < 45) {
      if (reader.waiting.length > 0) reader.release(random.below(reader.waiting.length));
    } else if (choice < 60) {
      await giveWay();
    } else {
      const expected = present(sector, count);
      const address = sectors.lend(sector, count);
      if (address !== 0) {
        lentRanges.push({ sector, address, expected });
      } else if (sectors.tryRead(sector, count, memory, 0) === OK) {
        expect(versionsIn(memory.bytes.subarray(0, count * SECTOR_BYTES), sector)).toEqual(expected);
      } else {
        ends.push(readLater(sector, count).then((versions) => expect(versions).toEqual(expected)));
      }
    }
  }
  await giveWay();
  sectors.close();
  for (let idle = 0; idle < 3; idle++) {
    while (reader.waiting.length > 0) reader.release();
    await turn();
  }
  await Promise.all(ends);
  if (cache.capacity > SECTORS / EXTENT_SECTORS) expect(cache.counters.hits).toBeGreaterThan(50);
  expect(cache.counters.misses).toBeGreaterThan(50);
}
