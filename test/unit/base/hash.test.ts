import { expect, test } from "bun:test";
import { allocateMemory } from "../../../ffi/memory.ts";
import { createHasher, digestsEqual, DIGEST_BYTES, type Hasher } from "../../../src/base/hash.ts";
import { fillRandom } from "../../support/block-content.ts";
import { seededRandom } from "../../support/seeded-random.ts";
import vectors from "../../vectors/blake3.json" with { type: "json" };

const hexOf = (hasher: Hasher, bytes: Uint8Array): string => {
  const digest = new Uint8Array(DIGEST_BYTES);
  hasher.hash(bytes, 0, bytes.length, digest, 0);
  return digest.toHex();
};

const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);

const native = createHasher("blake3");
const portable = createHasher("blake3", { portable: true });
const sha256 = createHasher("sha256");

test("each hasher names the library behind it, and says why where it is the slow one", () => {
  expect(native.implementation).toBe("@napi-rs/blake-hash");
  expect(native.fallbackReason).toBeUndefined();
  expect(portable.implementation).toBe("@noble/hashes");
  expect(portable.fallbackReason).toBe("it was asked for");
  expect(sha256.implementation).toBe("Bun.SHA256");
  expect(sha256.fallbackReason).toBeUndefined();
  expect([native, portable, sha256].map((hasher) => hasher.algorithm)).toEqual(["blake3", "blake3", "sha256"]);
});

for (const hasher of [native, portable]) {
  test(`${hasher.implementation} gives the digests of BLAKE3's official vectors`, () => {
    const digests = Object.entries(vectors.digests);
    expect(digests.length).toBe(22);
    for (const [length, digest] of digests) {
      const bytes = new Uint8Array(Number(length)).map((_, index) => index % 251);
      expect(`${length} ${hexOf(hasher, bytes)}`).toBe(`${length} ${digest}`);
    }
  });
}

test("SHA-256 gives the digests of FIPS 180's examples", () => {
  expect(hexOf(sha256, ascii(""))).toBe("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  expect(hexOf(sha256, ascii("abc"))).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  expect(hexOf(sha256, ascii("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"))).toBe(
    "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
  );
  expect(hexOf(sha256, ascii("a".repeat(1_000_000)))).toBe(
    "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
  );
});

test("native and portable BLAKE3 give the same digest whatever the length, from memory outside the heap", () => {
  const random = seededRandom(3);
  const memory = allocateMemory(80_000);
  fillRandom(random, memory.bytes);
  const digests = new Uint8Array(2 * DIGEST_BYTES);
  const lengths = [0, 1, 63, 64, 65, 511, 512, 4095, 4096, 65536, 70_000];
  for (let round = 0; round < 150; round++) lengths.push(random.below(70_001));
  for (const length of lengths) {
    const at = random.below(memory.lengthBytes - length);
    native.hash(memory.bytes, at, length, digests, 0);
    portable.hash(memory.bytes, at, length, digests, DIGEST_BYTES);
    expect({ length, same: digestsEqual(digests, 0, digests, DIGEST_BYTES) }).toEqual({ length, same: true });
  }
});

for (const hasher of [native, portable, sha256]) {
  test(`${hasher.implementation} writes the 32 bytes of the target it was told and no other`, () => {
    const target = new Uint8Array(96).fill(0xee);
    hasher.hash(new Uint8Array(4096), 0, 4096, target, 32);
    expect(target.subarray(0, 32).every((byte) => byte === 0xee)).toBe(true);
    expect(target.subarray(64).every((byte) => byte === 0xee)).toBe(true);
    expect(hexOf(hasher, new Uint8Array(4096))).toBe(target.subarray(32, 64).toHex());
  });

  test(`${hasher.implementation} gives the same digest of pieces as of the whole`, () => {
    const random = seededRandom(11);
    const bytes = new Uint8Array(20_000);
    fillRandom(random, bytes);
    const running = hasher.begin();
    for (let at = 0; at < bytes.length;) {
      const length = Math.min(bytes.length - at, random.below(5000));
      running.update(bytes, at, length);
      at += length;
    }
    expect(() => running.update(bytes, 19_999, 2)).toThrow(RangeError);
    const target = new Uint8Array(40);
    running.end(target, 4);
    expect(target.subarray(4, 36).toHex()).toBe(hexOf(hasher, bytes));
  });

  test(`${hasher.implementation} refuses ranges beyond source and target instead of hashing less`, () => {
    const bytes = new Uint8Array(64);
    for (const [at, length, targetAt] of [
      [1, 64, 0],
      [-1, 8, 0],
      [0, -1, 0],
      [0, 8, 33],
      [0, 8, -1],
    ] as const) {
      expect(() => hasher.hash(bytes, at, length, bytes, targetAt)).toThrow(RangeError);
    }
  });
}

test("digestsEqual sees a difference in any byte", () => {
  const one = new Uint8Array(DIGEST_BYTES + 1).fill(7);
  for (let index = 0; index < DIGEST_BYTES; index++) {
    const other = new Uint8Array(DIGEST_BYTES).fill(7);
    expect(digestsEqual(one, 1, other, 0)).toBe(true);
    other[index] = 8;
    expect(digestsEqual(one, 1, other, 0)).toBe(false);
  }
});
