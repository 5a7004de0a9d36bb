import { expect, test } from "bun:test";
import { archiveLines } from "../../../src/commands/archive-tables.ts";
import { someArchive, someRemote, someReport, someVolume } from "../../support/status-report.ts";

test("an archive has what it holds and saves, how its journal, checks and volumes are", () => {
  expect(archiveLines(someReport({ archives: [someArchive()] }))).toEqual([
    "",
    "ARCHIVE the directory /srv/blobs",
    "  LOGICAL  SNAPSHOTS  UNIQUE  STORED  DEDUP  COMPRESSION  WRITTEN    NEW  KNOWN",
    "    6 GiB      9 GiB   3 GiB   2 GiB  5.00x        1.50x    7 GiB  1,200  3,400",
    "  packs     130 with 787 k blocks, 1.96 GiB compressed; index: 1.91 MiB memory, 14.3 MiB disk",
    "  cache     97.3 % of 100 k reads; 1 GiB of 2 GiB memory",
    "  journal   64 MiB of 2 GiB (3 %); checkpoints: 7 done, the last in 0.42 s",
    "  verified  120 of 130 packs, last run 1 d 8 h ago, oldest pack 19 d 9 h ago",
    "  VOLUME  TARGETS   SIZE  LOGICAL  WRITTEN  UNIQUE  DIRTY  SNAPSHOTS  NEWEST",
    "  e1.0    e1.0     8 GiB    6 GiB    7 GiB   3 GiB     17          2  1 min 10 s ago",
  ]);
});

test("beside an earlier report an archive shows what it takes per second", () => {
  const earlier = someReport({ archives: [someArchive()] });
  const volumes = [someVolume({ writtenBytes: 7 * 2 ** 30 + 2 ** 21 }), someVolume({ name: "new", writtenBytes: 5e9 })];
  const later = someArchive({
    writtenBytes: 7 * 2 ** 30 + 2 ** 22,
    newBlocks: 1400,
    knownBlocks: 9400,
    packedBytes: 44 * 2 ** 20,
    cache: { hits: 97_330, misses: 2710, hitBytes: 3.1 * 2 ** 30, usedBytes: 2 ** 30, limitBytes: 2 ** 31 },
    volumes,
  });
  const lines = archiveLines(someReport({ archives: [later] }), earlier, 2);
  expect(lines[2]?.split(/ {2,}/).slice(-4)).toEqual(["WRITTEN", "NEW/S", "KNOWN/S", "TO PACKS"]);
  expect(lines[3]?.split(/ {2,}/).slice(-4)).toEqual(["2 MiB/s", "100", "3,000", "2 MiB/s"]);
  expect(lines[5]).toBe("  cache     75 % of 40 reads; 1 GiB of 2 GiB memory");
  expect(lines.at(-2)).toContain("1 MiB/s");
  expect(lines.at(-1)).toContain("  0 B/s");
});

test("an archive that was opened again meanwhile shows no rate below nothing", () => {
  const earlier = someReport({ archives: [someArchive()] });
  const again = someArchive({ writtenBytes: 0, newBlocks: 0, knownBlocks: 0, packedBytes: 0 });
  const [, , , figures] = archiveLines(someReport({ archives: [again] }), earlier, 1);
  expect(figures?.split(/ {2,}/).slice(-4)).toEqual(["0 B/s", "0", "0", "0 B/s"]);
});

test("failing checkpoints, damage and what goes on stand out", () => {
  const archive = someArchive({
    checkpoint: {
      runningSeconds: 71,
      lastSeconds: null,
      completed: 0,
      failed: 4,
      failure: "ENOSPC",
      failingSince: "2026-01-31T12:00:00.000Z",
    },
    verification: {
      ...someArchive().verification,
      running: { bytesDone: 2 ** 30, bytesTotal: 2 ** 31, seconds: 8 },
      damagedPacks: 2,
    },
  });
  const [, , , , , , journal, verified] = archiveLines(someReport({ archives: [archive] }));
  expect(journal).toEndWith("checkpoints: one runs for 1 min 11 s, the last one FAILED, 4 failed");
  expect(verified).toContain("; DAMAGED: 2 packs, 0 parts of trees; one runs, 1 GiB of 2 GiB");
});

