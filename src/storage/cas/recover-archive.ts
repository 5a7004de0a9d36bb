/**
 * Makes the state directory of an archive from its blob store alone, for a host that has lost its own or takes the store
 * over from another. docs/decisions/0008-one-writer.md says why in this order.
 */
import { join } from "node:path";
import type { Compression } from "../../base/compression.ts";
import { createHasher, type HashAlgorithm } from "../../base/hash.ts";
import type { BlobStore } from "../../blob/blob-store.ts";
import { SECTOR_BYTES } from "../block-storage.ts";
import { checkRoots } from "./check-roots.ts";
import { removeIfThere } from "./checked-file.ts";
import { writeCheckpointFile } from "./checkpoint-file.ts";
import type { Disk } from "./disk.ts";
import { createRecord, newestOf } from "./kept-volume.ts";
import { openJournal } from "./open-journal.ts";
import { rootsIn } from "./recover-volumes.ts";
import type { StoredRecord } from "./root-record.ts";
import type { RootsFound, VolumeRoots } from "./root-refs.ts";
import { toSnapshot, type Snapshot } from "./snapshot.ts";
import { openStoreIndex } from "./store-index.ts";
import { NodeCache } from "./tree/node-cache.ts";
import { NodeReader } from "./tree/node-reader.ts";
import { intactBlocks } from "./verify/intact-blocks.ts";
import { uniqueSoFar } from "./volume-changes.ts";
import { laterWriter, makeClaim, newWriterId } from "./writer-claim.ts";
import { readOwnClaim, writeOwnClaim, type OwnClaim } from "./writer-file.ts";
import { describeWriter, newestWriter, type Writer } from "./writer-ref.ts";

const NODE_CACHE_BYTES = 2 ** 22;

export interface RecoverArchiveOptions {
  readonly disk: Disk;
  /** Where the state is made. It exists, and only this process uses it. */
  readonly stateDirectory: string;
  readonly blobs: BlobStore;
  readonly compression: Compression;
  /** Name of this host, for whoever wants to write the store as well. */
  readonly host: string;
  /** Names of volumes of which the store must have one at least: it would be another store without any. */
  readonly wanted: readonly string[];
  /** Takes a store over from another writer though the store cannot keep two writers apart. */
  readonly takeOver: boolean;
  /** Goes on where something is missing that the roots refer to: what can be read is served. */
  readonly acceptDamage: boolean;
  readonly indexMemtableEntries?: number;
  readonly nowMs: () => number;
  readonly random: (bytes: Uint8Array) => void;
  readonly report: (key: string, message: string) => void;
  /** Told of long work. */
  readonly progress: (what: string, done: number, total: number) => void;
}

export interface RecoveredVolume {
  readonly name: string;
  readonly volumeId: string;
  readonly sizeBytes: number;
  /** What was written up to then is there, in milliseconds since 1970. */
  readonly asOfMs: number;
  /** Oldest first. */
  readonly snapshots: readonly Snapshot[];
}

export interface RecoveredArchive {
  readonly store: string;
  readonly epoch: number;
  /** Who wrote the store before, where anybody has claimed it. */
  readonly before: Writer | undefined;
  readonly packCount: number;
  readonly storedBytes: number;
  readonly volumes: readonly RecoveredVolume[];
}

export interface ArchiveRecovery {
  /** Takes the store over and completes the state. Rejects where another host takes it over at the same time. */
  finish(): Promise<RecoveredArchive>;
}

/** Whether a state directory has anything that a recovery must not throw away. Rejects where that cannot be told. */
export async function hasArchiveState(disk: Disk, stateDirectory: string): Promise<boolean> {
  const own = await readOwnClaim(disk, stateDirectory);
  if (own !== undefined) return own.state === "writing";
  const names = await disk.list(stateDirectory);
  return names.includes("checkpoint.json") || (await journalFiles(disk, stateDirectory)).length > 0;
}

/**
 * Looks whether the store is whole as far as that can be told quickly, and makes the index. Changes nothing of the
 * store. Rejects where the state directory has a state, where the store is not whole or another one than wanted, or
 * must not be taken over.
 */
