import { afterEach, beforeEach, expect, test } from "bun:test";
import { archiveStatus, archiveWarnings } from "../../../src/server/archive-status.ts";
import { createArchiveBed, type ArchiveBed } from "../../support/archive-bed.ts";
import { someArchive, someRemote } from "../../support/status-report.ts";

let bed: ArchiveBed;
beforeEach(() => {
  bed = createArchiveBed();
});
afterEach(() => bed.remove());

test("volumes tell their targets, exposed snapshots among them, what was written, and what that cost", async () => {
  const running = await bed.start([bed.target("e1.0"), bed.target("e1.1")]);
  const { archive } = running.targets.archiveOf("e1.0")!;
  await running.fill("e1.0", 1);
  await running.fill("e1.1", 1);
  const snapshot = await running.operations.create("e1.0", "one");
  await running.operations.expose("e1.0", snapshot.id, "e9.0");
  await archive.checkpoint();
  const status = archiveStatus(archive, running.targets.list);
  expect(status.volumes).toMatchObject([
    {
      name: "e1.0",
      targets: [
        { name: "e1.0", snapshotId: "" },
        { name: "e9.0", snapshotId: snapshot.id },
      ],
      writtenBytes: 4096,
      logicalBytes: 4096,
      dirtyBlocks: 0,
      snapshots: 1,
      snapshotLogicalBytes: 4096,
      recentSnapshots: [{ id: snapshot.id, description: "one", logicalBytes: 4096 }],
    },
    { name: "e1.1", targets: [{ name: "e1.1", snapshotId: "" }], writtenBytes: 4096, snapshots: 0 },
  ]);
  // Both have the same block, and the trees are equal too.
  expect(status).toMatchObject({ logicalBytes: 8192, snapshotLogicalBytes: 4096, writtenBytes: 8192 });
  expect(status.volumes.map(({ uniqueBytes }) => uniqueBytes)).toEqual([status.uniqueBytes, 0]);
  expect(status.dedupRatio).toBe(12288 / status.uniqueBytes);
  expect(status.compressionRatio).toBe(status.uniqueBytes / status.storedBytes);
  expect(status.compressedBytes).toBeGreaterThan(0);
  expect(status.compressedBytes).toBeLessThan(status.storedBytes);
  expect(status.packedBytes).toBe(status.storedBytes);
  expect(status.checkpoint).toMatchObject({ runningSeconds: null, completed: 2, failed: 0, failure: "" });
  expect(archiveWarnings(status)).toEqual([]);
  await running.stop();
});

test("an archive that was taken over says so, and not that its checkpoints are tried again", () => {
  const checkpoint = { ...someArchive().checkpoint, failure: "taken over", failingSince: "2026-01-31T12:00:00.000Z" };
  const warnings = archiveWarnings(someArchive({ takenOver: "it was taken over by other", checkpoint }));
  expect(warnings).toEqual(["archive the directory /srv/blobs: it was taken over by other"]);
});

test("how a store far away fares is told as it is counted, with moments", async () => {
  const running = await bed.start([bed.target("e1.0")]);
  const { archive } = running.targets.archiveOf("e1.0")!;
  expect(archiveStatus(archive, running.targets.list).remote).toBeNull();
  const counters = { requests: 1, errors: 1, bytes: 0 };
  const status = archiveStatus(archive, running.targets.list, {
    requests: { put: counters, get: counters, ref: counters, other: counters },
    lastError: { message: "refused", atMs: 1_769_860_860_000 },
    awaySinceMs: 1_769_860_800_000,
    transfers: { uploads: 1, downloads: 2, waiting: 3 },
    cache: undefined,
  });
  expect(status.remote).toEqual({
    uploads: 1,
    downloads: 2,
    waiting: 3,
    requests: { put: counters, get: counters, ref: counters, other: counters },
    lastError: "refused",
    lastErrorAt: "2026-01-31T12:01:00.000Z",
    awaySince: "2026-01-31T12:00:00.000Z",
    cache: null,
  });
  expect(status.backlog.slowsWrites).toBe(false);
  await running.stop();
});

test("a new store has no ratios, no checkpoint and no verification", async () => {
  const running = await bed.start([bed.target("e1.0")]);
  const { archive } = running.targets.archiveOf("e1.0")!;
  expect(archiveStatus(archive, running.targets.list)).toMatchObject({
    dedupRatio: null,
    compressionRatio: null,
    checkpoint: { lastSeconds: null, completed: 0 },
    verification: { running: null, lastRunAt: "", oldestAt: "", verifiedPacks: 0 },
  });
  await running.stop();
});

test("a checkpoint that failed is a warning with the reason, until one succeeds", async () => {
  const archive = someArchive({
    checkpoint: {
      ...someArchive().checkpoint,
      failed: 3,
      failure: "/srv/blobs cannot be written: no space left",
      failingSince: "2026-01-31T12:00:00.000Z",
    },
  });
  const [warning, ...more] = archiveWarnings(archive);
  expect(warning).toStartWith(
    `archive ${archive.store}: no checkpoint has succeeded since 2026-01-31 12:00 UTC (/srv/blobs cannot be written: ` +
      `no space left). Nothing that was answered is lost: it is in the journal, which is 3 % full (64 MiB of 2 GiB)`,
  );
  expect(more).toEqual([]);
  // Why it is full has been said.
  expect(archiveWarnings({ ...archive, journalBytes: 2 ** 31 })).toHaveLength(1);
  expect(archiveWarnings({ ...archive, checkpoint: { ...archive.checkpoint, failure: "" } })).toEqual([]);
});

test("a journal of more than four fifths of its limit is a warning, and one that awaits its checkpoint is none", () => {
  const of = (part: number) => archiveWarnings(someArchive({ journalBytes: part * 2 ** 31 }));
  expect(of(0.75)).toEqual([]);
  expect(of(0.875)).toEqual([expect.stringContaining("the journal is 88 % full (1.75 GiB of 2 GiB)")]);
});

test("a store that is away is a warning with its reason and what waits, also before a checkpoint has failed", () => {
  const remote = someRemote({ awaySince: "2026-01-31T12:00:00.000Z", lastError: "connection refused" });
  const [warning, ...more] = archiveWarnings(someArchive({ remote }));
  expect(warning).toContain("the store has been away since 2026-01-31 12:00 UTC (connection refused)");
  expect(warning).toContain(
    "3 % full (64 MiB of 2 GiB) with writes since 2026-01-31 12:01 UTC; writes wait when it is full",
  );
  expect(more).toEqual([]);
  const backlog = { ...someArchive().backlog, slowsWrites: true };
  expect(archiveWarnings(someArchive({ remote, backlog }))[0]).toContain("writes are slowed by now");
  expect(archiveWarnings(someArchive({ remote: someRemote() }))).toEqual([]);
});

test("damage that was found is a warning until it is found good", () => {
  const { verification } = someArchive();
  const warnings = archiveWarnings(someArchive({ verification: { ...verification, damagedPacks: 2 } }));
  expect(warnings).toEqual([expect.stringContaining("found damage (packs: 2, parts of trees: 0). Delete nothing")]);
});
