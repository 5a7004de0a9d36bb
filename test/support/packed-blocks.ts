/** Packs of made-up blocks. */
import { allocateMemory } from "../../ffi/memory.ts";
import { createCompression } from "../../src/base/compression.ts";
import { createHasher, DIGEST_BYTES, type Hasher } from "../../src/base/hash.ts";
import type { Memory } from "../../src/base/memory.ts";
import { PackBuilder, type FinishedPack, type PackBuilderOptions } from "../../src/storage/cas/pack-builder.ts";
import { KIND_DATA, KIND_NODE, type BlockKind } from "../../src/storage/cas/pack-format.ts";
import { fillRandom, fillText } from "./block-content.ts";
import { seededRandom } from "./seeded-random.ts";

export interface MadeBlock {
  readonly bytes: Uint8Array;
  readonly hash: Uint8Array;
  readonly kind: BlockKind;
}

const blake3 = createHasher("blake3");
const lz4 = createCompression();
const staging: Memory = allocateMemory(65536);

/** Blocks of every size from 512 bytes to 64 KiB, text and random in turn, every seventh a tree node. */
export function makeBlocks(count: number, seed: number, hasher: Hasher = blake3): MadeBlock[] {
  const random = seededRandom(seed);
  return Array.from({ length: count }, (_, index) => {
    const bytes = new Uint8Array(512 << random.below(8));
    if (index % 2 === 0) fillText(random, bytes);
    else fillRandom(random, bytes);
    const hash = new Uint8Array(DIGEST_BYTES);
    hasher.hash(bytes, 0, bytes.length, hash, 0);
    return { bytes, hash, kind: index % 7 === 6 ? KIND_NODE : KIND_DATA };
  });
}

export const makeBuilder = (options: Partial<PackBuilderOptions> = {}): PackBuilder =>
  new PackBuilder({
    hasher: blake3,
    compression: lz4,
    report: (key, message) => {
      throw new Error(`${key}: ${message}`);
    },
    ...options,
  });

/** Appends, from a place in memory that is not its first byte; the number of the entry, or -1. */
export function append(builder: PackBuilder, { bytes, hash, kind }: MadeBlock): number {
  const at = staging.lengthBytes - bytes.length;
  staging.bytes.set(bytes, at);
  const number = builder.tryAppend(kind, hash, 0, staging, at, bytes.length);
  staging.bytes.fill(0, at);
  return number;
}

/** A finished pack of these blocks. */
export function packOf(blocks: readonly MadeBlock[], options: Partial<PackBuilderOptions> = {}): FinishedPack {
  const builder = makeBuilder(options);
  for (const block of blocks) {
    if (append(builder, block) < 0) throw new Error("the blocks do not fit into one pack");
  }
  return builder.finish();
}

/** Bytes in memory of their own, as if a store had filled it. */
export function inMemory(bytes: Uint8Array): Memory {
  const memory = allocateMemory(Math.max(bytes.length, 1));
  memory.bytes.set(bytes);
  return memory;
}
