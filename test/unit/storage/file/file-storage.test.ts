import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeAt } from "../../../../ffi/file.ts";
import { EFAULT } from "../../../../ffi/libc.ts";
import { LATER, MEDIUM_ERROR, OK, SECTOR_BYTES } from "../../../../src/storage/block-storage.ts";
import { fileStorage, type FileStorage } from "../../../../src/storage/file/file-storage.ts";
import { openFile } from "../../../../src/storage/file/medium.ts";
import { dropCached, missingForResidency } from "../../../support/page-cache.ts";
import { titleUnless } from "../../../support/requirements.ts";
import {
  discardStatus,
  ended,
  flushStatus,
  readSectors,
  readStatus,
  withMemory,
  writeSectors,
  writeStatus,
} from "../../../support/storage-requests.ts";
import { makeSectors } from "../../../support/versioned-sectors.ts";

const SECTOR_COUNT = 1024;
const SIZE_BYTES = SECTOR_COUNT * SECTOR_BYTES;

let directory: string;
let path: string;
let storage: FileStorage;
const said: string[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "voe-file-"));
  path = join(directory, "disk.img");
  writeFileSync(path, makeSectors(0, SECTOR_COUNT, 1));
  said.length = 0;
  storage = fileStorage(openFile(path, undefined, false), {
    sync: { kind: "none" },
    report: (_key, message) => said.push(message),
  });
});
afterEach(async () => {
  await storage.close().catch(() => {});
  rmSync(directory, { recursive: true });
});

const until = async (condition: () => boolean): Promise<void> => {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
};

const missing = missingForResidency();

describe.skipIf(missing !== undefined)(titleUnless(missing, "what is not in memory"), () => {
  test("is read in a thread, and at once and lent from then on", async () => {
    dropCached(path);
    await withMemory(16, async (memory) => {
      expect(storage.tryRead(128, 16, memory, 0)).toBe(LATER);
      expect(storage.lend(128, 16)).toBe(0);
      expect(await ended((completion) => storage.read(128, 16, memory, 0, completion))).toBe(OK);
      expect(storage.tryRead(128, 16, memory, 0)).toBe(OK);
      expect(storage.lend(128, 16)).not.toBe(0);
    });
  });

  test("is written in a thread where a write covers a page in part, and at once where it covers it", async () => {
    dropCached(path);
    await withMemory(16, async (memory) => {
      memory.bytes.set(makeSectors(64, 16, 2));
      expect(storage.tryWrite(64, 16, memory, 0)).toBe(OK);
      for (const [sector, count] of [
        [257, 1],
        [264, 1],
        [271, 1],
        [280, 9],
        [303, 9],
      ] as const) {
        // The look for a page makes the kernel fetch it, and some beside it.
        dropCached(path);
        expect([sector, storage.tryWrite(sector, count, memory, 0)]).toEqual([sector, LATER]);
      }
    });
    expect(await writeStatus(storage, 257, makeSectors(257, 1, 2))).toBe(OK);
    expect(await writeStatus(storage, 303, makeSectors(303, 9, 2))).toBe(OK);
    expect(await readSectors(storage, 256, 2)).toEqual(
      new Uint8Array([...makeSectors(256, 1, 1), ...makeSectors(257, 1, 2)]),
    );
    expect(await readSectors(storage, 303, 9)).toEqual(makeSectors(303, 9, 2));
    await withMemory(1, async (memory) => {
      memory.bytes.set(makeSectors(258, 1, 2));
      // The page is in memory now.
      expect(storage.tryWrite(258, 1, memory, 0)).toBe(OK);
    });
  });

  test("and is being written when the storage fails, is not told to be written", async () => {
    dropCached(path);
    await withMemory(1, async (memory) => {
      const write = ended((completion) => storage.write(257, 1, memory, 0, false, completion));
      truncateSync(path, SIZE_BYTES / 2);
      // Looks at the size at once.
      await storage.grow(undefined);
      expect(storage.failure).toContain("was cut to");
      expect(await write).toBe(MEDIUM_ERROR);
    });
  });

  test("is read and written at once where it is a hole", async () => {
    await storage.grow(2 * SIZE_BYTES);
    dropCached(path);
    await withMemory(16, async (memory) => {
      expect(storage.tryRead(SECTOR_COUNT + 8, 16, memory, 0)).toBe(OK);
      expect(storage.tryWrite(SECTOR_COUNT + 65, 3, memory, 0)).toBe(OK);
    });
  });
});