export async function beginRecovery(options: RecoverArchiveOptions): Promise<ArchiveRecovery> {
  const { disk, stateDirectory, blobs } = options;
  if (await hasArchiveState(disk, stateDirectory)) throw new Error(stateIsThere(options));
  const begun = await readOwnClaim(disk, stateDirectory);
  const newest = await newestWriter(blobs);
  const isOurs = begun !== undefined && newest?.epoch === begun.epoch && newest.writerId === begun.writerId;
  if (newest !== undefined && !isOurs && !blobs.atomicRefs && !options.takeOver) {
    throw new Error(
      `${blobs.description} was written last by ${describeWriter(newest)}, and is of a kind that cannot keep two writers ` +
        `apart. Make sure that voe is stopped there for good, then say --take-over`,
    );
  }
  const found = await rootsIn(blobs);
  refuseWrong(options, found);
  if (found.volumes.size === 0) await refuseRootless(blobs, newest);
  for (const { name, reason } of [...found.volumes.values()].flatMap(({ refused }) => refused)) {
    options.report(
      `ref:${name}`,
      `${name} of ${blobs.description} ${reason}: if it is a snapshot, that cannot be found`,
    );
  }
  const own: OwnClaim = isOurs
    ? begun
    : { epoch: (newest?.epoch ?? 0) + 1, writerId: newWriterId(options.random), state: "recovering" };
  // From here on the directory says what it is.
  await writeOwnClaim(disk, stateDirectory, own);
  const whole = await lookAtStore(options, found);

  return {
    async finish() {
      if (!isOurs) await claim(options, own, newest);
      // Only now: whatever is published from now on collides with what is published here.
      const now = await rootsIn(blobs);
      refuseWrong(options, now);
      const isNews = [...now.volumes].some(
        ([id, { newest }]) => newest?.checksum !== found.volumes.get(id)?.newest?.checksum,
      );
      const size = isNews ? await lookAtStore(options, now) : whole;
      const volumes: RecoveredVolume[] = [];
      const newestRecords: Record<string, number> = {};
      let aboveSequence = 0;
      for (const roots of now.volumes.values()) {
        const { record } = await takeVolume(roots, options);
        newestRecords[record.volumeId] = record.sequence;
        for (const { record: each } of [{ record }, ...roots.snapshots]) {
          aboveSequence = Math.max(aboveSequence, each.journalSequence);
        }
        volumes.push({
          name: record.volumeName,
          volumeId: record.volumeId,
          sizeBytes: record.sectorCount * SECTOR_BYTES,
          asOfMs: record.createdMs,
          snapshots: roots.snapshots.map(toSnapshot),
        });
      }
      await makeJournal(options, aboveSequence, newestRecords);
      const later = await laterWriter(blobs, own);
      if (later !== undefined) throw new Error(overtaken(blobs, later));
      await writeOwnClaim(disk, stateDirectory, { ...own, state: "writing" });
      return {
        store: blobs.description,
        epoch: own.epoch,
        before: isOurs ? undefined : newest,
        ...size,
        volumes: volumes.toSorted((a, b) => (a.name < b.name ? -1 : 1)),
      };
    },
  };
}

const stateIsThere = ({ blobs, stateDirectory }: RecoverArchiveOptions): string =>
  `${stateDirectory} has the state of ${blobs.description} already, with the journal, which may have answered writes that ` +
  `the store has not: nothing has to be recovered, voe serve goes on with it. Only where voe serve says that it is lost ` +
  `or was taken over, move that directory away and run voe recover again`;

const overtaken = (blobs: BlobStore, by: Writer | "damaged"): string =>
  `${blobs.description} is being taken over by ${by === "damaged" ? "another host" : describeWriter(by)} as well: let that ` +
  `one have it, or stop it and run voe recover again`;

/** Throws where the roots are not those of a whole store, or of another one. */
function refuseWrong({ blobs, wanted }: RecoverArchiveOptions, found: RootsFound): void {
  const volumes = Array.from(found.volumes.values(), newestOf);
  const names = volumes.map(({ record }) => record.volumeName);
  if (names.length === 0 || wanted.length === 0 || wanted.some((name) => names.includes(name))) return;
  throw new Error(
    `${blobs.description} has the volumes ${names.join(", ")} and none of those that the configuration wants in it, ` +
      `${wanted.join(", ")}: is it the right store? Set volume = "..." in [target.cas] to one that it has`,
  );
}

