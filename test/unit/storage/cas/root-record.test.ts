import { describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  blockCountOf,
  encodeRootRecord,
  parseRootRecord,
  RECORD_MOST_BYTES,
  type RootRecord,
} from "../../../../src/storage/cas/root-record.ts";
import { makeRecord } from "../../../support/root-records.ts";
import { seededRandom, testSeed } from "../../../support/seeded-random.ts";

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
/** A line with its checksum, whatever the line says. */
const sealed = (line: string): Uint8Array =>
  bytes(`${line}\n${createHash("sha256").update(`${line}\n`).digest("hex")}\n`);
const lineOf = (record: RootRecord): string => text(encodeRootRecord(record)).split("\n")[0]!;
const reasonFor = (bytes: Uint8Array): string => {
  const parsed = parseRootRecord(bytes);
  return "reason" in parsed ? parsed.reason : "";
};

test("a record comes back as it was, with its checksum", () => {
  const record = makeRecord({ parent: "ab".repeat(32), description: 'tab\t "quotes" \u0000 \u2028 ☃ 💾' });
  const encoded = encodeRootRecord(record);
  expect(parseRootRecord(encoded)).toEqual({ record, checksum: text(encoded).split("\n")[1]! });
});

test("the largest and the smallest values come back, within the bound for records", () => {
  const most = makeRecord({
    volumeName: "\u0001".repeat(255),
    description: "\u0001".repeat(1024),
    parent: "f".repeat(64),
    sequence: Number.MAX_SAFE_INTEGER,
    sectorCount: 2 ** 44,
    blockSizeBytes: 65536,
    createdMs: 253_402_300_799_999,
    journalSequence: Number.MAX_SAFE_INTEGER,
    logicalBytes: Number.MAX_SAFE_INTEGER,
    uniqueBytes: Number.MAX_SAFE_INTEGER,
  });
  const least = makeRecord({ volumeName: "", sequence: 1, sectorCount: 1, blockSizeBytes: 512, createdMs: 0 });
  for (const record of [most, least]) {
    const encoded = encodeRootRecord(record);
    expect(encoded.length).toBeLessThan(RECORD_MOST_BYTES);
    expect(parseRootRecord(encoded)).toMatchObject({ record });
  }
});

test("the record that another program has written is read, and written in the same bytes", () => {
  const file = readFileSync(join(import.meta.dir, "../../../vectors/archive/root-record"));
  const parsed = parseRootRecord(file);
  if ("reason" in parsed) throw new Error(parsed.reason);
  expect(parsed.record).toEqual({
    kind: "snapshot",
    volumeId: "00112233445566778899aabbccddeeff",
    volumeName: "e1.0",
    sequence: 42,
    parent: "e47125968b3b71049fbc4802d1e40a71ea1359decfabacf70b34588037d4ff0c",
    root: "3cb3145fefe84adead813c889a2b659258ed3ddaa8137460f95f66e71bfc128d",
    hash: "sha256",
    blockSizeBytes: 4096,
    sectorCount: 16_777_216,
    createdMs: Date.UTC(2026, 0, 2, 3, 4, 5, 678),
    description: 'before the "upgrade"\nü ☃ 💾',
    journalSequence: 123_456_789,
    logicalBytes: 12_288,
    uniqueBytes: 8192,
  });
  expect(Buffer.compare(encodeRootRecord(parsed.record), file)).toBe(0);
  expect(parsed.checksum).toBe("4d92e75eeacc980e302ebd97a95ce04a6cef2a3d1be365c6d32cf93f656e875d");
});

test("a last block that reaches beyond the end counts", () => {
  expect(blockCountOf(makeRecord({ sectorCount: 17, blockSizeBytes: 4096 }))).toBe(3);
  expect(blockCountOf(makeRecord({ sectorCount: 16, blockSizeBytes: 4096 }))).toBe(2);
});

/** By key: values that make no sense, in TypeScript and on disk alike. */
const senseless: [Partial<Record<keyof RootRecord, unknown>>, string][] = [
  [{ kind: "backup" }, "kind"],
  [{ kind: undefined }, "kind"],
  [{ volumeId: "e1.0" }, "volume id"],
  [{ volumeId: "A".repeat(32) }, "volume id"],
  [{ volumeName: "x".repeat(256) }, "volume name"],
  [{ volumeName: 7 }, "volume name"],
  [{ sequence: 0 }, "sequence number"],
  [{ sequence: 1.5 }, "sequence number"],
  [{ sequence: 2 ** 53 }, "sequence number"],
  [{ parent: "" }, "parent"],
  [{ root: "0".repeat(63) }, "root"],
  [{ root: "G".repeat(64) }, "root"],
  [{ hash: "md5" }, "hash"],
  [{ blockSizeBytes: 4095 }, "block size"],
  [{ blockSizeBytes: 256 }, "block size"],
  [{ blockSizeBytes: 131_072 }, "block size"],
  [{ sectorCount: 0 }, "sectors"],
  [{ sectorCount: 2 ** 44 + 1 }, "sectors"],
  [{ sectorCount: "16" }, "sectors"],
  [{ description: "x".repeat(1025) }, "description"],
  [{ description: "ü".repeat(513) }, "description"],
  [{ description: "half of a pair: \ud800" }, "description"],
  [{ journalSequence: -1 }, "journal sequence"],
  [{ logicalBytes: null }, "statistics"],
  [{ uniqueBytes: Infinity }, "statistics"],
];

test.each(senseless)("a record with %j is not written", (change, reason) => {
  expect(() => encodeRootRecord({ ...makeRecord(), ...change } as RootRecord)).toThrow(reason);
});

