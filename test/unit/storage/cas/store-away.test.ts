/** What becomes of writes while the store of an archive is away. */
import { expect, test } from "bun:test";
import { BlobStoreError, type BlobStore } from "../../../../src/blob/blob-store.ts";
import { createMemoryStore } from "../../../../src/blob/memory-store.ts";
import { NO_SPACE, OK, SECTOR_BYTES } from "../../../../src/storage/block-storage.ts";
import { openTestArchive, openTestVolume, stateDisk } from "../../../support/archive-store.ts";
import { fillRandom } from "../../../support/block-content.ts";
import { manualLoop } from "../../../support/manual-loop.ts";
import { seededRandom } from "../../../support/seeded-random.ts";
import { readSectors, writeStatus } from "../../../support/storage-requests.ts";

const MIB = 2 ** 20;
const WRITE_SECTORS = 128;

test("writes go on into the journal, are slowed from three quarters on, refused at its end, and none is lost", async () => {
  using loop = manualLoop();
  const memory = createMemoryStore();
  let isAway = true;
  const blobs: BlobStore = {
    ...memory,
    async put(...asked) {
      if (isAway) throw new BlobStoreError("unavailable", "the network is away");
      await memory.put(...asked);
    },
  };
  const reports: string[] = [];
  const archive = await openTestArchive(blobs, await stateDisk(), {
    journalLimitBytes: 4 * MIB,
    journalSegmentBytes: MIB,
    report: (key, message) => void reports.push(`${key}: ${message}`),
  });
  const volume = await openTestVolume(archive, "v", 2048);
  const random = seededRandom(1);
  const accepted: Uint8Array[] = [];
  /** Writes after what was accepted; how it ended, and after how long. */
  const write = async (): Promise<{ status: number; waitedMs: number }> => {
    const bytes = new Uint8Array(WRITE_SECTORS * SECTOR_BYTES);
    fillRandom(random, bytes);
    const beganMs = loop.nowMs;
    let endedMs = 0;
    const writing = writeStatus(volume, accepted.length * WRITE_SECTORS, bytes).finally(() => (endedMs = loop.nowMs));
    if (archive.statistics().backlog.slowsWrites) await loop.advance(2000);
    const status = await writing;
    if (status === OK) accepted.push(bytes);
    return { status, waitedMs: endedMs - beganMs };
  };

  while (archive.statistics().journalBytes < 3 * MIB) expect(await write()).toEqual({ status: OK, waitedMs: 0 });
  // Nothing has failed yet: nobody has asked the store.
  expect(archive.statistics().backlog).toMatchObject({ slowsWrites: false, sinceMs: expect.any(Number) });
  expect(archive.statistics().backlog.bytes).toBeGreaterThan(3 * MIB);
  await archive.checkpoint().catch(() => {});
  expect(archive.statistics().backlog.slowsWrites).toBe(true);

  // 64 KiB of the last MiB, which is to last a minute: the second that a write waits at most.
  expect(await write()).toEqual({ status: OK, waitedMs: 1000 });
  expect(reports.filter((text) => text.startsWith("journal:slow:"))).toEqual([
    expect.stringContaining("Writes are slowed from now on"),
  ]);
  let last = await write();
  while (last.status === OK) last = await write();
  expect(last.status).toBe(NO_SPACE);

  isAway = false;
  // The first one goes on with what the failed one had begun.
  await archive.checkpoint();
  await archive.checkpoint();
  expect(archive.statistics().backlog).toEqual({ bytes: 0, sinceMs: undefined, slowsWrites: false });
  expect(await write()).toEqual({ status: OK, waitedMs: 0 });
  for (const [at, bytes] of accepted.entries()) {
    expect(Buffer.compare(await readSectors(volume, at * WRITE_SECTORS, WRITE_SECTORS), bytes)).toBe(0);
  }
  await archive.close();
});
