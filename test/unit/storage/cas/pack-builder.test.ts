import { expect, test } from "bun:test";
import { allocateMemory } from "../../../../ffi/memory.ts";
import { createCompression, type Compression } from "../../../../src/base/compression.ts";
import { createHasher } from "../../../../src/base/hash.ts";
import {
  ENCODING_PLAIN,
  ENTRY_BYTES,
  FOOTER_BYTES,
  KIND_DATA,
  KIND_NODE,
  PACK_MOST_BYTES,
} from "../../../../src/storage/cas/pack-format.ts";
import { PackBuilder } from "../../../../src/storage/cas/pack-builder.ts";
import { matchesName, parsePack, readEntry } from "../../../../src/storage/cas/pack.ts";
import { append, inMemory, makeBlocks, makeBuilder, packOf, type MadeBlock } from "../../../support/packed-blocks.ts";

const hasher = createHasher("blake3");
const lz4 = createCompression();
const TARGET_BYTES = 256 * 1024;

test("blocks are numbered in order, and the size of the pack is known at all times", () => {
  const builder = makeBuilder();
  expect(builder.packBytes).toBe(FOOTER_BYTES);
  for (const [number, block] of makeBlocks(50, 1).entries()) expect(append(builder, block)).toBe(number);
  expect(builder.entryCount).toBe(50);
  const { packBytes } = builder;
  expect(builder.finish().bytes.length).toBe(packBytes);
  builder.free();
});

test("a full pack takes no block, is at most as large as configured, and its builder makes the next one", () => {
  const builder = makeBuilder({ targetBytes: TARGET_BYTES });
  const blocks = makeBlocks(200, 2);
  const stored: Uint8Array[] = [];
  const memory = allocateMemory(65536);
  let next = 0;
  while (next < blocks.length) {
    const first = next;
    while (next < blocks.length && append(builder, blocks[next]!) >= 0) next++;
    expect(next).toBeGreaterThan(first);
    const pack = builder.finish();
    expect(pack.bytes.length).toBeLessThanOrEqual(TARGET_BYTES);
    // Full: the block that was refused would have made it too large.
    if (next < blocks.length) {
      expect(pack.bytes.length + ENTRY_BYTES + blocks[next]!.bytes.length).toBeGreaterThan(TARGET_BYTES);
    }
    expect(matchesName(pack.bytes, pack.name, hasher)).toBe(true);
    const source = inMemory(pack.bytes);
    for (let entry = 0; entry < pack.directory.entryCount; entry++) {
      const offset = pack.directory.offsetBytes(entry);
      expect(readEntry(pack.directory, entry, source, offset, memory, 0, hasher, lz4)).toBe("verified");
      expect(pack.directory.holds(entry, blocks[first + entry]!.hash, 0)).toBe(true);
    }
    stored.push(pack.name);
    builder.reset();
  }
  expect(stored.length).toBeGreaterThan(5);
  builder.free();
});

test("an empty pack of the smallest size takes a block of the largest", () => {
  const builder = makeBuilder({ targetBytes: 128 * 1024 });
  const largest = makeBlocks(60, 3).find(({ bytes }) => bytes.length === 65536)!;
  expect(append(builder, largest)).toBe(0);
  builder.free();
});

test("blocks that compress to almost nothing make a directory larger than was expected", () => {
  const builder = makeBuilder({ targetBytes: TARGET_BYTES });
  const zeros: MadeBlock = { bytes: new Uint8Array(512), hash: new Uint8Array(32), kind: KIND_DATA };
  hasher.hash(zeros.bytes, 0, 512, zeros.hash, 0);
  while (append(builder, zeros) >= 0);
  expect(builder.entryCount).toBeGreaterThan(TARGET_BYTES / 100);
  const pack = builder.finish();
  expect(parsePack(pack.bytes, hasher)).toHaveProperty("directory");
  expect(pack.directory.holds(builder.entryCount - 1, zeros.hash, 0)).toBe(true);
  builder.free();
});

