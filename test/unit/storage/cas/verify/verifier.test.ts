import { afterEach, beforeEach, expect, test } from "bun:test";
import { createMemoryStore, emptyContents } from "../../../../../src/blob/memory-store.ts";
import type { Archive } from "../../../../../src/storage/cas/archive.ts";
import type { VerifyEvent } from "../../../../../src/storage/cas/verify/verify-events.ts";
import {
  blockOf,
  flip,
  findEntry,
  hashOf,
  openTestArchive,
  openTestVolume,
  stateDisk,
  writeBlock,
} from "../../../../support/archive-store.ts";
import { reasonOf } from "../../../../support/reason-of.ts";

const contents = emptyContents();
let archive: Archive;
let disk: Awaited<ReturnType<typeof stateDisk>>;

beforeEach(async () => {
  contents.blobs.clear();
  contents.refs.clear();
  disk = await stateDisk();
  archive = await openTestArchive(createMemoryStore(contents), disk);
  const volume = await openTestVolume(archive, "e1.0", 1000);
  for (let block = 0; block < 50; block++) await writeBlock(volume, block, blockOf(block));
  await archive.checkpoint();
});
afterEach(() => archive.close());

const all = async (events: AsyncIterable<VerifyEvent>): Promise<VerifyEvent | undefined> => {
  let last: VerifyEvent | undefined;
  for await (const event of events) last = event;
  return last;
};

test("an open archive verifies itself, again and again, and finds what is damaged while it is open", async () => {
  expect(await all(archive.verify())).toMatchObject({ event: "end", outcome: "good", packsTotal: contents.blobs.size });
  const { pack, entry, directory } = findEntry(contents, hashOf(blockOf(9)));
  flip(contents, pack, directory.offsetBytes(entry));
  expect(await all(archive.verify())).toMatchObject({
    outcome: "damaged",
    affected: [{ volume: "e1.0", ranges: [{ sector: 72, sectorCount: 8 }] }],
  });
});

test("writes and a checkpoint during a verification do not disturb it", async () => {
  const events = archive.verify();
  await events.next();
  const volume = await openTestVolume(archive, "e2.0", 1000);
  for (let block = 0; block < 50; block++) await writeBlock(volume, block, blockOf(block + 5000));
  await archive.checkpoint();
  expect(await all(events)).toMatchObject({ outcome: "good" });
});

test("a second verification of the same archive is refused while one goes on, and allowed after it", async () => {
  const first = archive.verify();
  await first.next();
  expect(await reasonOf(all(archive.verify()))).toContain("under way");
  await first.return();
  expect(await all(archive.verify())).toMatchObject({ outcome: "good" });
});

test("closing the archive ends a verification whose reader is slow, without waiting for that", async () => {
  const events = archive.verify();
  await events.next();
  await archive.close();
  expect(await events.next()).toEqual({ done: true, value: undefined });
});

test("what runs have found is known while they go on, after them, and when the archive is opened again", async () => {
  expect(archive.statistics().verification).toMatchObject({ running: undefined, lastRunMs: 0, verifiedPacks: 0 });
  const events = archive.verify();
  await events.next();
  expect(archive.statistics().verification.running).toMatchObject({ packsTotal: contents.blobs.size, packsDone: 0 });
  await all(events);
  const good = archive.statistics().verification;
  expect(good).toMatchObject({ running: undefined, verifiedPacks: contents.blobs.size, damagedPacks: 0 });
  expect(good.lastRunMs).toBeGreaterThanOrEqual(good.oldestVerifiedMs);
  expect(good.oldestVerifiedMs).toBeGreaterThan(0);
  const { pack, entry, directory } = findEntry(contents, hashOf(blockOf(9)));
  flip(contents, pack, directory.offsetBytes(entry));
  await all(archive.verify());
  const bad = archive.statistics().verification;
  expect(bad).toMatchObject({ verifiedPacks: contents.blobs.size - 1, damagedPacks: 1, damagedParts: 1 });
  await archive.close();
  archive = await openTestArchive(createMemoryStore(contents), disk);
  expect(archive.statistics().verification).toEqual(bad);
  flip(contents, pack, directory.offsetBytes(entry));
  await all(archive.verify());
  expect(archive.statistics().verification).toMatchObject({ damagedPacks: 0, damagedParts: 0 });
});
