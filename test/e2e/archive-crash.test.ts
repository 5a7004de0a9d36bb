/**
 * SIGKILL of a server with archives, under write load, while it checkpoints and while it starts, again and again: what
 * was answered is there afterwards.
 */
import { expect, test } from "bun:test";
import { existsSync, rmSync, watch } from "node:fs";
import { join } from "node:path";
import { type Disk, openDisk } from "../../src/initiator/disk.ts";
import { RequestError } from "../../src/initiator/request-error.ts";
import { SECTOR_BYTES } from "../../src/storage/block-storage.ts";
import { archiveFiles, packsOf } from "../support/archive-files.ts";
import { missingForNetworks, titleUnless } from "../support/requirements.ts";
import { seededRandom, testSeed } from "../support/seeded-random.ts";
import { createBed, type BedArchive, type ServerBed } from "../support/server-bed.ts";
import { startServer, type ServerProcess } from "../support/server-process.ts";
import { makeSectors, versionOf } from "../support/versioned-sectors.ts";

const missing = missingForNetworks();
const cycles = 110;
const writersEach = 6;
/** Each writer has a range of its own, so that writes in flight never overlap and every sector has one history. */
const rangeSectors = 512;
const sectorCount = writersEach * rangeSectors;
const mostAnswers = 2500;
/** Half of what is written was written there before, or in another volume: few versions, whole blocks. */
const commonVersions = 4;
const mostStartMs = 400;
/** What is written where, and when the kill comes; which of the writes in flight are answered is up to the machine. */
const random = seededRandom(testSeed);

interface Volume {
  readonly target: BedArchive;
  /** Per sector: the version of the last write that was answered, and of one that was sent and not answered, or 0. */
  readonly answered: Uint32Array;
  readonly unanswered: Uint32Array;
}

const volume = (slot: number, sync: string, blockSize: number): Volume => ({
  target: { shelf: 1, slot, backend: "cas", size: `${sectorCount / 2}KiB`, sync, blockSize },
  answered: new Uint32Array(sectorCount),
  unanswered: new Uint32Array(sectorCount),
});

/** All of one store. */
const volumes = [volume(0, "always", 4096), volume(1, "1s", 4096), volume(2, "1s", 1024)];
let lastVersion = commonVersions;
let answerCount = 0;

/** Where the next write of a writer begins, and its length and version. */
function nextWrite(writer: number, sectorsPerFrame: number): [sector: number, count: number, version: number] {
  const start = writer * rangeSectors;
  if (random.chance(0.5)) {
    return [
      start + 8 * random.below(rangeSectors / 8 - 1),
      8 * (1 + random.below(2)),
      1 + random.below(commonVersions),
    ];
  }
  const count = 1 + random.below(sectorsPerFrame);
  return [start + random.below(rangeSectors - count), count, ++lastVersion];
}

/** Writes one range after the other, until one is not answered. */
async function writeUntilUnanswered(
  { answered, unanswered }: Volume,
  disk: Disk,
  writer: number,
  onAnswer: () => void,
): Promise<void> {
  for (;;) {
    const [sector, count, version] = nextWrite(writer, disk.info.sectorsPerFrame);
    try {
      await disk.write(sector, makeSectors(sector, count, version));
    } catch (error) {
      if (!(error instanceof RequestError && error.failure.kind === "timeout")) throw error;
      unanswered.fill(version, sector, sector + count);
      return;
    }
    answered.fill(version, sector, sector + count);
    onAnswer();
  }
}

/** Every sector holds what was last answered, or what was sent after that without an answer, and from then on keeps it. */
async function verify({ target, answered, unanswered }: Volume, disk: Disk): Promise<void> {
  const bytes = await disk.read(0, sectorCount);
  for (let sector = 0; sector < sectorCount; sector++) {
    const version = versionOf(bytes.subarray(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES), sector);
    if (version !== answered[sector] && (version === 0 || version !== unanswered[sector])) {
      const wanted = `${answered[sector]} was answered, ${unanswered[sector]} sent after that`;
      throw new Error(`e1.${target.slot}, sector ${sector} holds version ${version}; ${wanted} (0: nothing)`);
    }
    answered[sector] = version;
  }
  unanswered.fill(0);
}