test.each([-1, NaN, 8.64e15 + 1, -0])("a record of the time %d is not written", (createdMs) => {
  expect(() => encodeRootRecord(makeRecord({ createdMs }))).toThrow("time is not");
});

describe("what is no record is told, with what is wrong", () => {
  const line = lineOf(makeRecord());
  const altered = (key: string, value: unknown): Uint8Array =>
    sealed(JSON.stringify({ ...(JSON.parse(line) as object), [key]: value }));

  test.each([
    ["nothing", new Uint8Array(), "is not a line of JSON and a line of checksum"],
    ["no UTF-8", Uint8Array.of(0xff, 0xfe), "is not UTF-8"],
    ["too much", new Uint8Array(RECORD_MOST_BYTES + 1), `has over ${RECORD_MOST_BYTES} bytes`],
    ["a line without a checksum", bytes(`${line}\n`), "is not a line of JSON and a line of checksum"],
    ["a record with a line more", bytes(`${text(sealed(line))}\n`), "is not a line of JSON and a line of checksum"],
    ["a record after a byte order mark", bytes(`\ufeff${text(sealed(line))}`), "does not match its checksum"],
    ["a record with a digit changed", bytes(text(sealed(line)).replace("4096", "8192")), "does not match its checksum"],
    ["a sealed line that is no JSON", sealed("{"), "is not JSON"],
    ["a sealed list", sealed("[]"), "is not a JSON object"],
    ["a sealed null", sealed("null"), "is not a JSON object"],
    ["a sealed object without a format", sealed("{}"), 'is of no format "voe-root"'],
    ["a newer version", altered("version", 2), "is of version 2; this voe reads version 1"],
    ["a version that is no number", altered("version", "x\u001b"), "is of version unknown"],
    ["an unknown key", altered("extra", 1), "is not in the form that voe writes"],
    [
      "a number in another form",
      sealed(line.replace('"block_size":4096', '"block_size":4.096e3')),
      "is not in the form",
    ],
    ["a key twice", sealed(line.replace('"sequence":1,', '"sequence":9,"sequence":1,')), "is not in the form"],
    ["blanks", sealed(line.replace(",", ", ")), "is not in the form"],
    [
      "a time in another form",
      sealed(line.replace(/"created":"[^"]*"/, '"created":"2026-01-02"')),
      "is not in the form",
    ],
    ["a time that is none", altered("created", "yesterday"), "time is not from 1970"],
    ["a time that is a number", altered("created", 5), "time is not from 1970"],
    ["a prototype", sealed(line.replace('"sequence"', '"__proto__":{"sequence":1},"x"')), "sequence number"],
  ])("%s", (_, bytes, reason) => {
    expect(reasonFor(bytes)).toContain(reason);
  });

  test.each(senseless)("%j under a good checksum", (change, reason) => {
    const keys: Partial<Record<keyof RootRecord, string>> = {
      volumeId: "volume_id",
      volumeName: "volume_name",
      blockSizeBytes: "block_size",
      sectorCount: "sectors",
      journalSequence: "journal_sequence",
      logicalBytes: "logical_bytes",
      uniqueBytes: "unique_bytes",
    };
    const [[key, value]] = Object.entries(change) as [[keyof RootRecord, unknown]];
    expect(reasonFor(altered(keys[key] ?? key, value))).toContain(reason);
  });

  test(`damage of any kind, anywhere (VOE_TEST_SEED=${testSeed})`, () => {
    const random = seededRandom(testSeed);
    const good = encodeRootRecord(makeRecord({ description: "ü ☃ 💾" }));
    for (let round = 0; round < 5000; round++) {
      const bad = [...good];
      for (let times = random.below(3); times >= 0; times--) {
        const at = random.below(bad.length);
        const kind = random.below(5);
        if (kind === 0) bad[at] = bad[at]! ^ (1 << random.below(8));
        else if (kind === 1) bad.splice(at, 1 + random.below(40));
        else if (kind === 2) bad.splice(at, 0, random.below(256));
        else if (kind === 3) bad.splice(at, random.below(20), ...bad.slice(0, random.below(200)));
        else bad.length = at + 1;
      }
      const bytes = Uint8Array.from(bad);
      if (Buffer.compare(bytes, good) !== 0) expect(reasonFor(bytes)).not.toBe("");
    }
  });

  test(`nonsense under a good checksum (VOE_TEST_SEED=${testSeed})`, () => {
    const random = seededRandom(testSeed);
    const values = [0, -1, 1e300, 0.5, "", "x", "0".repeat(64), null, true, [], {}, "\ud800", "9".repeat(400), 2 ** 53];
    let read = 0;
    for (let round = 0; round < 5000; round++) {
      const entries = Object.entries(JSON.parse(line) as Record<string, unknown>);
      const at = random.below(entries.length);
      const kind = random.below(4);
      if (kind === 0) entries.splice(at, 1);
      else if (kind === 1) entries.splice(at, 0, entries.splice(random.below(entries.length), 1)[0]!);
      else entries[at] = [entries[at]![0], values[random.below(values.length)]];
      const bytes = sealed(JSON.stringify(Object.fromEntries(entries)));
      const parsed = parseRootRecord(bytes);
      if ("reason" in parsed) continue;
      // What is read at all is a record, and the only form of it.
      expect(Buffer.compare(encodeRootRecord(parsed.record), bytes)).toBe(0);
      read++;
    }
    expect(read).toBeGreaterThan(0);
    expect(read).toBeLessThan(2500);
  });
});
