/** Archives with damaged or missing parts: what is rebuilt, what is refused, and what clients see of the rest. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { cpSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { createHasher } from "../../src/base/hash.ts";
import { openDisk, type Disk } from "../../src/initiator/disk.ts";
import { RequestError } from "../../src/initiator/request-error.ts";
import { ATA_ERROR_UNC, ATA_STATUS_DRDY, ATA_STATUS_ERR } from "../../src/protocol/aoe/frame.ts";
import {
  archiveFiles,
  findInPacks,
  flipBit,
  flipInRecord,
  packNameOf,
  packsOf,
  recordsOf,
  tearRecord,
  type FoundRecord,
} from "../support/archive-files.ts";
import { mount } from "../support/mount.ts";
import { reasonOf } from "../support/reason-of.ts";
import { missingForNetworks, titleUnless } from "../support/requirements.ts";
import { createBed, until, type ServerBed } from "../support/server-bed.ts";
import type { ServerProcess } from "../support/server-process.ts";
import { makeSectors } from "../support/versioned-sectors.ts";

const missing = missingForNetworks();
const address = { shelf: 1, slot: 0 };
/** 4 MiB, whose blocks are all different. */
const sectorCount = 8192;
const blockSectors = 8;
/** Writes of one block each, one after the other, so that each is a record of its own. */
const lateWrites = 40;