/** Kills a server before it is ready, or when it has just become so. */
async function killDuringStart(bed: ServerBed): Promise<void> {
  const started = startServer({
    arguments: [join(bed.directory, "voe.toml")],
    directory: bed.directory,
    namespace: bed.namespace,
    readyTimeoutMs: 1 + random.below(mostStartMs),
  });
  const outcome = await started.catch((error: Error) => error.message);
  if (typeof outcome === "string") expect(outcome).toContain("was not ready within");
  else await outcome.stop("SIGKILL");
}

/** Sends the signal after some answers, and perhaps only when a checkpoint has come to a certain step after that. */
function signalWhen(bed: ServerBed, server: ServerProcess, signal: NodeJS.Signals): Disposable & { onAnswer(): void } {
  let answersLeft = 1 + random.below(mostAnswers);
  let stepsLeft = random.chance(0.4) ? 1 + random.below(8) : 0;
  // Packs and roots of a checkpoint are made here before they get their names.
  const watcher = watch(join(bed.directory, "blobs/tmp"), () => {
    if (answersLeft <= 0 && --stepsLeft === 0) server.signal(signal);
  });
  return {
    onAnswer() {
      answerCount++;
      if (--answersLeft === 0 && stepsLeft === 0) server.signal(signal);
    },
    [Symbol.dispose]: () => watcher.close(),
  };
}

test.skipIf(missing !== undefined)(
  titleUnless(
    missing,
    `${cycles} times SIGKILL of archives under write load: every answered write is there after the restart (VOE_TEST_SEED=${testSeed})`,
  ),
  async () => {
    await using bed = await createBed([9000]);
    await bed.configure(
      volumes.map(({ target }) => target),
      { journalSize: "64MiB", cacheSize: "16MiB" },
    );
    const state = join(bed.directory, "state");
    let rebuilds = 0;
    let stops = 0;
    // The last start is for the verification alone.
    for (let cycle = 0; cycle <= cycles + stops; cycle++) {
      if (cycle > 0 && random.chance(0.15)) {
        rmSync(archiveFiles(state).index, { recursive: true });
        rebuilds++;
      }
      if (random.chance(0.2)) await killDuringStart(bed);
      await using server = await bed.start();
      const initiator = bed.initiator();
      // Sent once, a write takes effect once or never, and never after a later one.
      const disks = await Promise.all(
        volumes.map(({ target }) => openDisk(initiator, target, { timeoutMs: 20_000, retransmit: false })),
      );
      for (const [index, disk] of disks.entries()) {
        await verify(volumes[index]!, disk).catch((error: Error) => {
          throw new Error(`cycle ${cycle}: ${error.message}; the server's log:\n${server.log()}`, { cause: error });
        });
      }
      if (cycle === cycles + stops) break;
      const signal = random.chance(0.08) ? "SIGTERM" : "SIGKILL";
      using end = signalWhen(bed, server, signal);
      const writers = Promise.all(
        disks.flatMap((disk, index) =>
          Array.from({ length: writersEach }, (_, writer) =>
            writeUntilUnanswered(volumes[index]!, disk, writer, () => end.onAnswer()),
          ),
        ),
      );
      await Promise.race([server.exited, writers]);
      initiator.close(); // ends what is in flight as unanswered
      await writers;
      expect(await server.exited).toBe(signal === "SIGTERM" ? 0 : null);
      if (signal === "SIGTERM") stops++;
    }
    expect(existsSync(archiveFiles(state).checkpoint)).toBe(true);
    console.log(
      `archive crash: seed ${testSeed}, ${answerCount} answered writes verified across ${cycles} kills, ${stops} orderly ` +
        `ends and ${rebuilds} lost indexes; ${packsOf(join(bed.directory, "blobs")).length} packs`,
    );
  },
  400_000,
);
