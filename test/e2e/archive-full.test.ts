/** Disks that fill under an archive: below its state directory, where the journal is, and below its blob store. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { closeSync, openSync, readdirSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { openDisk, type Disk } from "../../src/initiator/disk.ts";
import { RequestError } from "../../src/initiator/request-error.ts";
import { ATA_ERROR_UNC, ATA_STATUS_DRDY, ATA_STATUS_ERR } from "../../src/protocol/aoe/frame.ts";
import { SECTOR_BYTES } from "../../src/storage/block-storage.ts";
import { attachLoop, missingForLoops } from "../support/loop-device.ts";
import { mount } from "../support/mount.ts";
import { missingForNetworks, titleUnless } from "../support/requirements.ts";
import { run } from "../support/run.ts";
import { createBed, until, type ServerBed } from "../support/server-bed.ts";
import type { ServerProcess } from "../support/server-process.ts";
import { makeSectors } from "../support/versioned-sectors.ts";

const MIB = 2 ** 20;
const address = { shelf: 1, slot: 0 };
/** The other target of every server here, which nothing ever happens to. */
const sound = { shelf: 9, slot: 9, size: "4MiB" };
/** Sectors of one write: several frames, and whole blocks. */
const COUNT = 128;
/** Writes under way at a time while the disk fills. */
const AT_ONCE = 16;
const UNCORRECTABLE = { kind: "ata", status: ATA_STATUS_DRDY | ATA_STATUS_ERR, error: ATA_ERROR_UNC } as const;

/** Writes zeros into a new file until the filesystem has no room for one more page. */
function fill(path: string): void {
  const descriptor = openSync(path, "w");
  try {
    for (let pieceBytes = MIB; pieceBytes >= 4096;) {
      try {
        if (writeSync(descriptor, new Uint8Array(pieceBytes)) === pieceBytes) continue;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
      }
      pieceBytes /= 2;
    }
  } finally {
    closeSync(descriptor);
  }
}

const missing = missingForNetworks() ?? missingForLoops();

