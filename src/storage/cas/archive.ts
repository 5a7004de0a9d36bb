/**
 * An archive store, opened: its volumes, the journal they share, and the checkpoints that bring what is in the journal
 * into packs. Everything but the journal comes back from the blob store alone.
 */
import { join } from "node:path";
import { eventLoop } from "../../base/event-loop.ts";
import type { Compression } from "../../base/compression.ts";
import type { Hasher } from "../../base/hash.ts";
import { BlobStoreError, type BlobStore } from "../../blob/blob-store.ts";
import { SECTOR_BYTES, type BlockStorage } from "../block-storage.ts";
import type { SyncMode } from "../sync-policy.ts";
import { readCheckpointFile, writeCheckpointFile } from "./checkpoint-file.ts";
import type { Disk } from "./disk.ts";
import { openIndex, type BlockIndex, type PackEntries } from "./index/block-index.ts";
import { DISCARD, WRITE } from "./journal-format.ts";
import type { Journal } from "./journal.ts";
import { openJournal } from "./open-journal.ts";
import { packBlobName } from "./pack-format.ts";
import { packedBlocks } from "./packed-blocks.ts";
import { readPackDirectory } from "./read-pack-directory.ts";
import { encodeRootRecord, parseRootRecord, type RootRecord, type StoredRecord } from "./root-record.ts";
import { findRoots, rootRefName, ROOTS_PREFIX, type VolumeRoots } from "./root-refs.ts";
import { NodeCache } from "./tree/node-cache.ts";
import { NodeReader } from "./tree/node-reader.ts";
import { VolumeTree } from "./tree/volume-tree.ts";
import { openVolume, type Volume } from "./volume.ts";

export interface ArchiveVolumeOptions {
  /** Name of the volume in its records. */
  readonly name: string;
  /** Size where the volume is made, or to grow it to. */
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly sync: SyncMode;
}

export interface ArchiveOptions {
  readonly disk: Disk;
  /** Where journal and index are kept. It exists. */
  readonly stateDirectory: string;
  readonly blobs: BlobStore;
  readonly hasher: Hasher;
  readonly compression: Compression;
  readonly compresses: boolean;
  readonly blockBytes: number;
  readonly volumes: readonly ArchiveVolumeOptions[];
  /** Memory for tree nodes, in bytes. */
  readonly nodeCacheBytes: number;
  /** Size of the journal at which a checkpoint begins, and at which writes wait for one. */
  readonly journalCheckpointBytes: number;
  readonly journalLimitBytes: number;
  readonly journalSegmentBytes?: number;
  readonly packBytes?: number;
  readonly firmware: string;
  readonly nowMs: () => number;
  readonly random: (bytes: Uint8Array) => void;
  readonly report: (key: string, message: string) => void;
}

export interface Archive {
  /** The disk of a volume that was asked for. */
  volume(name: string): BlockStorage;
  /** Brings everything answered so far into the blob store. Calls that come meanwhile share the next one. */
  checkpoint(): Promise<void>;
  close(): Promise<void>;
}

/** How often it is looked whether a checkpoint is due, in milliseconds. */
const CHECK_MS = 100;

interface Served {
  readonly name: string;
  readonly volumeId: string;
  readonly volume: Volume;
  readonly tree: VolumeTree;
  newest: StoredRecord | undefined;
  nextSequence: number;
  /** The last record of the journal that what was set apart holds. */
  frozenSequence: number;
  coveredSequence: number;
}

/** The volume's number in the journal's records: the first 32 bits of its id. */
const numberOf = (volumeId: string): number => Number.parseInt(volumeId.slice(0, 8), 16);

async function* packsOf(blobs: BlobStore, hasher: Hasher, names: Iterable<string>): AsyncGenerator<PackEntries> {
  for (const blob of names) {
    const name = Uint8Array.fromHex(blob);
    const read = await readPackDirectory(blobs, name, hasher);
    // A pack that cannot be read keeps the archive from knowing what it has: that is not for a guess.
    if ("reason" in read) throw new Error(`pack ${blob} of ${blobs.description} is damaged: ${read.reason}`);
    yield { name, hashes: read.directory.hashes() };
  }
}

/** Brings the index into line with the packs that the store has. */
async function reconcile(index: BlockIndex, blobs: BlobStore, hasher: Hasher): Promise<void> {
  const there = new Set<string>();
  for await (const { name } of blobs.list()) there.add(name);
  await index.forgetPacks(index.packNames().filter((name) => !there.has(packBlobName(name))));
  const unknown = [...there].filter((name) => !index.holds(Uint8Array.fromHex(name)));
  await index.fill(packsOf(blobs, hasher, unknown));
}

async function readRef(blobs: BlobStore, name: string): Promise<Uint8Array | undefined> {
  try {
    return await blobs.readRef(name);
  } catch (error) {
    if (error instanceof BlobStoreError && error.failure === "missing") return undefined;
    throw error;
  }
}

