import { expect, test } from "bun:test";
import { allocateMemory } from "../../../../ffi/memory.ts";
import { createCompression } from "../../../../src/base/compression.ts";
import { createHasher } from "../../../../src/base/hash.ts";
import { encodeFooter, PackDirectory, parseFooter } from "../../../../src/storage/cas/pack-directory.ts";
import {
  ENCODING_LZ4,
  ENCODING_PLAIN,
  ENTRY,
  ENTRY_BYTES,
  FOOTER,
  FOOTER_BYTES,
  KIND_DATA,
} from "../../../../src/storage/cas/pack-format.ts";
import { matchesName, parsePack, readEntry, type ParsedPack } from "../../../../src/storage/cas/pack.ts";
import { append, inMemory, makeBlocks, makeBuilder, packOf, type MadeBlock } from "../../../support/packed-blocks.ts";
import { seededRandom } from "../../../support/seeded-random.ts";

const blake3 = createHasher("blake3");
const sha256 = createHasher("sha256");
const lz4 = createCompression();
const portable = createCompression({ portable: true });
const target = allocateMemory(2 * 65536);

const parsed = (bytes: Uint8Array, hasher = blake3): ParsedPack => {
  const pack = parsePack(bytes, hasher);
  if ("reason" in pack) throw new Error(pack.reason);
  return pack;
};
const reasonFor = (bytes: Uint8Array, hasher = blake3): string => {
  const pack = parsePack(bytes, hasher);
  return "reason" in pack ? pack.reason : "none";
};

const blocks = makeBlocks(120, 1);

for (const [name, hasher, compression] of [
  ["BLAKE3 and LZ4", blake3, lz4],
  ["BLAKE3 and LZ4 of the addon", blake3, portable],
  ["SHA-256 and no compression", sha256, undefined],
] as const) {
  test(`every block reads as it was appended: ${name}`, () => {
    const made = hasher === blake3 ? blocks : makeBlocks(120, 1, hasher);
    const pack = packOf(made, { hasher, compression });
    const { directory, footer } = parsed(pack.bytes.slice(), hasher);
    expect(directory.entryCount).toBe(120);
    expect(footer).toMatchObject({ algorithm: hasher.algorithm, packBytes: pack.bytes.length });
    const memory = inMemory(pack.bytes);
    let compressed = 0;
    for (const [entry, block] of made.entries()) {
      const status = readEntry(
        directory,
        entry,
        memory,
        directory.offsetBytes(entry),
        target,
        entry,
        hasher,
        compression ?? lz4,
      );
      expect(status).toBe("verified");
      expect(Buffer.compare(target.bytes.subarray(entry, entry + block.bytes.length), block.bytes)).toBe(0);
      expect(directory.plainBytes(entry)).toBe(block.bytes.length);
      expect(directory.kind(entry)).toBe(block.kind);
      expect(directory.holds(entry, block.hash, 0)).toBe(true);
      expect(directory.holds(entry, made[(entry + 1) % 120]!.hash, 0)).toBe(false);
      expect(Buffer.compare(directory.hashOf(entry), block.hash)).toBe(0);
      if (directory.encoding(entry) === ENCODING_LZ4) compressed++;
    }
    // Text and random blocks take turns.
    expect(compressed).toBe(compression === undefined ? 0 : 60);
    expect(directory.hashes()).toEqual(Uint8Array.from(made.flatMap(({ hash }) => [...hash])));
  });
}

