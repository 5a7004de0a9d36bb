/** Reading blocks out of packs: together where they are neighbours there, verified one by one. */
import { allocateMemory, freeMemory } from "../../../ffi/memory.ts";
import type { Compression } from "../../base/compression.ts";
import { DIGEST_BYTES, isZeroDigest, type Hasher } from "../../base/hash.ts";
import type { Memory } from "../../base/memory.ts";
import type { BlobStore } from "../../blob/blob-store.ts";
import { LATER, MEDIUM_ERROR, OK, type StorageStatus } from "../block-storage.ts";
import type { BlockFinder, Found } from "./block-finder.ts";
import type { BlocksUnderWay } from "./blocks-under-way.ts";
import type { EntryReader } from "./entry-reader.ts";
import { FOUND, LATER as LOOK_LATER, type BlockIndex } from "./index/block-index.ts";
import { createPlaces } from "./index/places.ts";
import type { KnownPack, PackDirectories } from "./pack-directories.ts";
import { packBlobName } from "./pack-format.ts";
import { readEntry } from "./pack.ts";
import { createReadAhead } from "./read-ahead.ts";

/** Most bytes that are read from a pack in one piece. */
const RUN_MOST_BYTES = 256 * 1024;

/** How often a block is read before it is called damaged. */
const ATTEMPTS = 2;

export interface BlockReaderOptions {
  readonly blobs: BlobStore;
  readonly index: BlockIndex;
  readonly hasher: Hasher;
  readonly compression: Compression;
  readonly directories: PackDirectories;
  readonly finder: BlockFinder;
  readonly entries: EntryReader;
  readonly underWay: BlocksUnderWay;
  readonly report: (key: string, message: string) => void;
}

/** What `Blocks` says of the methods of these names; blocks of every length are read here. */
export interface BlockReader {
  tryReadMany(hashes: Uint8Array, count: number, lengthBytes: number, target: Memory, at: number): StorageStatus;
  readMany(hashes: Uint8Array, count: number, lengthBytes: number, target: Memory, at: number): Promise<StorageStatus>;
  close(): void;
}

/** Blocks that are neighbours in a pack and in the target. Kept and reused on the way that does not wait. */
interface Run {
  pack: KnownPack | undefined;
  /** Number of the first entry. */
  ordinal: number;
  count: number;
  offsetBytes: number;
  storedBytes: number;
  /** Number of the first block among those that were asked for. */
  first: number;
}

const emptyRun = (): Run => ({ pack: undefined, ordinal: 0, count: 0, offsetBytes: 0, storedBytes: 0, first: 0 });

const begin = (run: Run, { pack, ordinal }: Found, first: number): void => {
  run.pack = pack;
  run.ordinal = ordinal;
  run.count = 1;
  run.offsetBytes = pack!.directory.offsetBytes(ordinal);
  run.storedBytes = pack!.directory.storedBytes(ordinal);
  run.first = first;
};

/** Adds what was found to the run, if it is its next block. Entries of a pack lie back to back. */
const extend = (run: Run, { pack, ordinal }: Found): boolean => {
  if (run.pack !== pack || ordinal !== run.ordinal + run.count) return false;
  const storedBytes = run.storedBytes + pack!.directory.storedBytes(ordinal);
  if (storedBytes > RUN_MOST_BYTES) return false;
  run.count++;
  run.storedBytes = storedBytes;
  return true;
};

/** Whether no block of the run is compressed: then it is read straight to where it belongs. */
const isPlain = (run: Run, lengthBytes: number): boolean => run.storedBytes === run.count * lengthBytes;

const hashOf = (hashes: Uint8Array, block: number): Uint8Array =>
  hashes.subarray(block * DIGEST_BYTES, (block + 1) * DIGEST_BYTES);

