import { expect, test } from "bun:test";
import { createCompression } from "../../../../src/base/compression.ts";
import { createHasher, DIGEST_BYTES } from "../../../../src/base/hash.ts";
import { allocateBatch } from "../../../../src/storage/cas/block-batch.ts";
import { createBlocksUnderWay } from "../../../../src/storage/cas/blocks-under-way.ts";
import { allocateMemory } from "../../../../ffi/memory.ts";
import { allocatePackSpace, PackBuilder } from "../../../../src/storage/cas/pack-builder.ts";
import { KIND_DATA } from "../../../../src/storage/cas/pack-format.ts";
import { asWords, HASH_WORDS } from "../../../../src/storage/cas/tree/shape.ts";
import { fillRandom } from "../../../support/block-content.ts";
import { seededRandom } from "../../../support/seeded-random.ts";

const hasher = createHasher("blake3");
const lz4 = createCompression();

test("adding, moving and removing agree with a set, however the hashes collide (seed 5)", () => {
  const random = seededRandom(5);
  const batch = allocateBatch();
  const underWay = createBlocksUnderWay(hasher, lz4);
  // Few different low words, at the end of the table too: long runs of slots that are taken.
  const hashes = Array.from({ length: 9000 }, (_, index) => {
    const hash = new Uint8Array(DIGEST_BYTES);
    fillRandom(random, hash);
    if (index % 2 === 0) hash.set([0xff, 0xff, 0xff, 0xf0 + random.below(16)], 4);
    return hash;
  });
  const model = new Set<number>();
  for (let step = 0; step < 60_000; step++) {
    const number = random.below(hashes.length);
    const hash = hashes[number]!;
    if (random.chance(step < 30_000 ? 0.7 : 0.3)) {
      expect(underWay.addInBatch(asWords(hash), 0, batch, number % 256)).toBe(!model.has(number));
      model.add(number);
    } else {
      underWay.remove(asWords(hash), 0);
      model.delete(number);
    }
    if (underWay.count !== model.size) throw new Error(`step ${step}: ${underWay.count} instead of ${model.size}`);
  }
  const target = allocateMemory(4096);
  for (const [number, hash] of hashes.entries()) {
    expect(underWay.tryRead(hash, 0, 4096, target, 0)).toBe(model.has(number));
  }
});

test("a block is read from its batch, and from its pack once it is there", () => {
  const underWay = createBlocksUnderWay(hasher, lz4);
  const batch = allocateBatch();
  const space = allocatePackSpace(2 ** 20);
  const builder = new PackBuilder({ hasher, compression: lz4, targetBytes: 2 ** 20, space, report: () => {} });
  batch.memory.bytes.fill(7, 4096, 8192);
  hasher.hash(batch.memory.bytes, 4096, 4096, batch.hashes, DIGEST_BYTES);
  expect(underWay.addInBatch(batch.hashWords, HASH_WORDS, batch, 1)).toBe(true);
  const target = allocateMemory(8192);
  const expectBlock = (): void => {
    target.bytes.fill(0);
    expect(underWay.tryRead(batch.hashes, DIGEST_BYTES, 4096, target, 100)).toBe(true);
    expect(target.bytes.subarray(100, 4196).every((byte) => byte === 7)).toBe(true);
    expect(target.bytes[99]! + target.bytes[4196]!).toBe(0);
  };
  expectBlock();
  const ordinal = builder.tryAppend(KIND_DATA, batch.hashes, DIGEST_BYTES, batch.memory, 4096, 4096);
  underWay.moveToPack(batch.hashWords, HASH_WORDS, space, ordinal);
  batch.memory.bytes.fill(9, 0, 8192);
  expectBlock();
  // Memory that has gone bad gives no block.
  space.data.bytes[3]! ^= 1;
  expect(underWay.tryRead(batch.hashes, DIGEST_BYTES, 4096, target, 100)).toBe(false);
});
