/** Copies between stores in memory. */
import { createCompression } from "../../src/base/compression.ts";
import type { BlobStore } from "../../src/blob/blob-store.ts";
import { copyBetween, type CopyOptions, type CopyResult } from "../../src/storage/cas/copy/copy-store.ts";
import type { Wanted } from "../../src/storage/cas/copy/copy-plan.ts";
import type { Disk } from "../../src/storage/cas/disk.ts";
import { fillRandom } from "./block-content.ts";
import { seededRandom } from "./seeded-random.ts";

const quiet = { indexing() {}, planned() {}, progress() {}, copied() {} };

/** Copies with packs of 128 KiB; `disk` has a directory /state. */
export function copyStores(
  source: BlobStore,
  destination: BlobStore,
  wanted: readonly Wanted[],
  disk: Disk,
  options: Partial<CopyOptions> = {},
): Promise<CopyResult> {
  const random = seededRandom(8);
  return copyBetween({
    source,
    destination,
    wanted,
    compression: createCompression(),
    compresses: true,
    packBytes: 128 << 10,
    disk,
    stateDirectory: "/state",
    signal: new AbortController().signal,
    random: (bytes) => fillRandom(random, bytes),
    report: () => {},
    events: quiet,
    ...options,
  });
}
