/** An archive whose blobs are in memory and whose journal is in a directory, with a clock that the test sets. */
import { createCompression } from "../../src/base/compression.ts";
import { createHasher } from "../../src/base/hash.ts";
import { createMemoryStore } from "../../src/blob/memory-store.ts";
import { openArchive, type Archive } from "../../src/storage/cas/archive.ts";
import { realDisk } from "../../src/storage/cas/real-disk.ts";

const MIB = 2 ** 20;

/** Opens a new store. `stateDirectory` exists. */
export const openMemoryArchive = (stateDirectory: string, nowMs: () => number): Promise<Archive> =>
  openArchive({
    disk: realDisk,
    stateDirectory,
    blobs: createMemoryStore(),
    hasher: createHasher("sha256"),
    compression: createCompression(),
    compresses: true,
    nodeCacheBytes: MIB,
    cacheBytes: MIB,
    journalCheckpointBytes: Number.POSITIVE_INFINITY,
    journalLimitBytes: 16 * MIB,
    journalSegmentBytes: MIB,
    packBytes: MIB,
    firmware: "1",
    nowMs,
    random: (bytes) => void crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>),
    report: () => {},
  });