/** Throws unless the host that claimed the store was lost before it had made its first volume. */
async function refuseRootless(blobs: BlobStore, claimed: Writer | undefined): Promise<void> {
  let isEmpty = true;
  for await (const _ of blobs.list()) {
    isEmpty = false;
    break;
  }
  if (isEmpty && claimed !== undefined) return;
  throw new Error(
    `${blobs.description} has no volume${isEmpty ? "" : ", though it has packs"}: there is nothing to recover. Is it the ` +
      `right store, or an incomplete copy? For a new one run voe serve`,
  );
}

const hashOf = (found: RootsFound): HashAlgorithm => newestOf([...found.volumes.values()][0]!).record.hash;

/** Brings the index up to the packs that the store has, and looks for what the roots refer to. */
async function lookAtStore(
  options: RecoverArchiveOptions,
  found: RootsFound,
): Promise<Pick<RecoveredArchive, "packCount" | "storedBytes">> {
  const { blobs, progress, report } = options;
  if (found.volumes.size === 0) return { packCount: 0, storedBytes: 0 };
  const hasher = createHasher(hashOf(found));
  const { index, storedBytes } = await openStoreIndex({
    ...options,
    hasher,
    progress: (done, total) => progress("reading the directories of packs into the index", done, total),
    // It is what is expected.
    report: (key, message) => void (key === "index:built" || report(key, message)),
  });
  const blocks = intactBlocks({ ...options, hasher, index });
  try {
    const { nodes, missingNodes, missingBlocks, firstMissing, ...looked } = await checkRoots({
      found,
      reader: new NodeReader(blocks.nodes, new NodeCache(NODE_CACHE_BYTES)),
      index,
      progress: (done, total) => progress("looking at the trees of volumes and snapshots", done, total),
    });
    if (firstMissing !== undefined) {
      const text =
        `${blobs.description} is not whole: of ${nodes} tree nodes and ${looked.blocks} blocks that were looked for, ` +
        `${missingNodes} and ${missingBlocks} are missing or damaged, the first being ${firstMissing}`;
      if (!options.acceptDamage) {
        throw new Error(
          `${text}. Is it an incomplete copy? Restore what is missing; or say --damaged to have what is left, where reads ` +
            `of what is missing will fail`,
        );
      }
      report("recover:damage", text);
    }
    return { packCount: index.status().packCount, storedBytes };
  } finally {
    blocks.close();
    await index.close();
  }
}

async function claim(options: RecoverArchiveOptions, own: OwnClaim, before: Writer | undefined): Promise<void> {
  const { blobs, host, nowMs } = options;
  const newest = await newestWriter(blobs);
  if (newest !== undefined && newest.epoch !== before?.epoch) throw new Error(overtaken(blobs, newest));
  await makeClaim(blobs, { epoch: own.epoch, writerId: own.writerId, host, claimedMs: nowMs() });
}

/**
 * Publishes the volume once more, under the next number that is free: what an earlier writer publishes from then on
 * finds that number taken. What it has published until then is the volume.
 */
async function takeVolume(roots: VolumeRoots, { blobs }: RecoverArchiveOptions): Promise<StoredRecord> {
  let newest = newestOf(roots);
  let sequence = roots.nextSequence;
  for (;;) {
    const { stored, isOurs } = await createRecord(blobs, {
      ...newest.record,
      kind: "checkpoint",
      description: "",
      sequence,
      parent: newest.checksum,
      uniqueBytes: uniqueSoFar(newest.record),
    });
    if (isOurs) return stored;
    newest = stored;
    sequence++;
  }
}

/** Makes a journal whose numbers are higher than those that the roots cover, and the checkpoint that belongs to it. */
async function makeJournal(
  { disk, stateDirectory, random, report }: RecoverArchiveOptions,
  aboveSequence: number,
  volumes: Readonly<Record<string, number>>,
): Promise<void> {
  const directory = join(stateDirectory, "journal");
  // Of a recovery that was interrupted: nothing was ever served with it.
  for (const name of await journalFiles(disk, stateDirectory)) removeIfThere(disk, join(directory, name));
  disk.makeDirectory(directory);
  await disk.syncDirectory(directory);
  const { journal } = await openJournal(disk, directory, { aboveSequence, random, report }, () => {});
  const last = { journalId: journal.id, fromSequence: journal.nextSequence, volumes };
  await journal.close();
  await writeCheckpointFile(disk, stateDirectory, last);
}

async function journalFiles(disk: Disk, stateDirectory: string): Promise<string[]> {
  const names = await disk.list(stateDirectory);
  return names.includes("journal") ? disk.list(join(stateDirectory, "journal")) : [];
}