export function createBlockReader(options: BlockReaderOptions): BlockReader {
  const { blobs, index, hasher, compression, directories, finder, entries, underWay, report } = options;
  const found: Found = { pack: undefined, ordinal: 0 };
  const ahead = createReadAhead(blobs, directories);
  const scratch = allocateMemory(RUN_MOST_BYTES);
  const tryRun = emptyRun();

  /** Decodes and verifies the run's blocks; the number of the first one that is damaged, or its count. */
  const deliver = (run: Run, lengthBytes: number, from: Memory, fromAt: number, target: Memory, at: number): number => {
    const { directory } = run.pack!;
    for (let i = 0; i < run.count; i++) {
      const entry = run.ordinal + i;
      const entryAt = fromAt + directory.offsetBytes(entry) - run.offsetBytes;
      const to = at + (run.first + i) * lengthBytes;
      if (readEntry(directory, entry, from, entryAt, target, to, hasher, compression) !== "verified") return i;
    }
    return run.count;
  };

  const tryReadRun = (run: Run, lengthBytes: number, target: Memory, at: number): StorageStatus => {
    const inPlace = isPlain(run, lengthBytes);
    const from = inPlace ? target : scratch;
    const fromAt = inPlace ? at + run.first * lengthBytes : 0;
    ahead.note(run.pack!, run.offsetBytes, run.storedBytes);
    if (!blobs.tryGet(run.pack!.blobName, run.offsetBytes, run.storedBytes, from, fromAt)) return LATER;
    // What is damaged may be intact elsewhere, and has to be told of: the way that waits does both.
    return deliver(run, lengthBytes, from, fromAt, target, at) === run.count ? OK : LATER;
  };

  const reportDamage = (pack: KnownPack, ordinal: number): void => {
    finder.distrust(pack.number, ordinal);
    report(
      `block:${pack.blobName}`,
      `block ${pack.directory.hashOf(ordinal).toHex()} in pack ${pack.blobName} at byte ` +
        `${pack.directory.offsetBytes(ordinal)} is damaged. It is not served. Run voe verify to learn what is affected`,
    );
  };

  /** Reads one place that may have the block: whether it has, intact. */
  const readPlace = async (
    number: number,
    ordinal: number,
    hash: Uint8Array,
    lengthBytes: number,
    target: Memory,
    at: number,
  ): Promise<boolean> => {
    // Where the directory was worth reading for this block, it is in memory by now.
    if (directories.tryGet(number) === undefined) {
      if (await entries.read(number, ordinal, hash, 0, lengthBytes, target, at)) return true;
    }
    const pack = directories.tryGet(number) ?? (await directories.load(number));
    if (pack?.directory.holds(ordinal, hash, 0) !== true || pack.directory.plainBytes(ordinal) !== lengthBytes)
      return false;
    const storedBytes = pack.directory.storedBytes(ordinal);
    const from = allocateMemory(storedBytes);
    try {
      for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
        // What is cached on the way may be damaged where the medium is not.
        if (attempt > 0) await blobs.forgetCached(pack.blobName);
        await blobs.get(pack.blobName, pack.directory.offsetBytes(ordinal), storedBytes, from, 0);
        if (readEntry(pack.directory, ordinal, from, 0, target, at, hasher, compression) === "verified") return true;
      }
      reportDamage(pack, ordinal);
      return false;
    } finally {
      freeMemory(from);
    }
  };

  /** Reads a block from every place that may have it, until one has. */
  const readOne = async (hash: Uint8Array, lengthBytes: number, target: Memory, at: number): Promise<StorageStatus> => {
    const places = createPlaces();
    let reason = `is in no pack of ${blobs.description} that is intact`;
    try {
      if ((await index.lookup(hash, 0, places)) !== FOUND) places.count = 0;
    } catch (error) {
      places.count = 0;
      reason = `cannot be looked up: ${(error as Error).message}`;
    }
    for (let i = 0; i < places.count; i++) {
      try {
        if (await readPlace(places.packs[i]!, places.ordinals[i]!, hash, lengthBytes, target, at)) return OK;
      } catch (error) {
        const name = packBlobName(index.packName(places.packs[i]!));
        reason = `cannot be read from pack ${name}: ${(error as Error).message}`;
      }
    }
    target.bytes.fill(0, at, at + lengthBytes);
    report("block:unreadable", `block ${hash.toHex()} ${reason}. Run voe verify to learn what is affected`);
    return MEDIUM_ERROR;
  };

  const readRun = async (
    run: Run,
    hashes: Uint8Array,
    lengthBytes: number,
    target: Memory,
    at: number,
  ): Promise<StorageStatus> => {
    const inPlace = isPlain(run, lengthBytes);
    const from = inPlace ? target : allocateMemory(run.storedBytes);
    const fromAt = inPlace ? at + run.first * lengthBytes : 0;
    let intact = 0;
    try {
      await blobs.get(run.pack!.blobName, run.offsetBytes, run.storedBytes, from, fromAt);
      intact = deliver(run, lengthBytes, from, fromAt, target, at);
    } catch {
      // Each block for itself meets the same, and says it; some may be elsewhere too.
    } finally {
      if (!inPlace) freeMemory(from);
    }
    let status: StorageStatus = OK;
    for (let block = run.first + intact; block < run.first + run.count; block++) {
      const one = await readOne(hashOf(hashes, block), lengthBytes, target, at + block * lengthBytes);
      if (one !== OK) status = one;
    }
    return status;
  };

  /** What `finder.tryFind` does, asking the medium for the directory where that is worth while. */
  const find = async (hashes: Uint8Array, at: number, last: Found): Promise<boolean> => {
    const status = finder.tryFind(hashes, at, last);
    if (status !== LOOK_LATER) return status === FOUND;
    const places = createPlaces();
    try {
      if ((await index.lookup(hashes, at, places)) !== FOUND) return false;
      for (let i = 0; i < places.count; i++) {
        const number = places.packs[i]!;
        if (directories.tryGet(number) === undefined && !directories.isWorthLoading(number)) continue;
        const pack = directories.tryGet(number) ?? (await directories.load(number));
        if (pack?.directory.holds(places.ordinals[i]!, hashes, at) !== true) continue;
        last.pack = pack;
        last.ordinal = places.ordinals[i]!;
        return true;
      }
    } catch {
      // Reading it as a single block meets the same, and says it.
    }
    return false;
  };

  return {
    tryReadMany(hashes, count, lengthBytes, target, at) {
      const run = tryRun;
      run.count = 0;
      for (let block = 0; block < count; block++) {
        const hashAt = block * DIGEST_BYTES;
        if (isZeroDigest(hashes, hashAt)) {
          target.bytes.fill(0, at + block * lengthBytes, at + (block + 1) * lengthBytes);
          continue;
        }
        if (finder.tryFind(hashes, hashAt, found) !== FOUND) {
          if (underWay.tryRead(hashes, hashAt, lengthBytes, target, at + block * lengthBytes)) continue;
          return LATER;
        }
        if (found.pack!.directory.plainBytes(found.ordinal) !== lengthBytes) return LATER;
        if (run.count > 0 && run.first + run.count === block && extend(run, found)) continue;
        if (run.count > 0 && tryReadRun(run, lengthBytes, target, at) !== OK) return LATER;
        begin(run, found, block);
      }
      return run.count === 0 ? OK : tryReadRun(run, lengthBytes, target, at);
    },
    async readMany(hashes, count, lengthBytes, target, at) {
      const last: Found = { pack: undefined, ordinal: 0 };
      const parts: Promise<StorageStatus>[] = [];
      let run = emptyRun();
      const endRun = (): void => {
        if (run.count > 0) parts.push(readRun(run, hashes, lengthBytes, target, at));
        run = emptyRun();
      };
      for (let block = 0; block < count; block++) {
        const hashAt = block * DIGEST_BYTES;
        if (isZeroDigest(hashes, hashAt)) {
          target.bytes.fill(0, at + block * lengthBytes, at + (block + 1) * lengthBytes);
          continue;
        }
        if (underWay.tryRead(hashes, hashAt, lengthBytes, target, at + block * lengthBytes)) continue;
        const isFound = await find(hashes, hashAt, last);
        if (!isFound || last.pack!.directory.plainBytes(last.ordinal) !== lengthBytes) {
          parts.push(readOne(hashOf(hashes, block), lengthBytes, target, at + block * lengthBytes));
          continue;
        }
        if (run.count > 0 && run.first + run.count === block && extend(run, last)) continue;
        endRun();
        begin(run, last, block);
      }
      endRun();
      const statuses = await Promise.all(parts);
      return statuses.find((status) => status !== OK) ?? OK;
    },
    close: () => freeMemory(scratch),
  };
}