describe.skipIf(missing !== undefined)(titleUnless(missing, "an archive"), () => {
  let bed: ServerBed;
  let server: ServerProcess;
  let store: string;
  let state: string;

  beforeEach(async () => {
    bed = await createBed([9000]);
    store = join(bed.directory, "blobs");
    state = join(bed.directory, "state");
    await bed.configure([{ ...address, backend: "cas", size: "16MiB", sync: "always", compression: "none" }]);
  });
  afterEach(async () => {
    await server?.[Symbol.asyncDispose]();
    await bed[Symbol.asyncDispose]();
  });

  const start = async (): Promise<Disk> => {
    server = await bed.start();
    return openDisk(bed.initiator(), address, { timeoutMs: 20_000 });
  };

  /** An archive at rest, all of whose content is in packs. */
  const prepare = async (): Promise<void> => {
    const disk = await start();
    await disk.write(0, makeSectors(0, sectorCount, 1));
    expect(await server.stop("SIGTERM")).toBe(0);
  };

  /** Besides that, writes that are only in the journal, of a server that was killed. */
  const prepareAndKill = async (): Promise<void> => {
    await prepare();
    const disk = await start();
    for (let write = 0; write < lateWrites; write++) {
      await disk.write(write * blockSectors, makeSectors(write * blockSectors, blockSectors, 2));
    }
    await server.stop("SIGKILL");
  };

  const expectSectors = async (disk: Disk, sector: number, count: number, version: number): Promise<void> => {
    expect(Buffer.compare(await disk.read(sector, count), makeSectors(sector, count, version))).toBe(0);
  };

  /** The first `written` of the late writes are there, and of the rest what was there before. */
  const expectLateWrites = async (disk: Disk, written: number): Promise<void> => {
    await expectSectors(disk, 0, written * blockSectors, 2);
    await expectSectors(disk, written * blockSectors, sectorCount - written * blockSectors, 1);
  };

  /** Which of the first blocks answer UNC; the others are right. */
  const unreadable = async (disk: Disk, blockCount: number): Promise<number[]> => {
    const found: number[] = [];
    for (let block = 0; block < blockCount; block++) {
      try {
        await expectSectors(disk, block * blockSectors, blockSectors, 1);
      } catch (error) {
        if (!(error instanceof RequestError)) throw error;
        expect(error.failure).toEqual({ kind: "ata", status: ATA_STATUS_DRDY | ATA_STATUS_ERR, error: ATA_ERROR_UNC });
        found.push(block);
      }
    }
    return found;
  };

  /** Why the server does not start. */
  const refusal = async (): Promise<string> => {
    const reason = await reasonOf(bed.start());
    expect(reason).toContain("ended with status 1");
    return reason;
  };

  test("serves again after its index was deleted, and says that it was built anew", async () => {
    await prepareAndKill();
    rmSync(archiveFiles(state).index, { recursive: true });
    const disk = await start();
    await expectLateWrites(disk, lateWrites);
    expect(server.log()).toMatch(/the index of .* was missing and has been built from its/);
    expect(await server.stop("SIGTERM")).toBe(0);
    // It is not built anew a second time.
    await expectLateWrites(await start(), lateWrites);
    expect(server.log()).not.toContain("the index");
  });

  test.each([
    ["one file at a time", (index: string) => readdirSync(index).map((name) => [name])],
    ["all files", (index: string) => [readdirSync(index)]],
  ])("serves again after its index was damaged (%s)", async (_, choices) => {
    await prepareAndKill();
    const { index } = archiveFiles(state);
    const intact = join(bed.directory, "intact");
    cpSync(index, intact, { recursive: true });
    for (const names of choices(index)) {
      for (const name of names) flipBit(join(index, name), 100);
      await expectLateWrites(await start(), lateWrites);
      await server.stop("SIGKILL");
      rmSync(index, { recursive: true });
      cpSync(intact, index, { recursive: true });
    }
  });

  test.each([
    ["cut", tearRecord],
    ["damaged", flipInRecord],
  ])("whose journal ends in a record that is %s goes on without that record, and says so", async (_, damage) => {
    await prepareAndKill();
    const records = recordsOf(archiveFiles(state).journal);
    expect(records.length).toBeGreaterThanOrEqual(lateWrites);
    damage(records.at(-1)!);
    const disk = await start();
    await expectLateWrites(disk, lateWrites - 1);
    expect(server.log()).toMatch(/journal ended in a record .* cut off/);
    await disk.write(0, makeSectors(0, blockSectors, 3));
    expect(await server.stop("SIGTERM")).toBe(0);
    const again = await start();
    await expectSectors(again, 0, blockSectors, 3);
    await expectSectors(again, blockSectors, (lateWrites - 2) * blockSectors, 2);
  });

  test.each([
    ["the data", flipInRecord],
    ["the header", (record: FoundRecord) => flipBit(record.path, record.offsetBytes)],
  ])("whose journal has %s of a record in the middle damaged is refused, and left as it is", async (_, damage) => {
    await prepareAndKill();
    const { journal } = archiveFiles(state);
    const broken = recordsOf(journal).at(-Math.floor(lateWrites / 2))!;
    const intact = join(bed.directory, "intact");
    cpSync(journal, intact, { recursive: true });
    damage(broken);
    const reason = await refusal();
    expect(reason).toContain(`${broken.path}:`);
    expect(reason).toContain(`at byte ${broken.offsetBytes}`);
    expect(reason).toContain("It was durable");
    expect(reason).toContain("Nothing was changed");
    rmSync(journal, { recursive: true });
    renameSync(intact, journal);
    await expectLateWrites(await start(), lateWrites);
  });

  test("answers a damaged block with UNC, says which, and serves all others", async () => {
    await prepare();
    const damaged = 100;
    const bytes = makeSectors(damaged * blockSectors, blockSectors, 1);
    const { path, offsetBytes } = findInPacks(store, bytes);
    flipBit(path, offsetBytes + 1234);
    const disk = await start();
    expect(await unreadable(disk, sectorCount / blockSectors)).toEqual([damaged]);
    const hash = new Uint8Array(32);
    createHasher("blake3").hash(bytes, 0, bytes.length, hash, 0);
    const where = `block ${hash.toHex()} in pack ${packNameOf(path)} at byte ${offsetBytes} is damaged`;
    await until(`the server says "${where}"`, () => server.log().includes(where));
    // The same content, written again, is not taken for known: it is stored anew, and readable.
    await disk.write(damaged * blockSectors, bytes);
    expect(await server.stop("SIGTERM")).toBe(0);
    await expectSectors(await start(), 0, sectorCount, 1);
  });

  test("that lost a pack fails what was in it, and never shows zeros", async () => {
    await prepare();
    const { path } = findInPacks(store, makeSectors(0, blockSectors, 1));
    rmSync(path);
    const disk = await start();
    expect(await unreadable(disk, 128)).toEqual(Array.from({ length: 128 }, (_, block) => block));
    await until("the server says it", () => /block [0-9a-f]{64} is in no pack/.test(server.log()));
    // What is written anew is kept.
    await disk.write(0, makeSectors(0, blockSectors, 2));
    await expectSectors(disk, 0, blockSectors, 2);
  });

  test("without its journal, its checkpoint.json or both is refused, and goes on with them", async () => {
    await prepareAndKill();
    const { journal, checkpoint } = archiveFiles(state);
    const away = join(bed.directory, "away");
    renameSync(journal, away);
    expect(await refusal()).toContain(`${journal} holds no journal`);
    renameSync(checkpoint, `${away}.json`);
    expect(await refusal()).toContain("the state directory is another one, or is lost");
    rmSync(journal, { recursive: true, force: true });
    renameSync(away, journal);
    // Its beginning was released, which could as well be lost.
    expect(await refusal()).toMatch(/records 1 to \d+ are missing, and no checkpoint\.json says/);
    renameSync(`${away}.json`, checkpoint);
    await expectLateWrites(await start(), lateWrites);
  });

  test("that was never checkpointed is refused beside another state directory", async () => {
    const disk = await start();
    await disk.write(0, makeSectors(0, blockSectors, 1));
    await server.stop("SIGKILL");
    renameSync(state, `${state}.away`);
    expect(await refusal()).toContain("has no claim to it");
    rmSync(state, { recursive: true });
    renameSync(`${state}.away`, state);
    await expectSectors(await start(), 0, blockSectors, 1);
  });

  test("is refused where its directory is gone, empty, not mounted, or another store", async () => {
    await prepareAndKill();
    const away = join(bed.directory, "away");
    renameSync(store, away);
    expect(await refusal()).toContain(`the blob store ${store} is not there: is its filesystem mounted`);
    expect(existsSync(store)).toBe(false);

    mkdirSync(store);
    expect(await refusal()).toContain(`${store} is no blob store`);
    expect(readdirSync(store)).toEqual([]);
    {
      using _ = mount(store, "-t", "tmpfs", "-o", "size=1m", "voe-test");
      expect(await refusal()).toContain(`${store} is no blob store`);
    }
    rmSync(store, { recursive: true });

    renameSync(state, `${state}.away`);
    await start();
    expect(await server.stop("SIGTERM")).toBe(0);
    rmSync(state, { recursive: true });
    renameSync(`${state}.away`, state);
    expect(await refusal()).toContain("is another store than the one that was there before");

    rmSync(store, { recursive: true });
    renameSync(away, store);
    await expectLateWrites(await start(), lateWrites);
  });

  test("is refused where its roots or its marker are gone", async () => {
    await prepareAndKill();
    const away = join(bed.directory, "away");
    for (const [part, said] of [
      ["refs", "is not whole: refs"],
      ["voe-store.json", "it has no voe-store.json"],
      ["refs/store", "has lost store/id"],
    ] as const) {
      renameSync(join(store, part), away);
      expect(await refusal()).toContain(said);
      renameSync(away, join(store, part));
    }
    await expectLateWrites(await start(), lateWrites);
  });

  test("is refused where an older copy of its blob store is in its place", async () => {
    await prepareAndKill();
    const older = join(bed.directory, "older");
    cpSync(store, older, { recursive: true });
    await start();
    expect(await server.stop("SIGTERM")).toBe(0);
    renameSync(store, `${store}.newer`);
    renameSync(older, store);
    expect(await refusal()).toMatch(/lacks record \d+ of volume e1\.0 .*is it a copy that was made earlier/);
    rmSync(store, { recursive: true });
    renameSync(`${store}.newer`, store);
    await expectLateWrites(await start(), lateWrites);
  });

  test("has only packs that are whole after a kill", async () => {
    await prepareAndKill();
    const hasher = createHasher("blake3");
    const packs = packsOf(store);
    expect(packs.length).toBeGreaterThan(0);
    for (const path of packs) {
      const bytes = await Bun.file(path).bytes();
      const name = new Uint8Array(32);
      hasher.hash(bytes, 0, bytes.length, name, 0);
      expect(name.toHex()).toBe(packNameOf(path));
    }
  });
});
