import { expect, test } from "bun:test";
import { libc } from "../../../ffi/libc.ts";
import { allocateMemory } from "../../../ffi/memory.ts";
import { createCompression, type Compression } from "../../../src/base/compression.ts";
import type { Memory } from "../../../src/base/memory.ts";
import { fillRandom, fillText } from "../../support/block-content.ts";
import { seededRandom, type SeededRandom } from "../../support/seeded-random.ts";

const portable = createCompression({ portable: true });
// Where the host has no liblz4 both are the addon, and the exchange between two libraries cannot be shown.
const preferred = createCompression();
const hostHasLz4 = preferred.fallbackReason === undefined;
const both = [preferred, portable];

const PAGE_BYTES = 4096;

/** Memory whose last page cannot be touched, so that a step beyond the one before it ends the test. */
function guardedMemory(lengthBytes: number): Memory {
  const memory = allocateMemory(lengthBytes + PAGE_BYTES);
  const guardAt = memory.lengthBytes - PAGE_BYTES;
  const MAP_PRIVATE_ANONYMOUS_FIXED = 0x32;
  libc.mmap(memory.address + guardAt, PAGE_BYTES, 0, MAP_PRIVATE_ANONYMOUS_FIXED, -1, 0);
  return { ...memory, bytes: memory.bytes.subarray(0, guardAt), lengthBytes: guardAt };
}

const source = guardedMemory(65536);
const packed = guardedMemory(65536);
const plain = guardedMemory(65536);

test("each way names its library, and the addon says why it is used", () => {
  expect(portable.implementation).toBe("lz4-napi");
  expect(portable.fallbackReason).toBe("it was asked for");
  if (hostHasLz4) expect(preferred.implementation).toMatch(/^liblz4 \d+\.\d+\.\d+$/);
  else expect(preferred.fallbackReason).toContain("liblz4.so.1");
});

const exchange = hostHasLz4
  ? "liblz4 and lz4-napi read what the other wrote, for every block size"
  : "lz4-napi reads what it wrote [liblz4 is not installed]";
test(exchange, () => {
  const random = seededRandom(1);
  for (const blockBytes of [512, 1024, 4096, 16384, 65536]) {
    for (const writer of both) {
      for (const reader of both) {
        fillText(random, source.bytes);
        // At the very end of the memory, where one byte too many is a fault.
        const at = source.lengthBytes - blockBytes;
        const written = writer.compress(source, at, blockBytes, packed, 0, blockBytes);
        expect(written).toBeGreaterThan(0);
        packed.bytes.copyWithin(packed.lengthBytes - written, 0, written);
        plain.bytes.fill(0);
        const targetAt = plain.lengthBytes - blockBytes;
        expect(reader.decompress(packed, packed.lengthBytes - written, written, plain, targetAt, blockBytes)).toBe(
          true,
        );
        expect(Buffer.compare(plain.bytes.subarray(targetAt), source.bytes.subarray(at))).toBe(0);
        expect(plain.bytes.subarray(0, targetAt).every((byte) => byte === 0)).toBe(true);
      }
    }
  }
});

for (const compression of both) {
  const name = `${compression.implementation}${compression === portable ? " (portable)" : ""}`;

  test(`${name}: random data is not worth compressing`, () => {
    fillRandom(seededRandom(2), source.bytes);
    expect(compression.compress(source, 0, 4096, packed, 0, 4096)).toBe(0);
  });

  test(`${name}: a block that saves less than a sixteenth is left plain, one that saves as much is not`, () => {
    const random = seededRandom(4);
    const counts = { plain: 0, compressed: 0 };
    for (let runBytes = 200; runBytes < 400; runBytes++) {
      fillRandom(random, source.bytes.subarray(0, 4096));
      source.bytes.fill(0, 0, runBytes);
      const written = compression.compress(source, 0, 4096, packed, 0, 4096);
      if (written === 0) counts.plain++;
      else {
        counts.compressed++;
        expect(written).toBeLessThanOrEqual(4096 - 256);
        expect(runBytes).toBeGreaterThan(256);
      }
    }
    expect(counts.plain).toBeGreaterThan(56);
    expect(counts.compressed).toBeGreaterThan(50);
  });

  test(`${name}: what does not fit the capacity is left plain, and nothing is written beyond it`, () => {
    fillText(seededRandom(5), source.bytes);
    const written = compression.compress(source, 0, 4096, packed, 100, 4096);
    packed.bytes.fill(0xee);
    expect(compression.compress(source, 0, 4096, packed, 100, written - 1)).toBe(0);
    expect(packed.bytes.subarray(100 + written - 1).every((byte) => byte === 0xee)).toBe(true);
    expect(compression.compress(source, 0, 4096, packed, 100, 0)).toBe(0);
  });

  test(`${name}: a length other than that of the block is refused`, () => {
    fillText(seededRandom(6), source.bytes);
    const written = compression.compress(source, 0, 4096, packed, 0, 4096);
    expect(compression.decompress(packed, 0, written, plain, 0, 4095)).toBe(false);
    expect(compression.decompress(packed, 0, written, plain, 0, 4097)).toBe(false);
    expect(compression.decompress(packed, 0, written - 1, plain, 0, 4096)).toBe(false);
    expect(compression.decompress(packed, 0, 0, plain, 0, 4096)).toBe(false);
  });

  test(`${name}: ranges beyond the memories are refused before anything is touched`, () => {
    const end = source.lengthBytes;
    expect(() => compression.compress(source, end - 511, 512, packed, 0, 512)).toThrow(RangeError);
    expect(() => compression.compress(source, 0, 512, packed, end - 10, 11)).toThrow(RangeError);
    expect(() => compression.compress(source, -1, 512, packed, 0, 512)).toThrow(RangeError);
    expect(() => compression.decompress(source, end - 1, 2, plain, 0, 512)).toThrow(RangeError);
    expect(() => compression.decompress(source, 0, 2, plain, end - 511, 512)).toThrow(RangeError);
  });

  test(`${name}: hostile bytes never reach outside source and target (seed 7)`, () => {
    fuzzDecompression(compression, seededRandom(7));
  });
}

/** Random bytes, and blocks with a few bytes changed, between guard pages and marked surroundings. */
function fuzzDecompression(compression: Compression, random: SeededRandom): void {
  let refused = 0;
  for (let round = 0; round < 3000; round++) {
    const plainBytes = 1 + random.below(8192);
    let length = 1 + random.below(2000);
    if (round % 2 === 0) {
      fillText(random, source.bytes.subarray(0, 4096));
      length = compression.compress(source, 0, 4096, packed, 0, 4096);
      for (let flips = 1 + random.below(4); flips > 0; flips--) {
        packed.bytes[random.below(length)] = random.below(256);
      }
    } else {
      fillRandom(random, packed.bytes.subarray(0, length));
    }
    const at = packed.lengthBytes - length;
    packed.bytes.copyWithin(at, 0, length);
    // Alternately against the guard page and with room behind it, where a step too far would leave a trace.
    const targetAt = round % 4 < 2 ? plain.lengthBytes - plainBytes : 1000;
    plain.bytes.fill(0xee, targetAt - 500, Math.min(targetAt + plainBytes + 500, plain.lengthBytes));
    if (!compression.decompress(packed, at, length, plain, targetAt, plainBytes)) refused++;
    const around = [plain.bytes.subarray(targetAt - 500, targetAt), plain.bytes.subarray(targetAt + plainBytes)];
    for (const bytes of around) expect(bytes.subarray(0, 500).every((byte) => byte === 0xee)).toBe(true);
  }
  expect(refused).toBeGreaterThan(2000);
}
