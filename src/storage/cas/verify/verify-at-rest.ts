/** Verifying a store that no server has open, from the blob store alone. */
import type { Compression } from "../../../base/compression.ts";
import { createHasher, type HashAlgorithm } from "../../../base/hash.ts";
import { allocateMemory, freeMemory } from "../../../../ffi/memory.ts";
import type { BlobStore } from "../../../blob/blob-store.ts";
import type { Disk } from "../disk.ts";
import { parseFooter } from "../pack-directory.ts";
import { FOOTER_BYTES } from "../pack-format.ts";
import { rootsIn } from "../recover-volumes.ts";
import type { RootsFound } from "../root-refs.ts";
import { openStoreIndex } from "../store-index.ts";
import { isMediumFailure } from "./check-pack.ts";
import { fileHistory } from "./history.ts";
import { withoutClients } from "../pace.ts";
import type { VerifyEvent, VerifyOptions } from "./verify-events.ts";
import { verifyStore } from "./verify-store.ts";

export interface VerifyAtRestOptions extends VerifyOptions {
  readonly blobs: BlobStore;
  readonly compression: Compression;
  readonly disk: Disk;
  /** Where index and history are kept: 18 bytes a block, and 90 a pack. It exists. */
  readonly stateDirectory: string;
  readonly report: (key: string, message: string) => void;
  /** Told of packs as their directories are read into the index. */
  readonly progress: (done: number, total: number) => void;
}

/** As verifyStore. Reads the directories of packs that are new to the index first, which no time limit ends. */
export async function* verifyAtRest(options: VerifyAtRestOptions): AsyncGenerator<VerifyEvent, void> {
  const { blobs, disk, stateDirectory } = options;
  const hasher = createHasher(await algorithmOf(blobs, await rootsIn(blobs)));
  const { index } = await openStoreIndex({
    ...options,
    hasher,
    leavesOut: isMediumFailure,
    // Damaged packs are found again, and told as damage.
    report: (key, message) => {
      if (!key.startsWith("pack:")) options.report(key, message);
    },
  });
  try {
    yield* verifyStore(
      {
        ...options,
        hasher,
        index,
        roots: () => rootsIn(blobs),
        history: fileHistory(disk, stateDirectory, options.report),
        pace: withoutClients(),
        nowMs: Date.now,
        monotonicMs: () => performance.now(),
      },
      options,
    );
  } finally {
    await index.close();
  }
}

/** What the store's blocks are named by: its records say, or where there are none, a pack. */
async function algorithmOf(blobs: BlobStore, { volumes }: RootsFound): Promise<HashAlgorithm> {
  const named = new Set<HashAlgorithm>();
  for (const { newest } of volumes.values()) if (newest !== undefined) named.add(newest.record.hash);
  if (named.size > 1)
    throw new Error(`${blobs.description} has volumes of ${[...named].join(" and ")}, which no voe makes`);
  const [known] = named;
  return known ?? (await algorithmOfPacks(blobs)) ?? "blake3";
}

async function algorithmOfPacks(blobs: BlobStore): Promise<HashAlgorithm | undefined> {
  const memory = allocateMemory(FOOTER_BYTES);
  try {
    for await (const { name, sizeBytes } of blobs.list()) {
      if (sizeBytes < FOOTER_BYTES) continue;
      try {
        await blobs.get(name, sizeBytes - FOOTER_BYTES, FOOTER_BYTES, memory, 0);
      } catch (error) {
        if (!isMediumFailure(error)) throw error;
        continue;
      }
      const footer = parseFooter(memory.bytes.subarray(0, FOOTER_BYTES), sizeBytes);
      if (!("reason" in footer)) return footer.algorithm;
    }
    return undefined;
  } finally {
    freeMemory(memory);
  }
}