/** Opens a store and replays its journal. Rejects where anything is missing or damaged that cannot be rebuilt. */
export async function openArchive(options: ArchiveOptions): Promise<Archive> {
  const { disk, stateDirectory, blobs, hasher, blockBytes, report } = options;
  const found = await findRoots(await blobs.listRefs(ROOTS_PREFIX), (name) => readRef(blobs, name));
  for (const { name, reason } of found.foreign) report(`ref:${name}`, `${name} of ${blobs.description} ${reason}`);

  const index = await openIndex(
    { disk, directory: join(stateDirectory, "index"), pause: () => eventLoop.turn() },
    { damaged: (error) => report("index", error.message), report },
  );
  await reconcile(index, blobs, hasher);
  const blocks = packedBlocks({ ...options, index });
  const reader = new NodeReader(blocks.nodes, new NodeCache(options.nodeCacheBytes));

  const served = new Map<number, Served>();
  let journal: Journal | undefined;
  let running: Promise<void> | undefined;
  let next: Promise<void> | undefined;
  let closing = false;

  /** Creates the record's ref; where that exists, it must be ours, of an answer that was lost. */
  const publish = async (entry: Served, root: Uint8Array, journalSequence: number): Promise<void> => {
    const record: RootRecord = {
      kind: "checkpoint",
      volumeId: entry.volumeId,
      volumeName: entry.name,
      sequence: entry.nextSequence,
      parent: entry.newest?.checksum ?? null,
      root: root.toHex(),
      hash: hasher.algorithm,
      blockSizeBytes: blockBytes,
      sectorCount: entry.volume.info.sectorCount,
      createdMs: options.nowMs(),
      description: "",
      journalSequence,
      logicalBytes: 0,
      uniqueBytes: 0,
    };
    const bytes = encodeRootRecord(record);
    const name = rootRefName(record);
    if ((await blobs.createRef(name, bytes)) === "exists" && Buffer.compare(await blobs.readRef(name), bytes) !== 0) {
      throw new Error(`${name} of ${blobs.description} was written by another server: this one must not go on writing`);
    }
    const stored = parseRootRecord(bytes);
    if ("reason" in stored) throw new Error(`a root record that was just written ${stored.reason}`);
    entry.newest = stored;
    entry.nextSequence++;
    entry.coveredSequence = journalSequence;
  };

  const checkpointNow = async (): Promise<void> => {
    const { nextSequence } = journal!;
    const changed: Served[] = [];
    for (const entry of served.values()) {
      const isRetry = entry.frozenSequence >= 0;
      if (!entry.volume.freeze()) {
        // Everything of it before now is in the tree.
        entry.coveredSequence = nextSequence - 1;
        continue;
      }
      if (!isRetry) entry.frozenSequence = nextSequence - 1;
      changed.push(entry);
    }
    if (changed.length === 0) return;
    journal!.rotate();
    // A root must not say that it covers records which power loss could still take away, and others after them.
    await journal!.sync();
    for (const entry of changed) {
      const root = await entry.volume.store();
      await publish(entry, root, entry.frozenSequence);
      entry.frozenSequence = -1;
      entry.volume.thaw();
    }
    const fromSequence = Math.min(...[...served.values()].map((entry) => entry.coveredSequence)) + 1;
    await writeCheckpointFile(disk, stateDirectory, { journalId: journal!.id, fromSequence });
    await journal!.release(fromSequence);
  };

  const checkpoint = (): Promise<void> => {
    if (running === undefined) {
      running = checkpointNow().finally(() => {
        running = undefined;
      });
      return running;
    }
    next ??= running
      .catch(() => {})
      .then(() => {
        next = undefined;
        return checkpoint();
      });
    return next;
  };

  const openOne = (name: string, roots: VolumeRoots | undefined, wanted: ArchiveVolumeOptions | undefined): Served => {
    const newest = roots?.newest;
    if (roots !== undefined && newest === undefined) {
      throw new Error(`volume ${roots.volumeId} has no record that can be read: ${roots.refused[0]?.reason}`);
    }
    if (roots !== undefined && roots.refusedNewer.length > 0) {
      throw new Error(`the newest record of volume ${name} is damaged: ${roots.refusedNewer[0]!.reason}`);
    }
    if (newest !== undefined && newest.record.blockSizeBytes !== blockBytes) {
      throw new Error(
        `volume ${name} has blocks of ${newest.record.blockSizeBytes} bytes, configured are ${blockBytes}`,
      );
    }
    const bytes = new Uint8Array(16);
    options.random(bytes);
    const volumeId = newest?.record.volumeId ?? bytes.toHex();
    const sectorCount = Math.max(newest?.record.sectorCount ?? 0, (wanted?.sizeBytes ?? 0) / SECTOR_BYTES);
    const blockCount = Math.ceil((sectorCount * SECTOR_BYTES) / blockBytes);
    const oldCount =
      newest === undefined ? blockCount : Math.ceil((newest.record.sectorCount * SECTOR_BYTES) / blockBytes);
    const root = newest === undefined ? undefined : Uint8Array.fromHex(newest.record.root);
    const tree = new VolumeTree(reader, oldCount, root);
    const volume = openVolume({
      id: numberOf(volumeId),
      info: {
        sectorCount,
        readOnly: wanted?.readOnly ?? true,
        model: "voe archive",
        serial: volumeId.slice(0, 20),
        firmware: options.firmware,
      },
      sync: wanted?.sync ?? { kind: "none" },
      // The journal is opened after its volumes, to which it is replayed.
      get journal() {
        return journal!;
      },
      blocks,
      tree,
      report,
      makeRoom: checkpoint,
    });
    return {
      name,
      volumeId,
      volume,
      tree,
      newest,
      nextSequence: roots?.nextSequence ?? 1,
      frozenSequence: -1,
      coveredSequence: newest?.record.journalSequence ?? -1,
    };
  };

  const keep = (entry: Served): void => {
    const number = entry.volume.id;
    if (served.has(number))
      throw new Error(`volumes ${entry.name} and ${served.get(number)!.name} have the same number`);
    served.set(number, entry);
  };

  // Volumes that nobody asked for are opened too: the journal may hold writes to them.
  for (const roots of found.volumes.values()) {
    const name = roots.newest?.record.volumeName ?? roots.volumeId;
    keep(
      openOne(
        name,
        roots,
        options.volumes.find((wanted) => wanted.name === name),
      ),
    );
  }
  const isThere = (name: string): boolean => [...served.values()].some((entry) => entry.name === name);
  const made: Served[] = [];
  for (const wanted of options.volumes) {
    if (isThere(wanted.name)) continue;
    const entry = openOne(wanted.name, undefined, wanted);
    keep(entry);
    made.push(entry);
  }
  for (const { tree, volume } of served.values()) {
    const blockCount = Math.ceil((volume.info.sectorCount * SECTOR_BYTES) / blockBytes);
    if (blockCount > tree.blockCount) await tree.grow(blockCount);
  }

  const directory = join(stateDirectory, "journal");
  disk.makeDirectory(directory);
  const expected = await readCheckpointFile(disk, stateDirectory);
  const isCovered = [...served.values()].some(({ newest }) => (newest?.record.journalSequence ?? 0) > 0);
  if (isCovered && (await disk.list(directory)).length === 0) {
    // A journal that began anew would count from 1, and its records would be taken for those that the roots cover.
    throw new Error(
      `${directory} holds no journal, and ${blobs.description} has volumes that were written through one: the state ` +
        `directory is another one, or is lost, and with it what was answered since the last checkpoint`,
    );
  }
  const opened = await openJournal(
    disk,
    directory,
    {
      limitBytes: options.journalLimitBytes,
      ...(options.journalSegmentBytes === undefined ? {} : { segmentBytes: options.journalSegmentBytes }),
      ...(expected === undefined ? {} : { expected }),
      random: options.random,
      report,
    },
    (record) => {
      if (record.kind !== WRITE && record.kind !== DISCARD) return;
      const entry = served.get(record.volume);
      if (entry === undefined) {
        throw new Error(`the journal in ${directory} has writes to a volume that ${blobs.description} does not have`);
      }
      if (record.sequence <= (entry.newest?.record.journalSequence ?? -1)) return;
      if (record.kind === WRITE) entry.volume.replayWrite(record.firstSector, record.sectorCount, record.place);
      else entry.volume.replayDiscard(record.firstSector, record.sectorCount);
    },
  );
  journal = opened.journal;
  // A volume has a record before it has a write, so that the journal never knows one that the store does not.
  for (const entry of made) await publish(entry, entry.tree.committedRoot, journal.nextSequence - 1);

  const stopWatching = eventLoop.every(CHECK_MS, () => {
    if (closing || running !== undefined || opened.journal.sizeBytes < options.journalCheckpointBytes) return;
    checkpoint().catch((error: Error) => report("checkpoint", `a checkpoint failed: ${error.message}`));
  });

  return {
    volume(name) {
      const entry = [...served.values()].find((each) => each.name === name);
      if (entry === undefined) throw new Error(`the archive has no volume ${name}`);
      return entry.volume;
    },
    checkpoint,
    async close() {
      closing = true;
      stopWatching();
      await running?.catch(() => {});
      await next?.catch(() => {});
      for (const { volume } of served.values()) await volume.close();
      await checkpoint();
      await opened.journal.close();
      await index.close();
      await blocks.close();
    },
  };
}
