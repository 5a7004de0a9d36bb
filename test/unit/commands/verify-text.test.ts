import { expect, test } from "bun:test";
import { renderDamage, renderEnd } from "../../../src/commands/verify-text.ts";
import type { VerifyEnd } from "../../../src/storage/cas/verify/verify-events.ts";

const end: VerifyEnd = {
  event: "end",
  store: "file store /data",
  outcome: "good",
  complete: true,
  packsDone: 12,
  packsTotal: 12,
  bytesDone: 200 * 2 ** 20,
  bytesTotal: 200 * 2 ** 20,
  treePartsDone: 4,
  treePartsTotal: 4,
  packsNeverVerified: 0,
  oldestVerifiedMs: 1_700_000_000_000,
  damageCount: 0,
  affected: [],
  elapsedMs: 2000,
};

test("a good end says what was read and how fast", () => {
  expect(renderEnd(end)).toBe(
    "file store /data: good. 12 packs and everything that volumes and snapshots refer to: 200 MiB in 2 s, 100 MiB/s",
  );
});

test("an end at the time limit says how much was verified, and what is left", () => {
  const stopped = { ...end, outcome: "stopped", complete: false, packsDone: 3, treePartsDone: 1 } as const;
  expect(renderEnd({ ...stopped, packsNeverVerified: 9 })).toContain(
    "stopped at --max-duration, 3 of 12 packs and 1 of 4 parts of the trees verified, all good",
  );
  expect(renderEnd({ ...stopped, packsNeverVerified: 9 })).toContain("9 packs were never verified yet");
  expect(renderEnd(stopped)).toContain("All packs were verified since 2023-11-14T22:13:20.000Z");
});

test("an end with damage names volumes and snapshots with their sectors, and what to do", () => {
  const ranges = Array.from({ length: 25 }, (_, at) => ({ sector: at * 100, sectorCount: 8 }));
  const lines = renderEnd({
    ...end,
    outcome: "damaged",
    damageCount: 1,
    affected: [
      {
        volume: "e1.0",
        volumeId: "00",
        snapshot: { id: "0123456789abcdef", description: "with \u001b[31m colour", createdMs: 1_700_000_000_000 },
        sectorCount: 200,
        ranges,
        rangeCount: 25,
      },
      { volume: "e1.0", volumeId: "00", sectorCount: 8, ranges: ranges.slice(0, 1), rangeCount: 1 },
    ],
  }).split("\n");
  expect(lines[0]).toContain("DAMAGED in 1 place,");
  expect(lines[1]).toStartWith("  e1.0, snapshot 0123456789abcdef of 2023-11-14T22:13:20.000Z (with ");
  expect(lines[1]).not.toContain("\u001b");
  expect(lines[2]).toBe("    sectors 0 to 7");
  expect(lines).toContain("  and 5 more ranges: --json lists them");
  expect(lines).toContain("  e1.0 as it is: 4 KiB cannot be read");
  expect(lines.at(-1)).toContain("docs/operations.md");
});

test("damage without consequences says so", () => {
  expect(renderEnd({ ...end, outcome: "damaged", damageCount: 2 })).toContain(
    "Nothing that a volume or snapshot refers to is affected",
  );
});

test("each kind of damage is told with its name, place and reason", () => {
  const pack = "ab".repeat(32);
  const block = { hash: "cd".repeat(32), offsetBytes: 4096, storedBytes: 100, reason: "it does not match its hash" };
  const text = renderDamage("s", {
    kind: "pack",
    pack,
    reason: "30 of its 40 blocks are damaged",
    onlyBlocks: true,
    blocks: Array.from({ length: 30 }, () => block),
    blockCount: 30,
  });
  expect(text).toStartWith(`DAMAGE in s: pack ${pack}: 30 of its 40 blocks are damaged\n`);
  expect(text).toContain(`  block ${block.hash} at byte 4096, 100 bytes: it does not match its hash\n`);
  expect(text).toContain("and 10 more blocks");
  expect(renderDamage("s", { kind: "block", hash: "ef", isNode: true, reason: "no pack has it" })).toBe(
    "DAMAGE in s: tree node ef is referred to, but no pack has it",
  );
  expect(renderDamage("s", { kind: "record", name: "roots/x/1", reason: "is not UTF-8" })).toBe(
    "DAMAGE in s: root record roots/x/1 is not UTF-8",
  );
});