test("a store far away tells what waits for it, how it fares and what is on the local disk", () => {
  const of = (over: Parameters<typeof someArchive>[0]) => archiveLines(someReport({ archives: [someArchive(over)] }));
  expect(of({ remote: someRemote() }).slice(7, 12)).toEqual([
    "  backlog   64 MiB, the oldest written 40 s ago",
    "  store     there; 2 uploads, 1 downloads, 3 waiting",
    "  requests  put 130 (2 GiB), get 4,000 (1 GiB), others 27; 3 failed",
    "  failed    1 min ago: 503 SlowDown",
    "  on disk   90 % of 1,000 reads; 60 packs, 1 GiB of 8 GiB",
  ]);
  const away = of({
    backlog: { bytes: 2 ** 30, since: "2026-01-31T11:01:40.000Z", slowsWrites: true },
    remote: someRemote({ awaySince: "2026-01-31T11:00:40.000Z", cache: null }),
  });
  expect(away[7]).toEndWith("1 GiB, the oldest written 1 h ago; WRITES ARE SLOWED");
  expect(away[8]).toContain("AWAY since 1 h 1 min ago;");
  expect(away[11]).toBe("  on disk   no cache, see the log");
  const idle = of({ backlog: { bytes: 0, since: "", slowsWrites: false }, remote: someRemote({ lastError: "" }) });
  expect(idle[7]).toEndWith("nothing: the store has everything");
  expect(idle[10]).toStartWith("  on disk");
});

test("a store in which nothing has happened yet says so", () => {
  const empty = someArchive({
    dedupRatio: null,
    compressionRatio: null,
    journalBytes: 0,
    cache: { hits: 0, misses: 0, hitBytes: 0, usedBytes: 0, limitBytes: 2 ** 31 },
    checkpoint: { runningSeconds: null, lastSeconds: null, completed: 0, failed: 0, failure: "", failingSince: "" },
    verification: {
      running: null,
      lastRunAt: "",
      verifiedPacks: 0,
      oldestAt: "",
      damagedPacks: 0,
      damagedParts: 0,
    },
    volumes: [someVolume({ targets: [], recentSnapshots: [], snapshots: 0 })],
  });
  const lines = archiveLines(someReport({ archives: [empty] }));
  expect(lines[5]).toBe("  cache     no reads; 0 B of 2 GiB memory");
  expect(lines[6]).toBe("  journal   0 B of 2 GiB (0 %); checkpoints: none yet");
  expect(lines[7]).toBe("  verified  never: run voe verify");
  expect(lines.at(-1)?.split(/ {2,}/).at(-1)).toBe("-");
});

test("large figures and long names stay within 100 columns, whatever is in the names", () => {
  const large = 12.34 * 2 ** 40;
  const archive = someArchive({
    logicalBytes: large,
    snapshotLogicalBytes: large,
    uniqueBytes: large,
    compressedBytes: large,
    storedBytes: large,
    dedupRatio: 1234.5,
    writtenBytes: large,
    newBlocks: 123_456_789,
    knownBlocks: 123_456_789,
    blocks: 123_456_789,
    packs: 1_234_567,
    indexMemoryBytes: large,
    indexDiskBytes: large,
    volumes: [
      someVolume({
        name: `\u001b[2J${"x".repeat(250)}`,
        targets: Array.from({ length: 9 }, (_, slot) => ({ name: `e1.${slot}`, snapshotId: "" })),
        sizeBytes: large,
        logicalBytes: large,
        writtenBytes: large,
        uniqueBytes: large,
        dirtyBlocks: 123_456_789,
        snapshots: 123_456,
      }),
    ],
  });
  const lines = archiveLines(someReport({ archives: [archive] }));
  expect(lines.join("\n")).not.toContain("\u001b");
  expect(lines.filter((line) => line.length > 100)).toEqual([]);
});
