import { afterEach, beforeEach, expect, test } from "bun:test";
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, statSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { dataExtents, dataRanges } from "../../../../src/storage/file/data-ranges.ts";
import { fileStorage } from "../../../../src/storage/file/file-storage.ts";
import { openFile } from "../../../../src/storage/file/medium.ts";
import { reasonOf } from "../../../support/reason-of.ts";

const MIB = 2 ** 20;
const MIB_SECTORS = MIB / 512;
let directory: string;
let path: string;
let fd: number;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "voe-ranges-"));
  path = join(directory, "disk");
  fd = openSync(path, "w+");
  ftruncateSync(fd, 8 * MIB);
});
afterEach(() => {
  closeSync(fd);
  rmSync(directory, { recursive: true });
});

const put = (offsetBytes: number, lengthBytes: number): number =>
  writeSync(fd, new Uint8Array(lengthBytes).fill(1), 0, lengthBytes, offsetBytes);
const rangesOf = (sectorCount: number): number[][] =>
  [...dataRanges(fd, sectorCount)].map(({ sector, sectorCount: count }) => [sector, count]);

test("a file without data has no ranges, and one that is full has one", () => {
  expect(statSync(path).blocks).toBe(0);
  expect(rangesOf(8 * MIB_SECTORS)).toEqual([]);
  put(0, 8 * MIB);
  expect(rangesOf(8 * MIB_SECTORS)).toEqual([[0, 8 * MIB_SECTORS]]);
});

test("ranges lie where there is data, and end where the disk does", () => {
  put(MIB, MIB);
  put(7 * MIB, MIB);
  expect(rangesOf(8 * MIB_SECTORS)).toEqual([
    [MIB_SECTORS, MIB_SECTORS],
    [7 * MIB_SECTORS, MIB_SECTORS],
  ]);
  expect(rangesOf(8 * MIB_SECTORS - 3)[1]).toEqual([7 * MIB_SECTORS, MIB_SECTORS - 3]);
  expect(rangesOf(MIB_SECTORS + 1)).toEqual([[MIB_SECTORS, 1]]);
});

test("data that ends within a sector counts as all of it", () => {
  ftruncateSync(fd, 0);
  put(0, 700);
  expect(rangesOf(2)).toEqual([[0, 2]]);
});

test("where it cannot be told everything is data", () => {
  // A descriptor without a file behind it stands for a filesystem that does not answer.
  expect([...dataRanges(-1, 16)]).toEqual([{ sector: 0, sectorCount: 16 }]);
});

test("ranges are each as they are when they are asked for", () => {
  put(0, MIB);
  const ranges = dataRanges(fd, 8 * MIB_SECTORS);
  expect(ranges.next().value).toEqual({ sector: 0, sectorCount: MIB_SECTORS });
  put(4 * MIB, MIB);
  expect(ranges.next().value).toEqual({ sector: 4 * MIB_SECTORS, sectorCount: MIB_SECTORS });
});

test("extents begin at the sector that was asked for, take turns, and are as many as were asked for", () => {
  put(MIB, MIB);
  put(7 * MIB, MIB);
  const extentsOf = (...range: [sector: number, count: number, most: number]): [number, boolean][] =>
    dataExtents(fd, ...range).map(({ sectorCount, isHole }) => [sectorCount / MIB_SECTORS, isHole]);
  expect(extentsOf(0, 8 * MIB_SECTORS, 9)).toEqual([
    [1, true],
    [1, false],
    [5, true],
    [1, false],
  ]);
  expect(extentsOf(1.5 * MIB_SECTORS, MIB_SECTORS, 9)).toEqual([
    [0.5, false],
    [0.5, true],
  ]);
  expect(extentsOf(0, 8 * MIB_SECTORS, 2)).toEqual([
    [1, true],
    [1, false],
  ]);
  expect(extentsOf(3 * MIB_SECTORS, MIB_SECTORS, 1)).toEqual([[1, true]]);
});

test("the extents of a disk that was closed are an error, and not a hole", async () => {
  put(0, MIB);
  const storage = fileStorage(openFile(path, undefined, false), { sync: { kind: "none" }, report: () => {} });
  expect(await storage.extents(0, 2, 1)).toEqual([{ sectorCount: 2, isHole: false }]);
  await storage.close();
  expect(await reasonOf(storage.extents(0, 2, 1))).toBe(`${path} was closed, or is shorter than it was`);
});