describe.skipIf(missing !== undefined)(titleUnless(missing, "an archive on a full disk"), () => {
  let bed: ServerBed;
  let server: ServerProcess;
  let stack: AsyncDisposableStack;
  let full: string;
  let ballast: string;

  beforeEach(async () => {
    bed = await createBed([9000]);
    stack = new AsyncDisposableStack();
    full = join(bed.directory, "full");
    ballast = join(full, "ballast");
  });
  afterEach(async () => {
    try {
      await server?.[Symbol.asyncDispose]();
      await stack.disposeAsync();
    } finally {
      await bed[Symbol.asyncDispose]();
    }
  });

  const mountFull = (filesystem: string, mebibytes: number): void => {
    if (filesystem === "tmpfs") {
      stack.use(mount(full, "-t", "tmpfs", "-o", `size=${mebibytes}m`, "voe-test"));
      return;
    }
    const loop = stack.use(attachLoop(new Uint8Array(mebibytes * MIB)));
    run("mkfs.ext4", "-q", "-m", "0", loop.device);
    stack.use(mount(full, loop.device));
  };

  const start = async (): Promise<[disk: Disk, other: Disk]> => {
    server = await bed.start();
    const initiator = bed.initiator();
    const disk = await openDisk(initiator, address, { timeoutMs: 20_000 });
    return [disk, await openDisk(initiator, sound, { timeoutMs: 20_000 })];
  };

  /** Versions of the sectors, in pieces of COUNT; 0 where what is there does not matter. */
  const versions: number[] = [];
  beforeEach(() => void (versions.length = 0));

  /** Writes a piece: true where it was answered well, false where it was refused as a disk refuses. */
  const write = async (disk: Disk, piece: number, version: number): Promise<boolean> => {
    try {
      await disk.write(piece * COUNT, makeSectors(piece * COUNT, COUNT, version));
      versions[piece] = version;
      return true;
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      expect(error.failure).toEqual(UNCORRECTABLE);
      versions[piece] = 0;
      return false;
    }
  };

  /** Writes piece after piece until one is refused, and returns its number. */
  const writeUntilRefused = async (disk: Disk, from: number): Promise<number> => {
    // Some at a time: where the store takes nothing each of them waits for up to a second.
    for (let first = from; first + AT_ONCE <= disk.info.sectorCount / COUNT; first += AT_ONCE) {
      const pieces = Array.from({ length: AT_ONCE }, (_, i) => first + i);
      const taken = await Promise.all(pieces.map((piece) => write(disk, piece, 1)));
      if (taken.includes(false)) return first + taken.indexOf(false);
    }
    throw new Error("the disk took everything");
  };

  const verify = async (disk: Disk): Promise<void> => {
    for (const [piece, version] of versions.entries()) {
      if (version === 0) continue;
      const bytes = await disk.read(piece * COUNT, COUNT);
      if (Buffer.compare(bytes, makeSectors(piece * COUNT, COUNT, version)) !== 0)
        throw new Error(`what was answered is lost: sectors ${piece * COUNT} and on, version ${version}`);
    }
  };

  const expectSaid = (text: string | RegExp): Promise<void> =>
    until(`the server says ${text}, and not only: ${server.log()}`, () => server.log().search(text) >= 0);

  const expectOtherSound = async (other: Disk): Promise<void> => {
    await other.write(0, makeSectors(0, COUNT, 7));
    await other.flush();
    expect(Buffer.compare(await other.read(0, COUNT), makeSectors(0, COUNT, 7))).toBe(0);
  };

  /** Writes are taken again, without a restart. */
  const expectRecovers = async (disk: Disk, from: number): Promise<void> => {
    await until("writes are taken again", () => write(disk, from, 2));
    for (let piece = from; piece < from + 64; piece++) expect(await write(disk, piece, 2)).toBe(true);
    await disk.flush();
    await verify(disk);
    expect(await server.stop("SIGTERM")).toBe(0);
    await verify((await start())[0]);
    expect(await server.stop("SIGTERM")).toBe(0);
  };

  describe.each([
    ["tmpfs", "always"],
    ["tmpfs", "1s"],
    ["ext4", "always"],
    ["ext4", "1s"],
  ])("(%s, sync %s)", (filesystem, sync) => {
    const archive = { ...address, backend: "cas", size: "256MiB", sync, compression: "none" } as const;

    /** What is on the disk that is to be full, and what is not. */
    const configure = (whatIsFull: "journal" | "blobs" | "both"): Promise<string> =>
      bed.configure([{ ...archive, store: whatIsFull === "journal" ? "blobs" : join(full, "blobs") }, sound], {
        journalSize: "64MiB",
        ...(whatIsFull === "blobs" ? {} : { stateDir: join(full, "state") }),
      });

    const startAndFill = async (): Promise<[disk: Disk, other: Disk]> => {
      const disks = await start();
      for (let piece = 0; piece < 32; piece++) expect(await write(disks[0], piece, 1)).toBe(true);
      fill(ballast);
      return disks;
    };

    /** It is killed and stopped, and each time starts on the full disk with everything that was answered. */
    const expectRestarts = async (): Promise<[disk: Disk, other: Disk]> => {
      for (const signal of ["SIGKILL", "SIGTERM", "SIGKILL"] as const) {
        await server.stop(signal);
        fill(`${ballast}-${signal}`);
        await verify((await start())[0]);
      }
      await server[Symbol.asyncDispose]();
      return start();
    };

    const makeRoom = (): void => {
      for (const name of readdirSync(full)) if (name.startsWith("ballast")) rmSync(join(full, name));
      run("sync", "-f", full);
    };

    test("below journal and blobs refuses writes, keeps all that were answered, and goes on with more room", async () => {
      mountFull(filesystem, 48);
      await configure("both");
      let [disk, other] = await startAndFill();
      const refused = await writeUntilRefused(disk, 32);
      await expectSaid(/the journal cannot grow \(ENOSPC.*until there is room.*free space/);
      await expectOtherSound(other);
      await verify(disk);
      [disk, other] = await expectRestarts();
      expect(await write(disk, refused, 2)).toBe(false);
      await expectOtherSound(other);
      makeRoom();
      await expectRecovers(disk, refused);
    });

    test("below the journal alone takes every write, by checkpoints, and starts", async () => {
      mountFull(filesystem, 48);
      await configure("journal");
      let [disk, other] = await startAndFill();
      for (let piece = 32; piece < 96; piece++) expect(await write(disk, piece, 1)).toBe(true);
      await expectOtherSound(other);
      await verify(disk);
      [disk, other] = await expectRestarts();
      await verify(disk);
      await expectOtherSound(other);
      makeRoom();
      await expectRecovers(disk, 96);
    });

    // The longest of these: once on each filesystem, and with each sync.
    if ((filesystem === "tmpfs") !== (sync === "always")) return;
    test("below the blobs alone refuses writes once the journal is full too, and goes on with more room", async () => {
      mountFull(filesystem, 96);
      await configure("blobs");
      let [disk, other] = await startAndFill();
      const refused = await writeUntilRefused(disk, 32);
      expect(refused * COUNT * SECTOR_BYTES).toBeGreaterThan(48 * MIB);
      await expectSaid(/a checkpoint failed: .*ENOSPC.*free space on the filesystem/);
      await expectOtherSound(other);
      await verify(disk);
      [disk, other] = await expectRestarts();
      await expectOtherSound(other);
      expect(await write(disk, 0, 3)).toBe(false);
      makeRoom();
      await expectRecovers(disk, 0);
    });
  });
});