/** What holds from the moment that the server has noticed that the file was cut to `keptSectors`. */
async function expectLost(keptSectors: number): Promise<void> {
  expect(storage.failure).toContain(`${path} was cut to `);
  expect(storage.info.sectorCount).toBe(SECTOR_COUNT);
  for (const [sector, count] of [
    [keptSectors, 1],
    [keptSectors - 1, 2],
    [SECTOR_COUNT - 1, 1],
  ] as const) {
    expect(storage.lend(sector, count)).toBe(0);
    await withMemory(2, async (memory) => expect(await readStatus(storage, sector, count, memory)).toBe(MEDIUM_ERROR));
  }
  expect(await readSectors(storage, 0, keptSectors)).toEqual(makeSectors(0, keptSectors, 1));
  expect(await writeStatus(storage, 0, makeSectors(0, 1, 2))).toBe(MEDIUM_ERROR);
  expect(await writeStatus(storage, SECTOR_COUNT - 1, makeSectors(SECTOR_COUNT - 1, 1, 2))).toBe(MEDIUM_ERROR);
  expect(await discardStatus(storage, 0, 8)).toBe(MEDIUM_ERROR);
  expect(await readSectors(storage, 0, 1)).toEqual(makeSectors(0, 1, 1));
}

describe.each([
  ["at a page", 512],
  ["in a page", 515],
])("a file that is cut under the server %s", (_, keptSectors) => {
  const keptBytes = keptSectors * SECTOR_BYTES;

  test("is noticed within a moment: what was lost fails and is no zeros, the rest is read, nothing is written", async () => {
    await readSectors(storage, 0, SECTOR_COUNT);
    truncateSync(path, keptBytes + 100);
    await until(() => storage.failure !== undefined);
    await expectLost(keptSectors);
    expect(said.join("\n")).toContain(`cut to ${keptBytes + 100} bytes under the server, it had ${SIZE_BYTES}`);
    expect(statSync(path).size).toBe(keptBytes + 100);
  });

  test("before that is noticed fails the reads of lost pages, lent or not", async () => {
    await readSectors(storage, 0, SECTOR_COUNT);
    const address = storage.lend(keptSectors + 8, 1);
    truncateSync(path, keptBytes);
    expect(address).not.toBe(0);
    const sink = openSync(join(directory, "sink"), "w");
    expect(writeAt(sink, address, SECTOR_BYTES, 0)).toBe(-EFAULT);
    closeSync(sink);
    await withMemory(8, async (memory) => expect(await readStatus(storage, keptSectors, 8, memory)).toBe(MEDIUM_ERROR));
  });

  test.each([
    ["in the middle", keptSectors + 100],
    ["at the very end", SECTOR_COUNT - 1],
  ])("is not made longer again by a write %s", async (_where, sector) => {
    truncateSync(path, keptBytes);
    expect(await writeStatus(storage, sector, makeSectors(sector, 1, 2))).toBe(MEDIUM_ERROR);
    expect(statSync(path).size).toBe(keptBytes);
    await expectLost(keptSectors);
  });

  test("is not made whole by growing it, and the operator hears that", async () => {
    truncateSync(path, keptBytes);
    await storage.grow(SIZE_BYTES);
    await storage.grow(2 * SIZE_BYTES);
    expect(statSync(path).size).toBe(keptBytes);
    expect(said.some((message) => message.startsWith(`${path} cannot grow: ${path} was cut to `))).toBe(true);
    await expectLost(keptSectors);
  });

  test("stays lost when somebody makes the file longer again", async () => {
    truncateSync(path, keptBytes);
    await until(() => storage.failure !== undefined);
    truncateSync(path, SIZE_BYTES);
    await expectLost(keptSectors);
  });

  test("fails the writes that were taken before and still wait", async () => {
    dropCached(path);
    await withMemory(8, async (memory) => {
      const read = ended((completion) => storage.read(0, 8, memory, 0, completion));
      const waiting = writeStatus(storage, 4, makeSectors(4, 1, 2));
      truncateSync(path, keptBytes);
      expect(await waiting).toBe(MEDIUM_ERROR);
      await read;
    });
    await expectLost(keptSectors);
  });
});

