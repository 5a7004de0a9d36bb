/** The archive stores that a configuration names, and their state on this host made anew from them. */
import { hostname } from "node:os";
import { createCompression } from "../base/compression.ts";
import { blobStoreKey } from "../config/blob-store-key.ts";
import type { BlobStoreConfig, TargetConfig } from "../config/config.ts";
import { beginRecovery, hasArchiveState, type RecoveredArchive } from "../storage/cas/recover-archive.ts";
import { realDisk } from "../storage/cas/real-disk.ts";
import { verifyAtRest } from "../storage/cas/verify/verify-at-rest.ts";
import type { VerifyEvent } from "../storage/cas/verify/verify-events.ts";
import { openArchiveState } from "./archive-state.ts";
import { openBlobStore } from "./open-blob-store.ts";

export interface StoreToRecover {
  readonly blobStore: BlobStoreConfig;
  /** Names of the volumes that targets have in it. */
  readonly volumes: readonly string[];
}

export interface RecoverStoreOptions {
  readonly stateDirectory: string;
  readonly takeOver: boolean;
  readonly acceptDamage: boolean;
  /** Reads and hashes everything before the store is taken over. */
  readonly verify: boolean;
  readonly signal: AbortSignal;
  readonly report: (key: string, message: string) => void;
  readonly progress: (what: string, done: number, total: number) => void;
  readonly onVerify: (event: VerifyEvent) => void;
}

/** The stores of a configuration, each once, in the order of its targets. */
export function storesOf(targets: readonly TargetConfig[]): StoreToRecover[] {
  const stores = new Map<string, { blobStore: BlobStoreConfig; volumes: string[] }>();
  for (const { backend } of targets) {
    if (backend.kind !== "cas") continue;
    const key = blobStoreKey(backend.blobStore);
    const store = stores.get(key) ?? { blobStore: backend.blobStore, volumes: [] };
    stores.set(key, store);
    store.volumes.push(backend.volume);
  }
  return [...stores.values()];
}

/**
 * Makes the state of a store from the store, and takes the store over. "kept": there is a state already, which was left
 * as it is. Rejects, with nothing changed of the store unless it was taken over already, where that cannot be done; may
 * be tried again.
 */
export async function recoverStore(
  { blobStore, volumes }: StoreToRecover,
  options: RecoverStoreOptions,
): Promise<RecoveredArchive | { readonly kept: string }> {
  const { stateDirectory, signal } = options;
  const { blobs } = await openBlobStore(blobStore, { create: false, report: options.report });
  try {
    const state = await openArchiveState(stateDirectory, blobStoreKey(blobStore), blobs);
    try {
      if (await hasArchiveState(realDisk, state.directory)) return { kept: state.directory };
      const compression = createCompression();
      const recovery = await beginRecovery({
        ...options,
        disk: realDisk,
        stateDirectory: state.directory,
        blobs,
        compression,
        host: hostname(),
        wanted: volumes,
        nowMs: Date.now,
        random: (bytes) => void crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>),
      });
      if (options.verify) {
        const events = verifyAtRest({
          ...options,
          blobs,
          compression,
          disk: realDisk,
          stateDirectory: state.directory,
          progress: () => {},
        });
        for await (const event of events) {
          options.onVerify(event);
          if (event.event !== "end" || event.outcome !== "damaged" || options.acceptDamage) continue;
          throw new Error(
            `${blobs.description} has damage, listed above, and was not taken over. Mend it from a copy; or say --damaged ` +
              `to have what is left, where reads of what is damaged will fail`,
          );
        }
      }
      signal.throwIfAborted();
      return await recovery.finish();
    } finally {
      state.unlock();
    }
  } finally {
    await blobs.close();
  }
}
