/** Media that fill, shrink, fail and grow under a running server, and what its clients see of that on the wire. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { controlPaths, fetchStatus } from "../../src/control/client.ts";
import type { TargetStatus } from "../../src/control/status.ts";
import { openDisk, type Disk } from "../../src/initiator/disk.ts";
import { RequestError } from "../../src/initiator/request-error.ts";
import { ATA_ERROR_UNC, ATA_STATUS_DRDY, ATA_STATUS_ERR } from "../../src/protocol/aoe/frame.ts";
import { SECTOR_BYTES } from "../../src/storage/block-storage.ts";
import { attachLoop, missingForLoops, type LoopDevice } from "../support/loop-device.ts";
import { mount } from "../support/mount.ts";
import { dropCached } from "../support/page-cache.ts";
import { reasonOf } from "../support/reason-of.ts";
import { missingForNetworks, titleUnless } from "../support/requirements.ts";
import { run } from "../support/run.ts";
import { createBed, until, type BedTarget, type ServerBed } from "../support/server-bed.ts";
import type { ServerProcess } from "../support/server-process.ts";
import { makeSectors, versionOf } from "../support/versioned-sectors.ts";

const MIB = 2 ** 20;
/** Sectors of one frame at MTU 9000, and of every request here. */
const COUNT = 16;
/** What a disk says of sectors that it cannot read or write. */
const UNCORRECTABLE = { kind: "ata", status: ATA_STATUS_DRDY | ATA_STATUS_ERR, error: ATA_ERROR_UNC } as const;

const write = (disk: Disk, sector: number, version: number): Promise<void> =>
  disk.write(sector, makeSectors(sector, COUNT, version));

/** How a request ended: undefined where it went well. */
const failureOf = async (request: Promise<unknown>): Promise<unknown> => {
  try {
    await request;
    return undefined;
  } catch (error) {
    if (error instanceof RequestError) return error.failure;
    throw error;
  }
};

const expectVersion = async (disk: Disk, sector: number, version: number, count = COUNT): Promise<void> => {
  expect(Buffer.compare(await disk.read(sector, count), makeSectors(sector, count, version))).toBe(0);
};

/**
 * Writes one page after the other until the medium cannot keep one, and returns how many sectors were answered well.
 * Pages, since the loop driver takes a write that its file took in part for a whole one (seen with Linux 6.18).
 */
const overfill = async (disk: Disk): Promise<number> => {
  for (let sector = 0; ; sector += 8) {
    const failure = await failureOf(disk.write(sector % 49_152, makeSectors(sector % 49_152, 8, 2)));
    if (failure === undefined) continue;
    expect(failure).toEqual(UNCORRECTABLE);
    return sector;
  }
};

/** What was answered is on the medium itself, and not only in memory. */
const expectKept = (path: string, answeredSectors: number): void => {
  dropCached(path);
  const bytes = readFileSync(path);
  expect(answeredSectors).toBeGreaterThan(4096);
  for (let sector = 0; sector < answeredSectors; sector++) {
    const version = versionOf(bytes.subarray(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES), sector);
    if (version !== 2) throw new Error(`sector ${sector} of ${answeredSectors} has version ${version}`);
  }
};

const missing = missingForNetworks() ?? missingForLoops();