/** Offset 0, stored 512, plain 512, plain encoding, data, reserved. */
const ENTRY_FIELDS = [0, 0, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0];
/** Magic's last byte, version 1, SHA-256; 1 entry; the directory at 512, of 48 bytes; reserved. */
const FOOTER_FIELDS = [0xff, 1, 0, 2, 0, 1, 0, 0, 0, 0, 2, 0, 0, 48, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

test("the bytes are those of docs/format.md", () => {
  const bytesOfBlock = new Uint8Array(512).map((_, index) => (index * 7919) >> 3);
  const block: MadeBlock = { bytes: bytesOfBlock, hash: new Uint8Array(32), kind: KIND_DATA };
  sha256.hash(block.bytes, 0, 512, block.hash, 0);
  const { bytes, name } = packOf([block], { hasher: sha256, compression: undefined });
  const digest = new Uint8Array(32);
  sha256.hash(bytes, 512, 48, digest, 0);
  const expected = [
    ...block.bytes,
    ...block.hash,
    ...ENTRY_FIELDS,
    ...new TextEncoder().encode("voepack"),
    ...FOOTER_FIELDS,
    ...digest,
  ];
  expect([...bytes]).toEqual(expected);
  expect(new Bun.SHA256().update(bytes).digest("hex")).toBe(name.toHex());
});

test("the name is the digest of the whole file: every changed bit shows", () => {
  const pack = packOf(makeBlocks(3, 2));
  const bytes = pack.bytes.slice();
  expect(matchesName(bytes, pack.name, blake3)).toBe(true);
  for (let at = 0; at < bytes.length; at += 97) {
    bytes[at]! ^= 1 << (at % 8);
    expect(matchesName(bytes, pack.name, blake3)).toBe(false);
    bytes[at]! ^= 1 << (at % 8);
  }
  expect(matchesName(bytes.subarray(1), pack.name, blake3)).toBe(false);
});

test("every changed bit of directory and footer is refused, and of a block found when it is read", () => {
  const made = makeBlocks(4, 3);
  const pack = packOf(made);
  const bytes = pack.bytes.slice();
  const { footer } = parsed(bytes);
  for (let at = footer.directoryOffsetBytes; at < bytes.length; at++) {
    for (let bit = 0; bit < 8; bit++) {
      bytes[at]! ^= 1 << bit;
      expect({ at, reason: reasonFor(bytes) }).not.toEqual({ at, reason: "none" });
      bytes[at]! ^= 1 << bit;
    }
  }
  const memory = inMemory(bytes);
  let found = 0;
  for (let entry = 0; entry < 4; entry++) {
    const offset = pack.directory.offsetBytes(entry);
    const plainBytes = pack.directory.plainBytes(entry);
    for (let at = offset; at < offset + pack.directory.storedBytes(entry); at += 61) {
      memory.bytes[at]! ^= 0x10;
      target.bytes.fill(0xee);
      const status = readEntry(pack.directory, entry, memory, offset, target, 8, blake3, lz4);
      const block = target.bytes.subarray(8, 8 + plainBytes);
      if (status === "verified") {
        // In LZ4 a changed match can point at another copy of the same bytes: then the block is what it was.
        expect(pack.directory.encoding(entry)).toBe(ENCODING_LZ4);
        expect(Buffer.compare(block, made[entry]!.bytes)).toBe(0);
      } else {
        found++;
        // Nothing is left that could be taken for a block.
        expect(block.every((byte) => byte === 0)).toBe(true);
      }
      expect(target.bytes[7]! + target.bytes[8 + plainBytes]!).toBe(2 * 0xee);
      memory.bytes[at]! ^= 0x10;
    }
  }
  expect(found).toBeGreaterThan(100);
});

test("a block that decodes and is another one is a mismatch; what does not decode is undecodable", () => {
  const pack = packOf(makeBlocks(4, 4));
  const { directory } = pack;
  const memory = inMemory(pack.bytes);
  expect([0, 1].map((entry) => directory.encoding(entry))).toEqual([ENCODING_LZ4, ENCODING_PLAIN]);
  memory.bytes.fill(0, directory.offsetBytes(1), directory.offsetBytes(2));
  expect(readEntry(directory, 1, memory, directory.offsetBytes(1), target, 0, blake3, lz4)).toBe("mismatch");
  memory.bytes.fill(0xff, 0, directory.storedBytes(0));
  expect(readEntry(directory, 0, memory, 0, target, 0, blake3, lz4)).toBe("undecodable");
});

test("an entry that is not inside the memory it was read into is a mistake of the caller", () => {
  const pack = packOf(makeBlocks(2, 5));
  const small = allocateMemory(4096);
  for (const entry of [0, 1]) {
    const length = pack.directory.storedBytes(entry);
    const beyond = small.lengthBytes - length + 1;
    expect(() => readEntry(pack.directory, entry, small, beyond, target, 0, blake3, lz4)).toThrow(RangeError);
  }
});

test("a pack of another hash algorithm is told as such", () => {
  expect(reasonFor(packOf(makeBlocks(1, 1, sha256), { hasher: sha256 }).bytes)).toBe(
    "its blocks are named by sha256, and those of this archive by blake3",
  );
});

/** The pack of two blocks with a field changed, and its hashes made right again: only the field is wrong. */
function forged(change: (directory: DataView, footer: DataView) => void): Uint8Array {
  const bytes = packOf(makeBlocks(2, 6)).bytes.slice();
  const view = (at: number, length: number): DataView => new DataView(bytes.buffer, at, length);
  const directoryAt = bytes.length - FOOTER_BYTES - 2 * ENTRY_BYTES;
  const footerAt = bytes.length - FOOTER_BYTES;
  change(view(directoryAt, 2 * ENTRY_BYTES), view(footerAt, FOOTER_BYTES));
  blake3.hash(bytes, directoryAt, 2 * ENTRY_BYTES, bytes, footerAt + FOOTER.directoryHash);
  return bytes;
}

const SECOND = ENTRY_BYTES;
const forgeries: [what: string, change: (directory: DataView, footer: DataView) => void, reason: RegExp][] = [
  ["an offset that overlaps", (d) => d.setUint32(SECOND + ENTRY.offset, 0, true), /^entry 1 is not at byte/],
  ["an offset beyond the pack", (d) => d.setUint32(ENTRY.offset, 0xffffffff, true), /^entry 0 is not at byte 0/],
  ["a stored length of 0", (d) => d.setUint32(ENTRY.storedLength, 0, true), /^entry 0 has no stored bytes/],
  [
    "a stored length too large",
    (d) => d.setUint32(ENTRY.storedLength, 0xffffffff, true),
    /^entry 0 is compressed from/,
  ],
  ["a plain length of 0", (d) => d.setUint32(ENTRY.plainLength, 0, true), /^entry 0 has a block of 0 bytes/],
  [
    "a plain length of 4 GiB",
    (d) => d.setUint32(ENTRY.plainLength, 0xffffffff, true),
    /^entry 0 has a block of 4294967295/,
  ],
  ["an LZ4 block that is no smaller", (d) => d.setUint8(SECOND + ENTRY.encoding, 1), /^entry 1 is compressed from/],
  ["a plain block of another length", (d) => d.setUint8(ENTRY.encoding, 0), /^entry 0 stores \d+ bytes as/],
  ["an unknown encoding", (d) => d.setUint8(ENTRY.encoding, 2), /^entry 0 has encoding 2/],
  ["kind 0", (d) => d.setUint8(ENTRY.kind, 0), /^entry 0 is of kind 0/],
  ["an unknown kind", (d) => d.setUint8(SECOND + ENTRY.kind, 3), /^entry 1 is of kind 3/],
  ["reserved bytes of an entry", (d) => d.setUint8(ENTRY.reserved + 1, 1), /^entry 0 has reserved bytes set/],
  ["entries that end too early", (d) => d.setUint32(ENTRY.storedLength, 1, true), /^entry 1 is not at byte 1/],
  ["another magic", (_, f) => f.setUint8(FOOTER.magic + 7, 0), /^it does not end as a pack/],
  ["a newer version", (_, f) => f.setUint16(FOOTER.version, 2, true), /^version 2 is not known/],
  ["an unknown algorithm", (_, f) => f.setUint8(FOOTER.hashAlgorithm, 3), /^hash algorithm 3 is not known/],
  ["reserved bytes of the footer", (_, f) => f.setUint8(FOOTER.reserved2 + 7, 1), /^reserved bytes of the footer/],
  ["the other reserved byte", (_, f) => f.setUint8(FOOTER.reserved, 1), /^reserved bytes of the footer/],
  ["no entries", (_, f) => f.setUint32(FOOTER.entryCount, 0, true), /^it has no entries/],
  [
    "a count of entries for 200 GiB",
    (_, f) => f.setUint32(FOOTER.entryCount, 0xffffffff, true),
    /^a directory of 96 bytes/,
  ],
  [
    "a directory length for 4 GiB",
    (_, f) => f.setUint32(FOOTER.directoryLength, 0xffffffff, true),
    /^a directory of 4294967295/,
  ],
  ["a directory elsewhere", (_, f) => f.setUint32(FOOTER.directoryOffset, 5, true), /does not end at the footer/],
];
for (const [what, change, reason] of forgeries) {
  test(`a pack with right hashes and ${what} is refused`, () => expect(reasonFor(forged(change))).toMatch(reason));
}

test("a directory with right lengths whose entries do not reach it is refused", () => {
  const pack = packOf(makeBlocks(1, 6));
  // One byte more between the entry and the directory.
  const gap = new Uint8Array(pack.bytes.length + 1);
  const dataBytes = pack.directory.storedBytes(0);
  gap.set(pack.bytes.subarray(0, dataBytes));
  gap.set(pack.bytes.subarray(dataBytes), dataBytes + 1);
  const footer = parsed(pack.bytes).footer;
  encodeFooter(
    { ...footer, directoryOffsetBytes: dataBytes + 1, packBytes: gap.length },
    gap,
    gap.length - FOOTER_BYTES,
  );
  expect(reasonFor(gap)).toBe(`its entries end at byte ${dataBytes}, and its directory begins at ${dataBytes + 1}`);
});

test("parsing never throws, whatever it is given (seed 8)", () => {
  const random = seededRandom(8);
  const whole = packOf(makeBlocks(20, 8)).bytes.slice();
  for (let length = 0; length < 2000; length++) expect(reasonFor(new Uint8Array(length))).not.toBe("none");
  for (let cut = 1; cut < whole.length; cut += 1 + random.below(500)) {
    expect(reasonFor(whole.subarray(0, whole.length - cut))).not.toBe("none");
    expect(reasonFor(whole.subarray(cut))).not.toBe("none");
  }
  const { footer } = parsed(whole);
  for (let round = 0; round < 3000; round++) {
    const bytes = whole.slice();
    for (let flips = 1 + random.below(6); flips > 0; flips--) {
      const at = footer.directoryOffsetBytes + random.below(bytes.length - footer.directoryOffsetBytes);
      bytes[at] = random.below(256);
    }
    // Half of them with hashes made right, so that what is behind the hash is reached.
    if (round % 2 === 0) {
      const { directoryOffsetBytes, directoryBytes } = footer;
      const at = bytes.length - FOOTER_BYTES + FOOTER.directoryHash;
      blake3.hash(bytes, directoryOffsetBytes, directoryBytes, bytes, at);
    }
    const pack = parsePack(bytes, blake3);
    if ("reason" in pack) continue;
    // What passes lies inside the pack, entry for entry.
    const last = pack.directory.entryCount - 1;
    expect(pack.directory.offsetBytes(last) + pack.directory.storedBytes(last)).toBe(footer.directoryOffsetBytes);
  }
});

test("a footer is judged by the last bytes and the size alone", () => {
  const pack = packOf(makeBlocks(5, 9));
  const tail = pack.bytes.slice(-FOOTER_BYTES);
  expect(parseFooter(tail, pack.bytes.length)).toEqual(parsed(pack.bytes).footer);
  expect(parseFooter(tail, pack.bytes.length + 1)).toHaveProperty("reason");
  expect(parseFooter(tail.subarray(1), pack.bytes.length)).toHaveProperty("reason");
  expect(parseFooter(tail, 2 ** 40)).toEqual({ reason: expect.stringContaining("are more than any pack has") });
});

test("a directory that was given with a builder's pack stays when the builder goes on", () => {
  const builder = makeBuilder();
  append(builder, blocks[0]!);
  const { directory } = builder.finish();
  builder.reset();
  append(builder, blocks[1]!);
  builder.finish();
  expect(directory.holds(0, blocks[0]!.hash, 0)).toBe(true);
  expect(directory).toBeInstanceOf(PackDirectory);
  builder.free();
});
