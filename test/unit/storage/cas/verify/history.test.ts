import { expect, test } from "bun:test";
import { allocateMemory, freeMemory } from "../../../../../ffi/memory.ts";
import { emptyHistory, fileHistory, type VerifyHistory } from "../../../../../src/storage/cas/verify/history.ts";
import { stateDisk } from "../../../../support/archive-store.ts";
import { reasonOf } from "../../../../support/reason-of.ts";
import type { SimulatedDisk } from "../../../../simulation/simulated-disk.ts";

const PATH = "/state/verified";

const packName = (number: number): string => number.toString(16).padStart(64, "0");

const some = (packs: number): VerifyHistory => ({
  packs: new Map(Array.from({ length: packs }, (_, number) => [packName(number), 1_700_000_000_000 + number])),
  badPacks: new Map([[packName(0xbad), 1_700_000_000_001]]),
  partBlocks: 16384,
  parts: [1_700_000_000_123, 0, 5],
  badParts: new Map([[1, 1_700_000_000_002]]),
  lastRunMs: 1_700_000_000_003,
});

const failReport = (key: string, message: string): void => {
  throw new Error(`${key}: ${message}`);
};

/** Content of the file, and a way to put other bytes in its place. */
async function bytesOf(disk: SimulatedDisk): Promise<Uint8Array> {
  const file = disk.open(PATH);
  const memory = allocateMemory(1 << 20);
  try {
    const count = await file.read(memory, 0, memory.lengthBytes, 0);
    return memory.bytes.slice(0, count);
  } finally {
    freeMemory(memory);
    await file.close();
  }
}

async function putBytes(disk: SimulatedDisk, bytes: Uint8Array): Promise<void> {
  const file = disk.open(PATH);
  const memory = allocateMemory(Math.max(1, bytes.length));
  memory.bytes.set(bytes);
  file.truncate(bytes.length);
  if (bytes.length > 0) file.write(memory, 0, bytes.length, 0);
  freeMemory(memory);
  await file.close();
}

test("what was saved is loaded, of many packs and of none, and the last one counts", async () => {
  const disk = await stateDisk();
  const history = fileHistory(disk, "/state", failReport);
  expect(await history.load()).toEqual(emptyHistory());
  for (const packs of [3000, 0, 2]) {
    await history.save(some(packs));
    expect(await fileHistory(disk, "/state", failReport).load()).toEqual(some(packs));
  }
});

test("the file is the lines that docs/format.md shows", async () => {
  const disk = await stateDisk();
  await fileHistory(disk, "/state", failReport).save(some(1));
  const text = new TextDecoder().decode(await bytesOf(disk));
  const body = [
    "voe verified 1",
    "run 1700000000003",
    "parts 16384 3",
    "part 0 1700000000123",
    "part 2 5",
    "badpart 1 1700000000002",
    `badpack ${packName(0xbad)} 1700000000001`,
    `pack ${packName(0)} 1700000000000`,
    "",
  ].join("\n");
  expect(text).toBe(`${body}end ${Bun.hash.crc32(body).toString(16).padStart(8, "0")}\n`);
});

test("a file with any byte changed, or cut anywhere, counts for nothing and is reported", async () => {
  const disk = await stateDisk();
  const reports: string[] = [];
  const history = fileHistory(disk, "/state", (_, message) => reports.push(message));
  await history.save(some(2));
  const whole = await bytesOf(disk);
  const changed: Uint8Array[] = [];
  for (let at = 0; at < whole.length; at += 3) {
    const flipped = whole.slice();
    flipped[at]! ^= 1;
    changed.push(flipped);
  }
  for (let length = 0; length < whole.length - 1; length += 7) changed.push(whole.slice(0, length));
  for (const bytes of changed) {
    await putBytes(disk, bytes);
    expect(await history.load()).toEqual(emptyHistory());
  }
  expect(reports.length).toBe(changed.length);
  expect(reports[0]).toContain(PATH);
  await history.save(some(2));
  expect(await history.load()).toEqual(some(2));
});

test("a save that finds no room rejects, leaves what was there, and the next one works", async () => {
  const disk = await stateDisk();
  const history = fileHistory(disk, "/state", failReport);
  await history.save(some(2));
  disk.roomBytes = 20;
  expect(await reasonOf(history.save(some(100)))).toContain("/state/verified.new");
  disk.roomBytes = Number.POSITIVE_INFINITY;
  expect(await history.load()).toEqual(some(2));
  await history.save(some(3));
  expect(await history.load()).toEqual(some(3));
});