describe.skipIf(missing !== undefined)(titleUnless(missing, "a medium under a running server"), () => {
  let bed: ServerBed;
  let server: ServerProcess;
  /** What the test attached and mounted, which goes after the server. */
  let stack: AsyncDisposableStack;

  beforeEach(async () => {
    bed = await createBed([9000]);
    stack = new AsyncDisposableStack();
  });
  afterEach(async () => {
    try {
      await server?.[Symbol.asyncDispose]();
      await stack.disposeAsync();
    } finally {
      await bed[Symbol.asyncDispose]();
    }
  });

  /** The other target of every server here, which nothing ever happens to. */
  const sound: BedTarget = { shelf: 9, slot: 9, size: "4MiB" };

  async function serve(target: Omit<BedTarget, "shelf" | "slot">): Promise<[broken: Disk, sound: Disk]> {
    await bed.configure([{ shelf: 1, slot: 0, ...target }, sound]);
    server = await bed.start();
    const initiator = bed.initiator();
    const broken = await openDisk(initiator, { shelf: 1, slot: 0 }, { timeoutMs: 20_000 });
    return [broken, await openDisk(initiator, sound, { timeoutMs: 20_000 })];
  }

  /** What the server logs arrives here by another way than its answers. */
  const expectSaid = (text: string): Promise<void> =>
    until(`the server says "${text}", and not only: ${server.log()}`, () => server.log().includes(text));

  const status = async (): Promise<TargetStatus> =>
    (await fetchStatus(controlPaths(bed.controlSocket, {}))).targets.find(({ name }) => name === "e1.0")!;

  /** The server still answers, another target is what it was, and it says that this one has not failed, or has. */
  const expectOthersSound = async (other: Disk, state: "ok" | "failed"): Promise<void> => {
    const sector = 32 * COUNT;
    await write(other, sector, 7);
    await other.flush();
    await expectVersion(other, sector, 7);
    expect((await status()).state).toBe(state);
  };

  describe.each([
    ["tmpfs", "always"],
    ["tmpfs", "1s"],
    ["ext4", "always"],
    ["ext4", "1s"],
  ])("a full disk (%s, sync %s)", (filesystem, sync) => {
    test("fails the writes that find no room and nothing else, and takes them again when there is some", async () => {
      const directory = join(bed.directory, "full");
      if (filesystem === "tmpfs") {
        stack.use(mount(directory, "-t", "tmpfs", "-o", "size=12m", "voe-test"));
      } else {
        const loop = stack.use(attachLoop(new Uint8Array(16 * MIB)));
        run("mkfs.ext4", "-q", "-m", "0", loop.device);
        stack.use(mount(directory, loop.device));
      }
      const ballast = join(directory, "ballast");
      writeFileSync(ballast, new Uint8Array(4 * MIB).fill(1));
      run("sync", "-f", directory);
      const [disk, other] = await serve({ file: join(directory, "disk.img"), size: "64MiB", sync });

      let full = 0;
      for (; full < disk.info.sectorCount; full += COUNT) {
        const failure = await failureOf(write(disk, full, 2));
        if (failure === undefined) continue;
        expect(failure).toEqual(UNCORRECTABLE);
        break;
      }
      expect(full).toBeGreaterThan(2048);
      expect(full).toBeLessThan(disk.info.sectorCount);
      await expectSaid("ENOSPC");
      await expectOthersSound(other, "ok");

      // All that was answered is there, and can be written over.
      await expectVersion(disk, 0, 2, full);
      await write(disk, 0, 3);
      await write(disk, full - COUNT, 3);
      await disk.flush();
      await expectVersion(disk, full - COUNT, 3);

      rmSync(ballast);
      run("sync", "-f", directory);
      for (let sector = full; sector < full + 2048; sector += COUNT) await write(disk, sector, 4);
      await disk.flush();
      await expectVersion(disk, full, 4, 2048);
      await expectVersion(disk, COUNT, 2, full - 2 * COUNT);
      expect((await status()).state).toBe("ok");
      expect(await server.stop("SIGTERM")).toBe(0);
    });
  });

  describe.each([
    ["at a page", 4 * MIB],
    ["in a page, and in a sector", 4 * MIB + 3 * SECTOR_BYTES + 100],
  ])("a file that is cut %s", (_, keptBytes) => {
    test.each(["always", "1s"])("loses what is lost, and no more (sync %s)", async (sync) => {
      const [disk, other] = await serve({ size: "16MiB", sync });
      const path = bed.pathOf({ shelf: 1, slot: 0 });
      const { sectorCount } = disk.info;
      const keptSectors = Math.floor(keptBytes / SECTOR_BYTES);
      for (let sector = 0; sector < sectorCount; sector += 2048) {
        await disk.write(sector, makeSectors(sector, 2048, 2));
      }
      // Twice, so that it is lent from the page cache.
      await expectVersion(disk, 0, 2, sectorCount);
      await expectVersion(disk, 0, 2, sectorCount);

      truncateSync(path, keptBytes);
      // Pages that are gone fail from this moment, whether or not the server has noticed.
      for (let sector = keptSectors + 8; sector < keptSectors + 2048; sector += 128) {
        expect(await failureOf(disk.read(sector, COUNT))).toEqual(UNCORRECTABLE);
      }
      await until("the server notices", async () => (await status()).state === "failed");
      expect((await status()).reason).toContain(`cut to ${keptBytes} bytes under the server`);
      await expectSaid(`cut to ${keptBytes} bytes under the server`);
      for (const sector of [keptSectors, keptSectors + 1, keptSectors + 7, keptSectors + 100, sectorCount - COUNT]) {
        expect(await failureOf(disk.read(sector, 1))).toEqual(UNCORRECTABLE);
        expect(await failureOf(write(disk, Math.min(sector, sectorCount - COUNT), 3))).toEqual(UNCORRECTABLE);
      }
      expect(await failureOf(write(disk, 0, 3))).toEqual(UNCORRECTABLE);
      await expectVersion(disk, 0, 2, keptSectors);
      expect(statSync(path).size).toBe(keptBytes);
      await expectOthersSound(other, "failed");

      // Neither a reload nor its old length makes it what it was.
      server.signal("SIGHUP");
      await expectSaid("configuration read again");
      truncateSync(path, 16 * MIB);
      expect(await failureOf(disk.read(keptSectors, 1))).toEqual(UNCORRECTABLE);
      expect(await failureOf(disk.read(sectorCount - COUNT, COUNT))).toEqual(UNCORRECTABLE);
      await expectVersion(disk, 0, 2, keptSectors);
      await server.stop("SIGTERM");
    });
  });

  describe.each([false, true])("a device that cannot read some of its sectors (direct: %p)", (direct) => {
    test("answers them with UNC, and the others as ever", async () => {
      const loop = stack.use(attachLoop(makeSectors(0, 16_384, 1)));
      const [disk, other] = await serve({ file: loop.device, backend: "device", direct, sync: "always" });
      await expectVersion(disk, 0, 1, 512);
      dropCached(loop.device);
      // The device keeps its size, and has nothing to read there.
      truncateSync(loop.file, 4 * MIB);
      for (const sector of [8192, 12_000, 16_384 - COUNT]) {
        expect(await failureOf(disk.read(sector, COUNT))).toEqual(UNCORRECTABLE);
      }
      await expectVersion(disk, 0, 1, 8000);
      await expectSaid("failed: EIO");
      // A write makes a sector readable, as with real disks.
      await write(disk, 16_000, 2);
      await expectVersion(disk, 16_000, 2);
      await write(disk, 64, 2);
      await expectVersion(disk, 64, 2);
      await expectOthersSound(other, "ok");
      expect(await server.stop("SIGTERM")).toBe(0);
    });
  });

  /** A loop device with room for half of what it promises: writing back what is more fails. */
  const attachOvercommitted = (): LoopDevice => {
    const directory = join(bed.directory, "small");
    stack.use(mount(directory, "-t", "tmpfs", "-o", "size=8m", "voe-test"));
    const loop = stack.use(attachLoop(new Uint8Array(MIB), directory));
    loop.resize(32 * MIB);
    return loop;
  };

  const expectRefused = async (disk: Disk, other: Disk): Promise<void> => {
    for (const sector of [0, 1024, disk.info.sectorCount - COUNT]) {
      expect(await failureOf(write(disk, sector, 99))).toEqual(UNCORRECTABLE);
    }
    expect(await failureOf(disk.flush())).toEqual(UNCORRECTABLE);
    await expectOthersSound(other, "failed");
    const { reason } = await status();
    expect(reason).toContain("sync failed");
    expect(reason).toContain("Check the medium, then start voe again");
    await expectSaid("sync failed");
    // Nothing becomes of it: no later sync can say that all is well.
    await Bun.sleep(1200);
    expect(await failureOf(disk.flush())).toEqual(UNCORRECTABLE);
    expect(await failureOf(write(disk, 0, 99))).toEqual(UNCORRECTABLE);
    expect(await server.stop("SIGTERM")).toBe(1);
    await expectSaid("not everything could be made durable");
  };

  describe.each(["always", "1s"])("a medium that cannot keep what it was given (sync %s)", (sync) => {
    test("as a device writes nothing more, and says so", async () => {
      const loop = attachOvercommitted();
      const [disk, other] = await serve({ file: loop.device, backend: "device", sync });
      const answered = await overfill(disk);
      await expectRefused(disk, other);
      if (sync === "always") expectKept(loop.device, answered);
    });

    test("below a file writes nothing more, and says so", async () => {
      const loop = attachOvercommitted();
      run("mkfs.ext2", "-q", "-b", "4096", "-m", "0", "-E", "nodiscard", loop.device);
      const directory = join(bed.directory, "ext2");
      stack.use(mount(directory, "-o", "errors=continue", loop.device));
      const file = join(directory, "disk.img");
      const [disk, other] = await serve({ file, size: "30MiB", sync });
      const answered = await overfill(disk);
      await expectRefused(disk, other);
      if (sync === "always") expectKept(file, answered);
    });
  });

  test("a device that is mounted is not served, and what is on it stays", async () => {
    const loop = stack.use(attachLoop(new Uint8Array(8 * MIB)));
    run("mkfs.ext4", "-q", loop.device);
    const directory = join(bed.directory, "mounted");
    stack.use(mount(directory, loop.device));
    writeFileSync(join(directory, "file"), "mine");
    for (const direct of [false, true]) {
      const refusal = await reasonOf(serve({ file: loop.device, backend: "device", direct }));
      expect(refusal).toContain(`${loop.device} is in use: it is mounted`);
      expect(refusal).toContain("ended with status 1");
    }
    expect(readFileSync(join(directory, "file"), "utf8")).toBe("mine");
  });

  test.each([false, true])("a device that grows is taken on when asked (direct: %p)", async (direct) => {
    const loop = stack.use(attachLoop(makeSectors(0, 4096, 1)));
    const [disk] = await serve({ file: loop.device, backend: "device", direct });
    expect(disk.info.sectorCount).toBe(4096);
    loop.resize(3 * MIB);
    server.signal("SIGHUP");
    await expectSaid("e1.0 grew");
    expect((await disk.target.identify()).sectorCount).toBe(6144);
    await write(disk, 6144 - COUNT, 2);
    await expectVersion(disk, 6144 - COUNT, 2);
    await expectVersion(disk, 0, 1, 4096);
  });

  test("a device that is taken away, or shrinks, is a failure that is said and seen", async () => {
    const loop = stack.use(attachLoop(makeSectors(0, 8192, 1)));
    const [disk, other] = await serve({ file: loop.device, backend: "device", sync: "1s" });
    loop.resize(MIB);
    await until("the server notices", async () => (await status()).state === "failed");
    expect((await status()).reason).toContain(`${loop.device} was cut to ${MIB} bytes under the server`);
    expect(await failureOf(disk.read(4096, COUNT))).toEqual(UNCORRECTABLE);
    expect(await failureOf(write(disk, 0, 2))).toEqual(UNCORRECTABLE);
    await expectVersion(disk, 0, 1, 2048);
    await expectOthersSound(other, "failed");
  });
});
