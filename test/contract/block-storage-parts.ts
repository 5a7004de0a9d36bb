/** What every storage does with zeros, parts of sectors and holes: part of the contract in `block-storage.ts`. */
import { expect, test } from "bun:test";
import { OK, OUT_OF_RANGE, READ_ONLY, SECTOR_BYTES, type StorageStatus } from "../../src/storage/block-storage.ts";
import { runByteSchedule } from "../support/byte-schedule.ts";
import { reasonOf } from "../support/reason-of.ts";
import { testSeed } from "../support/seeded-random.ts";
import { allExtents, ended, readSectors, withMemory, writeSectors } from "../support/storage-requests.ts";
import { makeSectors } from "../support/versioned-sectors.ts";
import { SECTOR_COUNT, type StorageUnderTest } from "./storage-under-test.ts";

/** Changes a part of a sector to bytes of this value, and spoils the source as soon as it may. */
function partStatus(
  { storage }: StorageUnderTest,
  sector: number,
  offsetBytes: number,
  lengthBytes: number,
  value: number,
): Promise<StorageStatus> {
  return withMemory(1, (memory) => {
    memory.bytes.fill(value);
    const end = ended((completion) =>
      storage.writePart(sector, offsetBytes, lengthBytes, memory, 0, false, completion),
    );
    memory.bytes.fill(0xee);
    return end;
  });
}

const zeroStatus = (
  { storage }: StorageUnderTest,
  sector: number,
  count: number,
  allocate: boolean,
  durable = false,
): Promise<StorageStatus> => ended((completion) => storage.writeZeroes(sector, count, allocate, durable, completion));

export function describeParts(use: () => StorageUnderTest): void {
  test("parts of one sector that are changed at once are all there, and the rest of it stays", async () => {
    const used = use();
    used.evict?.();
    const expected = makeSectors(9, 1, 1);
    const ends: Promise<StorageStatus>[] = [];
    for (let part = 0; part < 32; part++) {
      ends.push(partStatus(used, 9, part * 16 + 3, 10, part + 1));
      expected.fill(part + 1, part * 16 + 3, part * 16 + 13);
    }
    expect(new Set(await Promise.all(ends))).toEqual(new Set([OK]));
    expect(await readSectors(used.storage, 8, 3)).toEqual(
      new Uint8Array([...makeSectors(8, 1, 1), ...expected, ...makeSectors(10, 1, 1)]),
    );
  });

  test("a part of a sector beyond the end is out of range", async () => {
    expect(await partStatus(use(), SECTOR_COUNT, 0, 1, 1)).toBe(OUT_OF_RANGE);
  });

  test.each([true, false])("zeros that are written, keeping space %p, are read, durably too", async (allocate) => {
    const used = use();
    const expected = makeSectors(0, SECTOR_COUNT, 1);
    for (const [sector, count, durable] of [
      [3, 1, false],
      [20, 300, true],
      [SECTOR_COUNT - 2, 2, false],
    ] as const) {
      used.evict?.();
      expect(await zeroStatus(used, sector, count, allocate, durable)).toBe(OK);
      expected.fill(0, sector * SECTOR_BYTES, (sector + count) * SECTOR_BYTES);
    }
    used.evict?.();
    expect(await readSectors(used.storage, 0, SECTOR_COUNT)).toEqual(expected);
    expect(used.storage.info.sectorCount).toBe(SECTOR_COUNT);
    expect(await zeroStatus(used, SECTOR_COUNT - 1, 2, allocate)).toBe(OUT_OF_RANGE);
  });

  test("what was freed is a hole where there is such a thing, and what is written in it is none", async () => {
    const used = use();
    const { storage, frees } = used;
    expect(await zeroStatus(used, 0, SECTOR_COUNT, false)).toBe(OK);
    // A filesystem keeps the last block of a file that ends within it.
    expect(await allExtents(storage, 0, 2048)).toEqual([{ sectorCount: 2048, isHole: frees === true }]);
    await writeSectors(storage, 1024, makeSectors(1024, 128, 2));
    for (const most of [1, 2, 64]) {
      const extents = await allExtents(storage, 0, 2048, most);
      if (frees === true) {
        expect(extents).toEqual([
          { sectorCount: 1024, isHole: true },
          { sectorCount: 128, isHole: false },
          { sectorCount: 2048 - 1152, isHole: true },
        ]);
      } else {
        expect(extents).toEqual([{ sectorCount: 2048, isHole: false }]);
      }
    }
    expect(await allExtents(storage, 1025, 1030)).toEqual([{ sectorCount: 5, isHole: false }]);
  });

  const title = `overlapping requests for any bytes all see what was asked before them (VOE_TEST_SEED=${testSeed})`;
  test(title, async () => {
    const { storage, evict, checkpoint } = use();
    for (let round = 0; round < 2; round++) {
      await runByteSchedule({ storage, evict, checkpoint, seed: testSeed + round, requestCount: 300 });
    }
  });
}

export function describeExtents(use: () => StorageUnderTest): void {
  test("what is full is data, and beyond the end or after it was closed nothing is told", async () => {
    const { storage } = use();
    expect(await allExtents(storage)).toEqual([{ sectorCount: SECTOR_COUNT, isHole: false }]);
    expect(await allExtents(storage, SECTOR_COUNT - 1)).toEqual([{ sectorCount: 1, isHole: false }]);
    expect(await reasonOf(storage.extents(SECTOR_COUNT - 1, 2, 1))).not.toBe("");
    await storage.close();
    expect(await reasonOf(storage.extents(0, 1, 1))).toContain("closed");
  });
}

export function describePartsRefused(use: () => StorageUnderTest): void {
  test("zeros and parts of sectors are refused", async () => {
    const used = use();
    expect(await zeroStatus(used, 0, 8, false)).toBe(READ_ONLY);
    expect(await zeroStatus(used, 0, 8, true, true)).toBe(READ_ONLY);
    expect(await partStatus(used, 0, 5, 1, 7)).toBe(READ_ONLY);
    expect(await readSectors(used.storage, 0, 8)).toEqual(makeSectors(0, 8, 1));
  });
}
