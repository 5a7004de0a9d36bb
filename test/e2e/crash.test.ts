/** SIGKILL under write load, again and again: what was answered is there afterwards. */
import { expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Disk, openDisk } from "../../src/initiator/disk.ts";
import { openInitiator } from "../../src/initiator/initiator.ts";
import { RequestError } from "../../src/initiator/request-error.ts";
import { SECTOR_BYTES } from "../../src/storage/block-storage.ts";
import { missingForNetworks, titleUnless } from "../support/requirements.ts";
import { seededRandom, testSeed } from "../support/seeded-random.ts";
import { writeServerConfig } from "../support/server-config.ts";
import { startServer } from "../support/server-process.ts";
import { createCable } from "../support/test-network.ts";
import { makeSectors, versionOf } from "../support/versioned-sectors.ts";

const missing = missingForNetworks();
const cycles = 100;
const writerCount = 16;
/** Each writer has a range of its own, so that writes in flight never overlap and every sector has one history. */
const rangeSectors = 96;
const sectorCount = writerCount * rangeSectors;
const mostAnswers = 2500;
const address = { shelf: 1, slot: 0 };
/** What is written where, and when the kill comes; which of the writes in flight are answered is up to the machine. */
const random = seededRandom(testSeed);

/** Per sector: the version of the last write that was answered, and of one that was sent and not answered, or 0. */
const answered = new Uint32Array(sectorCount);
const unanswered = new Uint32Array(sectorCount);
let lastVersion = 0;

/** Writes random ranges, one after the other, until one is not answered; `onAnswer` after every answer. */
async function writeUntilUnanswered(disk: Disk, writer: number, onAnswer: () => void): Promise<void> {
  for (;;) {
    const count = 1 + random.below(disk.info.sectorsPerFrame);
    const sector = writer * rangeSectors + random.below(rangeSectors - count);
    const version = ++lastVersion;
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
async function verify(disk: Disk): Promise<void> {
  const bytes = await disk.read(0, sectorCount);
  for (let sector = 0; sector < sectorCount; sector++) {
    const version = versionOf(bytes.subarray(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES), sector);
    if (version !== answered[sector] && (version === 0 || version !== unanswered[sector])) {
      const wanted = `${answered[sector]} was answered, ${unanswered[sector]} sent after that`;
      throw new Error(`sector ${sector} holds version ${version}; ${wanted} (0: nothing)`);
    }
    answered[sector] = version;
  }
  unanswered.fill(0);
}

test.skipIf(missing !== undefined)(
  titleUnless(
    missing,
    `${cycles} times SIGKILL under write load: every answered write is there after the restart (VOE_TEST_SEED=${testSeed})`,
  ),
  async () => {
    const directory = await mkdtemp(join(tmpdir(), "voe-crash-"));
    try {
      await using cable = await createCable({ mtu: 9000 });
      let answerCount = 0;
      // The last start is for the verification alone.
      for (let cycle = 0; cycle <= cycles; cycle++) {
        const sync = cycle % 2 === 0 ? "1s" : "always";
        const config = await writeServerConfig(directory, {
          interfaces: [cable.serverInterface],
          targets: [{ ...address, path: join(directory, "disk.img"), size: "1MiB", sync }],
        });
        await using server = await startServer({ arguments: [config], directory, namespace: cable.namespace });
        const initiator = openInitiator(cable.initiatorInterface);
        try {
          // Sent once, a write takes effect once or never, and never after a later one.
          const disk = await openDisk(initiator, address, { timeoutMs: 5000, retransmit: false });
          await verify(disk);
          if (cycle === cycles) break;
          let left = 1 + random.below(mostAnswers);
          answerCount += left;
          const writers = Promise.all(
            Array.from({ length: writerCount }, (_, writer) =>
              writeUntilUnanswered(disk, writer, () => {
                if (--left === 0) server.signal("SIGKILL");
              }),
            ),
          );
          await Promise.race([server.exited, writers]);
          initiator.close(); // ends what is in flight as unanswered
          await writers;
          expect(left, `cycle ${cycle}: answers missing before the kill`).toBeLessThanOrEqual(0);
        } finally {
          initiator.close();
        }
      }
      console.log(`crash: seed ${testSeed}, at least ${answerCount} answered writes verified across ${cycles} kills`);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  },
  300_000,
);
