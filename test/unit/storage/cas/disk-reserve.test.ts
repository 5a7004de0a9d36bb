import { expect, test } from "bun:test";
import { ENOSPC } from "../../../../ffi/libc.ts";
import { allocateMemory } from "../../../../ffi/memory.ts";
import { createMemoryStore, emptyContents } from "../../../../src/blob/memory-store.ts";
import { withReserve, type ReservedDisk } from "../../../../src/storage/cas/disk-reserve.ts";
import { SimulatedDisk } from "../../../simulation/simulated-disk.ts";
import { blockOf, openTestArchive, openTestVolume, stateDisk, writeBlock } from "../../../support/archive-store.ts";
import { seededRandom } from "../../../support/seeded-random.ts";

const KIB = 1024;
const RESERVE = "/reserve";
const memory = allocateMemory(64 * KIB);

const simulated = (): SimulatedDisk => new SimulatedDisk(seededRandom(1));

/** What becomes of a new file of so many bytes. */
function writeNew(disk: ReservedDisk, path: string, lengthBytes: number): number {
  try {
    return disk.create(path).write(memory, 0, lengthBytes, 0);
  } catch {
    return -ENOSPC;
  }
}

/** How many files of 4 KiB can be made on a disk that has no room but the reserve. */
function countSmall(disk: ReservedDisk, simulation: SimulatedDisk, prefix: string): number {
  for (let count = 0; ; count++) {
    simulation.roomBytes = 0;
    if (writeNew(disk, `${prefix}${count}`, 4 * KIB) !== 4 * KIB) return count;
  }
}

test("a full disk has room for small files and for nothing else", () => {
  const simulation = simulated();
  const disk = withReserve(simulation, RESERVE);
  simulation.roomBytes = 0;
  expect(writeNew(disk, "/small", 64)).toBe(64);
  simulation.roomBytes = 0;
  expect(writeNew(disk, "/large", 64 * KIB)).toBeLessThan(64 * KIB);
});

test("a start may take all of the reserve, and what follows only half of it", () => {
  const simulation = simulated();
  let disk = withReserve(simulation, RESERVE);
  disk.started();
  const running = countSmall(disk, simulation, "/a");
  expect(running).toBeGreaterThan(4);
  disk = withReserve(simulation, RESERVE);
  expect(countSmall(disk, simulation, "/b")).toBe(running);
  disk = withReserve(simulation, RESERVE);
  expect(countSmall(disk, simulation, "/c")).toBe(0);
});

test("the reserve is made whole again when a file that is closed has left room", async () => {
  const simulation = simulated();
  const disk = withReserve(simulation, RESERVE);
  disk.started();
  const wholeBytes = simulation.contentOf(RESERVE).length;
  const count = countSmall(disk, simulation, "/a");
  expect(simulation.contentOf(RESERVE).length).toBeLessThan(wholeBytes);
  simulation.roomBytes = 1000 * KIB;
  await disk.open("/a0").close();
  expect(simulation.contentOf(RESERVE).length).toBe(wholeBytes);
  expect(countSmall(disk, simulation, "/b")).toBe(count);
});

test("a disk that is full from the beginning has no reserve, and serves all the same", () => {
  const simulation = simulated();
  simulation.roomBytes = 100 * KIB;
  const disk = withReserve(simulation, RESERVE);
  expect(simulation.contentOf(RESERVE)).toHaveLength(0);
  expect(writeNew(disk, "/small", 64)).toBe(64);
});

test("an archive whose journal finds no room makes some by checkpoints, and takes every write", async () => {
  const simulation = await stateDisk();
  const contents = emptyContents();
  const disk = withReserve(simulation, "/state/reserve");
  const archive = await openTestArchive(createMemoryStore(contents), disk);
  disk.started();
  const volume = await openTestVolume(archive, "e1.0", 1024);
  simulation.roomBytes = 200 * KIB;
  for (let block = 0; block < 1024; block++) await writeBlock(volume, block, blockOf(block));
  expect(archive.statistics().newBlocks).toBeGreaterThan(900);
  await archive.close();
});