test("the same blocks make the same pack", () => {
  const blocks = makeBlocks(30, 4);
  expect(packOf(blocks).name.toHex()).toBe(packOf(blocks).name.toHex());
  expect(packOf(blocks).name.toHex()).not.toBe(packOf(blocks.toReversed()).name.toHex());
});

test("of data that does not compress LZ4 tries a part, and all of it again once a block compresses", () => {
  let tried = 0;
  const counted: Compression = { ...lz4, compress: (...what) => (tried++, lz4.compress(...what)) };
  const builder = makeBuilder({ compression: counted });
  const [text, ...random] = [...Array(402).keys()].map((index) => {
    const bytes = new Uint8Array(4096);
    if (index > 0) crypto.getRandomValues(bytes);
    return { bytes, hash: new Uint8Array(32), kind: KIND_DATA } as const;
  });
  for (const block of random.slice(0, 400)) append(builder, block);
  expect(tried).toBeLessThan(100);
  expect(tried).toBeGreaterThan(50);
  // Blocks of another kind are judged for themselves.
  const before = builder.dataBytes;
  append(builder, { ...text!, kind: KIND_NODE });
  expect(builder.dataBytes - before).toBeLessThan(100);
  for (let i = 0; i < 20; i++) append(builder, text!);
  // Most of them compressed: seven at most were not tried.
  expect(builder.dataBytes - before).toBeLessThan(8 * 4096);
  tried = 0;
  append(builder, random[400]!);
  expect(tried).toBe(1);
  builder.free();
});

test("a finished pack takes no more blocks, an empty one is not finished", () => {
  const builder = makeBuilder();
  expect(() => builder.finish()).toThrow("a pack without blocks");
  append(builder, makeBlocks(1, 5)[0]!);
  builder.finish();
  expect(() => append(builder, makeBlocks(1, 5)[0]!)).toThrow("before it is reset");
  builder.free();
});

test("blocks of no bytes, of too many, or beyond their memory are refused", () => {
  const builder = makeBuilder();
  const memory = allocateMemory(2 * 65536);
  for (const [at, length] of [
    [0, 0],
    [0, 65537],
    [-1, 512],
    [memory.lengthBytes - 511, 512],
  ] as const) {
    expect(() => builder.tryAppend(KIND_DATA, new Uint8Array(32), 0, memory, at, length)).toThrow(RangeError);
  }
  expect(builder.entryCount).toBe(0);
  builder.free();
});

test("sizes that no pack may have are refused", () => {
  for (const targetBytes of [128 * 1024 - 1, PACK_MOST_BYTES + 1]) {
    expect(() => makeBuilder({ targetBytes })).toThrow(RangeError);
  }
});

/** A library, or a host's memory, that gets some blocks wrong. */
const faulty = (how: "other bytes" | "no LZ4"): Compression => ({
  ...lz4,
  compress(source, at, length, target, targetAt, capacity) {
    const written = lz4.compress(source, at, length, target, targetAt, capacity);
    if (written > 0 && how === "no LZ4") target.bytes.fill(0xff, targetAt, targetAt + written);
    // A literal in the middle of the text: it decodes, to something else.
    if (written > 0 && how === "other bytes") target.bytes[targetAt + 2]! ^= 1;
    return written;
  },
});

for (const how of ["other bytes", "no LZ4"] as const) {
  test(`a block that was compressed to ${how} is stored plain, and said`, () => {
    const said: string[] = [];
    const builder = new PackBuilder({
      hasher,
      compression: faulty(how),
      report: (key, message) => said.push(`${key}: ${message}`),
    });
    const blocks = makeBlocks(10, 6);
    for (const block of blocks) append(builder, block);
    const pack = builder.finish();
    expect(said.length).toBe(5);
    expect(said[0]).toContain("it was stored plain");
    const memory = allocateMemory(65536);
    const source = inMemory(pack.bytes);
    for (let entry = 0; entry < 10; entry++) {
      expect(pack.directory.encoding(entry)).toBe(ENCODING_PLAIN);
      const offset = pack.directory.offsetBytes(entry);
      expect(readEntry(pack.directory, entry, source, offset, memory, 0, hasher, lz4)).toBe("verified");
    }
    builder.free();
  });
}
