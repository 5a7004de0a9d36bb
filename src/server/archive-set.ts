/** The archive stores that targets use: each is opened once, and shared by all targets that name it. */
import { hostname } from "node:os";
import { join } from "node:path";
import { createCompression } from "../base/compression.ts";
import { createHasher } from "../base/hash.ts";
import { log } from "../base/log.ts";
import { VERSION } from "../base/version.ts";
import { blobStoreKey } from "../config/blob-store-key.ts";
import type { CasBackendConfig, ServerConfig } from "../config/config.ts";
import { openArchive, type Archive } from "../storage/cas/archive.ts";
import { withReserve } from "../storage/cas/disk-reserve.ts";
import { PACK_TARGET_BYTES } from "../storage/cas/pack-format.ts";
import type { PackRunner } from "../storage/cas/pack-runner.ts";
import { realDisk } from "../storage/cas/real-disk.ts";
import { workerRunner } from "../storage/cas/worker-runner.ts";
import { knownStoreAt, openArchiveState } from "./archive-state.ts";
import { openBlobStore, type OpenBlobStore, type RemoteStatistics } from "./open-blob-store.ts";

/** The part of the journal at which a checkpoint begins, while writes go on. */
const CHECKPOINT_PART = 2;
const SEGMENT_BYTES = 64 * 2 ** 20;
/** A journal gives space back by whole segments. */
const SEGMENTS_LEAST = 16;
/** The parts of the cache that tree nodes have, and directories of packs. */
const NODE_PART = 6;
const DIRECTORY_PART = 4;
const PROGRESS_EVERY_MS = 2000;

export interface ArchiveSet {
  /** The archive that a backend's volume is in. Rejects where it cannot be opened, with what to do. */
  open(backend: CasBackendConfig): Promise<Archive>;
  /** Says that a target no longer uses the archive of its backend. */
  release(backend: CasBackendConfig): void;
  /** Every store that is open. */
  list(): readonly Archive[];
  /** How the store of an archive fares that is far away; undefined: it is local. */
  remote(archive: Archive): RemoteStatistics | undefined;
  /** Closes the archives that no target uses. */
  closeUnused(): Promise<void>;
}

interface OpenArchive {
  readonly backend: CasBackendConfig;
  readonly archive: Archive;
  readonly store: OpenBlobStore;
  users: number;
  close(): Promise<void>;
}

type Settings = Pick<ServerConfig, "stateDir" | "cacheBytes" | "journalBytes">;

export function archiveSet(settings: Settings, report: (key: string, message: string) => void): ArchiveSet {
  const archives = new Map<string, OpenArchive>();
  let turn: Promise<unknown> = Promise.resolve();

  const openOne = async (location: string, backend: CasBackendConfig): Promise<OpenArchive> => {
    const { stateDir, cacheBytes, journalBytes } = settings;
    const directoryCacheBytes = Math.floor(cacheBytes / DIRECTORY_PART);
    const nodeCacheBytes = Math.floor(cacheBytes / NODE_PART);
    const store = await openBlobStore(backend.blobStore, {
      create: knownStoreAt(stateDir, location) === undefined,
      report,
    });
    const { blobs } = store;
    try {
      const state = await openArchiveState(stateDir, location, blobs, () =>
        crypto.getRandomValues(new Uint8Array(16)).toHex(),
      );
      let packRunner: PackRunner | undefined;
      try {
        const hasher = createHasher(backend.hash);
        if (hasher.fallbackReason !== undefined) {
          report("hash", `blocks are hashed with the slow ${hasher.implementation}: ${hasher.fallbackReason}`);
        }
        const disk = withReserve(realDisk, join(state.directory, "reserve"));
        const compression = createCompression();
        const compresses = backend.compression === "lz4";
        const jobs = { hasher, compression: compresses ? compression : undefined, packBytes: PACK_TARGET_BYTES };
        packRunner = workerRunner({ ...jobs, report });
        const archive = await openArchive({
          disk,
          stateDirectory: state.directory,
          blobs,
          hasher,
          compression,
          compresses,
          packBytes: PACK_TARGET_BYTES,
          ...(store.packsAtOnce === undefined ? {} : { packsAtOnce: store.packsAtOnce }),
          isStoreAway: () => store.isAway(),
          lateRequests: backend.blobStore.type !== "file",
          packRunner,
          directoryCacheBytes,
          nodeCacheBytes,
          cacheBytes: cacheBytes - directoryCacheBytes - nodeCacheBytes,
          journalCheckpointBytes: journalBytes / CHECKPOINT_PART,
          journalLimitBytes: journalBytes,
          journalSegmentBytes: Math.min(SEGMENT_BYTES, journalBytes / SEGMENTS_LEAST),
          firmware: VERSION.slice(0, 8),
          storeId: state.id,
          host: hostname(),
          nowMs: Date.now,
          random: (bytes) => void crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>),
          report,
          progress: progressLog(blobs.description),
        });
        disk.started();
        return {
          backend,
          archive,
          store,
          users: 0,
          async close() {
            const unhurried = store.hurry();
            try {
              await archive.close();
            } finally {
              state.unlock();
              await blobs.close();
              unhurried();
            }
          },
        };
      } catch (error) {
        await packRunner?.close();
        state.unlock();
        throw error;
      }
    } catch (error) {
      await blobs.close();
      throw error;
    }
  };

  /** One store at a time is opened or closed, so that one that is being closed is not opened too early. */
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const done = turn.then(work);
    turn = done.catch(() => {});
    return done;
  };

  return {
    open: (backend) =>
      inTurn(async () => {
        const location = blobStoreKey(backend.blobStore);
        let open = archives.get(location);
        if (open === undefined) {
          open = await openOne(location, backend);
          archives.set(location, open);
        }
        for (const key of ["hash", "compression"] as const) {
          if (open.backend[key] === backend[key]) continue;
          throw new Error(
            `${key} = "${backend[key]}", and another target of ${open.archive.description} has "${open.backend[key]}": ` +
              `the targets of one store share its blocks, so give them the same ${key}`,
          );
        }
        open.users++;
        return open.archive;
      }),
    release(backend) {
      const open = archives.get(blobStoreKey(backend.blobStore));
      if (open !== undefined) open.users--;
    },
    list: () => Array.from(archives.values(), ({ archive }) => archive),
    remote: (archive) => [...archives.values()].find((open) => open.archive === archive)?.store.remote(),
    closeUnused: () =>
      inTurn(async () => {
        const failures: unknown[] = [];
        for (const [location, open] of archives) {
          if (open.users > 0) continue;
          archives.delete(location);
          await open.close().catch((error: unknown) => void failures.push(error));
        }
        if (failures.length > 0) throw failures[0];
      }),
  };
}

/** Says every few seconds how far long work has come. */
function progressLog(store: string): (what: string, done: number, total: number) => void {
  let nextMs = performance.now() + PROGRESS_EVERY_MS;
  return (what, done, total) => {
    if (performance.now() < nextMs) return;
    nextMs = performance.now() + PROGRESS_EVERY_MS;
    log.info(`${store}: ${what}, ${done} of ${total}`);
  };
}