test("once closed it leaves alone what has its descriptor's number now", async () => {
  const medium = openFile(join(directory, "first.img"), SIZE_BYTES, false);
  const first = fileStorage(medium, { sync: { kind: "none" }, report: () => {} });
  await first.close();
  const other = openSync(path, "r+");
  expect(other).toBe(medium.fd);
  try {
    await withMemory(8, async (memory) => {
      expect(await readStatus(first, 0, 8, memory)).toBe(MEDIUM_ERROR);
      expect(await writeStatus(first, 0, new Uint8Array(8 * SECTOR_BYTES))).toBe(MEDIUM_ERROR);
      expect(await discardStatus(first, 0, 8)).toBe(MEDIUM_ERROR);
    });
    await first.close();
    expect(await readSectors(storage, 0, 8)).toEqual(makeSectors(0, 8, 1));
  } finally {
    closeSync(other);
  }
});

test("a file that grows from outside is taken on by growing, and a smaller size changes nothing", async () => {
  truncateSync(path, SIZE_BYTES + 5 * SECTOR_BYTES + 100);
  expect(storage.info.sectorCount).toBe(SECTOR_COUNT);
  await storage.grow(undefined);
  expect(storage.info.sectorCount).toBe(SECTOR_COUNT + 5);
  await storage.grow(SECTOR_BYTES);
  expect(storage.info.sectorCount).toBe(SECTOR_COUNT + 5);
  expect(statSync(path).size).toBe(SIZE_BYTES + 5 * SECTOR_BYTES + 100);
});

test("a discard gives the space back", async () => {
  expect(await flushStatus(storage)).toBe(OK);
  const before = storage.allocatedBytes();
  expect(await discardStatus(storage, 0, SECTOR_COUNT)).toBe(OK);
  expect(before).toBeGreaterThanOrEqual(SIZE_BYTES);
  expect(storage.allocatedBytes()).toBeLessThan(SIZE_BYTES / 4);
  expect(readFileSync(path).every((byte) => byte === 0)).toBe(true);
});

test("zeros that keep their space are given it where there was none", async () => {
  expect(storage.hasFastZeroes).toBe(true);
  expect(await discardStatus(storage, 0, SECTOR_COUNT)).toBe(OK);
  expect(await ended((completion) => storage.writeZeroes(0, SECTOR_COUNT, true, true, completion))).toBe(OK);
  expect(storage.allocatedBytes()).toBeGreaterThanOrEqual(SIZE_BYTES - 4096);
  expect(readFileSync(path).every((byte) => byte === 0)).toBe(true);
  expect(statSync(path).size).toBe(SIZE_BYTES);
});

test.skipIf(!existsSync("/dev/shm"))("zeros keep their space on a filesystem in memory too", async () => {
  const inMemory = join("/dev/shm", `voe-zeros-${process.pid}`);
  const disk = fileStorage(openFile(inMemory, 2 ** 20, false), { sync: { kind: "none" }, report: () => {} });
  try {
    unlinkSync(inMemory);
    await writeSectors(disk, 0, makeSectors(0, 64, 1));
    expect(disk.hasFastZeroes).toBe(true);
    expect(await ended((completion) => disk.writeZeroes(0, 256, true, true, completion))).toBe(OK);
    expect(disk.allocatedBytes()).toBe(256 * SECTOR_BYTES);
    expect(await readSectors(disk, 0, 256)).toEqual(new Uint8Array(256 * SECTOR_BYTES));
    expect(await discardStatus(disk, 0, 256)).toBe(OK);
    expect(disk.allocatedBytes()).toBe(0);
  } finally {
    await disk.close();
  }
});

test("a large discard leaves the event loop its turns, and reads beside it go on", async () => {
  await storage.grow(2 ** 30);
  const discard = { isOver: false };
  const end = discardStatus(storage, SECTOR_COUNT, 2 ** 21 - SECTOR_COUNT).finally(() => (discard.isOver = true));
  let turns = 0;
  for (; !discard.isOver; turns++) {
    expect(await readSectors(storage, 0, 8)).toEqual(makeSectors(0, 8, 1));
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(await end).toBe(OK);
  expect(turns).toBeGreaterThan(64);
});
