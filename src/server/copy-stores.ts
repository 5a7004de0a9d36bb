/** Replication between the stores that two configurations name. */
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { createCompression } from "../base/compression.ts";
import { createHasher } from "../base/hash.ts";
import { realFileSystem } from "../blob/file-system.ts";
import { blobStoreKey } from "../config/blob-store-key.ts";
import type { BlobStoreConfig, CasBackendConfig } from "../config/config.ts";
import type { Wanted } from "../storage/cas/copy/copy-plan.ts";
import { copyBetween, type CopyEvents, type CopyResult } from "../storage/cas/copy/copy-store.ts";
import { PACK_TARGET_BYTES } from "../storage/cas/pack-format.ts";
import { realDisk } from "../storage/cas/real-disk.ts";
import { workerRunner } from "../storage/cas/worker-runner.ts";
import { openBlobStore } from "./open-blob-store.ts";

export interface StoreCopy {
  readonly source: BlobStoreConfig;
  readonly destination: BlobStoreConfig;
  readonly compression: CasBackendConfig["compression"];
  readonly wanted: readonly Wanted[];
}

export interface CopyStoreOptions {
  /** Below it, `copies/` has an index of both stores, so that the next copy is quick. Made where it is not there. */
  readonly stateDirectory: string;
  readonly signal: AbortSignal;
  readonly report: (key: string, message: string) => void;
  readonly events: CopyEvents;
}

export interface StoreCopyResult extends CopyResult {
  readonly source: string;
  readonly destination: string;
}

/**
 * Copies what the destination lacks. The source is neither locked nor changed, and may be in use. Rejects as `copyBetween`
 * does, and where another copy between the two is under way.
 */
export async function copyStore(copy: StoreCopy, options: CopyStoreOptions): Promise<StoreCopyResult> {
  const { signal, report, events } = options;
  const stateDirectory = join(options.stateDirectory, "copies", copyName(copy));
  mkdirSync(stateDirectory, { recursive: true, mode: 0o700 });
  const unlock = realFileSystem.lock(join(stateDirectory, "lock"));
  if (unlock === undefined) throw new Error(`another voe copies between these two stores: ${stateDirectory} is locked`);
  try {
    const source = await openBlobStore(copy.source, { create: false, readOnly: true, uncached: true, report });
    try {
      const destination = await openBlobStore(copy.destination, {
        // One that had a copy before, and is empty now, is another one or is not mounted.
        create: !existsSync(join(stateDirectory, "destination")),
        uncached: true,
        report,
      });
      // Whoever interrupts a copy waits for its end.
      const hurry = (): void => void destination.hurry();
      signal.addEventListener("abort", hurry, { once: true });
      try {
        const compression = createCompression();
        const compresses = copy.compression === "lz4";
        const result = await copyBetween({
          source: source.blobs,
          destination: destination.blobs,
          wanted: copy.wanted,
          compression,
          compresses,
          packBytes: PACK_TARGET_BYTES,
          ...(destination.packsAtOnce === undefined ? {} : { packsAtOnce: destination.packsAtOnce }),
          packRunner: (algorithm) =>
            workerRunner({
              hasher: createHasher(algorithm),
              compression: compresses ? compression : undefined,
              packBytes: PACK_TARGET_BYTES,
              report,
            }),
          disk: realDisk,
          stateDirectory,
          signal,
          random: (bytes) => void crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>),
          report,
          events,
        });
        return { ...result, source: source.blobs.description, destination: destination.blobs.description };
      } finally {
        signal.removeEventListener("abort", hurry);
        await destination.blobs.close();
      }
    } finally {
      await source.blobs.close();
    }
  } finally {
    unlock();
  }
}

/** The directory of what is known of these two stores: the same for every copy between them. */
const copyName = ({ source, destination }: StoreCopy): string =>
  new Bun.CryptoHasher("sha256")
    .update(`${blobStoreKey(source)}\n${blobStoreKey(destination)}`)
    .digest("hex")
    .slice(0, 16);
