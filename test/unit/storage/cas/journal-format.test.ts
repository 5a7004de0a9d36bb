import { expect, test } from "bun:test";
import { allocateMemory } from "../../../../ffi/memory.ts";
import { OK } from "../../../../src/storage/block-storage.ts";
import { getU64, parseSegmentName, segmentName, setU64 } from "../../../../src/storage/cas/journal-format.ts";
import { openJournal } from "../../../../src/storage/cas/open-journal.ts";
import { RecordBatch } from "../../../../src/storage/cas/record-batch.ts";
import { seededRandom } from "../../../support/seeded-random.ts";
import { SimulatedDisk } from "../../../simulation/simulated-disk.ts";

const xxHash3 = (bytes: Uint8Array): string => {
  const hash = Buffer.alloc(8);
  hash.writeBigUInt64LE(Bun.hash.xxHash3(bytes));
  return hash.toString("hex");
};

const random = (bytes: Uint8Array): void => bytes.set([1, 2, 3, 4, 5, 6, 7, 8]);

test("a segment's bytes are those of docs/format.md", async () => {
  const disk = new SimulatedDisk(seededRandom(1));
  const { journal } = await openJournal(disk, "/j", { random, report: () => {}, limitBytes: 0x10000 }, () => {});
  const source = allocateMemory(4096);
  source.bytes.fill(0xab, 0, 512);
  source.bytes.set([0x6d, 0x6b], 512);
  const batch = new RecordBatch();
  batch.addWrite(0x11223344, 0x0a_0000_000b, 1, source, 0);
  expect(journal.append(batch)).toBe(OK);
  await journal.sync();
  batch.clear();
  batch.addMarker(5, source, 512, 2);
  expect(journal.append(batch)).toBe(OK);

  expect(await disk.list("/j")).toEqual(["0000000000000001.journal"]);
  const bytes = disk.contentOf("/j/0000000000000001.journal");
  const hex = (from: number, end: number): string => Buffer.from(bytes.subarray(from, end)).toString("hex");
  // Space is made in pieces, of which zeros are left.
  expect(bytes.length).toBe(65_536);
  expect(bytes.subarray(64 + 64 + 512 + 64 + 64).every((byte) => byte === 0)).toBe(true);

  expect(hex(0, 56)).toBe(
    "766f652d6a726e6c" + // voe-jrnl
      "0100000000000000" + // version, reserved
      "0102030405060708" + // id
      "0100000000000000" + // first sequence
      "0100000000000000" + // previous end
      "0100000000000000" + // durable
      "0000010000000000", // limit
  );
  expect(hex(56, 64)).toBe(xxHash3(bytes.subarray(0, 56)));

  const key = Buffer.from(xxHash3(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 1, 0, 0, 0, 0, 0, 0, 0)), "hex");
  const headerHash = (at: number): string => xxHash3(Buffer.concat([key, bytes.subarray(at, at + 56)]));
  expect(hex(64, 112)).toBe(
    "766f6552" + // voeR
      "01000000" + // write
      "01000000" + // place, in units of 64 bytes
      "44332211" + // volume
      "0b0000000a000000" + // first sector
      "01000000" + // sectors
      "00020000" + // bytes
      "0100000000000000" + // sequence
      "0100000000000000", // durable
  );
  expect(hex(112, 120)).toBe(xxHash3(source.bytes.subarray(0, 512)));
  expect(hex(120, 128)).toBe(headerHash(64));
  expect(hex(128, 640)).toBe("ab".repeat(512));

  const second = 640;
  expect(hex(second, second + 48)).toBe(
    "766f6552" +
      "03000000" +
      "0a000000" +
      "05000000" +
      "00".repeat(8) +
      "00000000" +
      "02000000" + // marker, 2 bytes
      "0200000000000000" + // sequence
      "0200000000000000", // the first is durable
  );
  expect(hex(second + 48, second + 56)).toBe(xxHash3(Uint8Array.of(0x6d, 0x6b)));
  expect(hex(second + 56, second + 64)).toBe(headerHash(second));
  expect(hex(second + 64, second + 128)).toBe(`6d6b${"00".repeat(62)}`);
});

test("names of segments sort as their numbers, and nothing else is one", () => {
  for (const sequence of [1, 0xabc, 2 ** 53 - 1]) expect(parseSegmentName(segmentName(sequence))).toBe(sequence);
  expect([segmentName(255), segmentName(16), segmentName(2 ** 40)].toSorted()).toEqual([
    segmentName(16),
    segmentName(255),
    segmentName(2 ** 40),
  ]);
  for (const name of ["lost+found", "1.journal", "00000000000000AA.journal", "ffffffffffffffff.journal", ""]) {
    expect(parseSegmentName(name)).toBeUndefined();
  }
});

test("numbers of 64 bits are kept up to 2^53", () => {
  const view = new DataView(new ArrayBuffer(8));
  for (const value of [0, 1, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1]) {
    setU64(view, 0, value);
    expect(getU64(view, 0)).toBe(value);
    expect(view.getBigUint64(0, true)).toBe(BigInt(value));
  }
});
