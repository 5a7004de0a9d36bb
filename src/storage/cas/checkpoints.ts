/**
 * Checkpoints: what is in the journal becomes blocks, trees and records in the blob store, and the journal lets go of
 * it. Nothing durable ever refers to what is not: packs, then the tree, then the record, then the journal.
 */
import { writeCheckpointFile } from "./checkpoint-file.ts";
import { checkpointLog, type CheckpointStatistics } from "./checkpoint-log.ts";
import type { Disk } from "./disk.ts";
import type { Journal } from "./journal.ts";
import { type KeptVolume, type RecordStore } from "./kept-volume.ts";
import type { PackedBlocks } from "./packed-blocks.ts";
import type { RootRecord, StoredRecord } from "./root-record.ts";
import { clientsFirst } from "./pace.ts";
import type { NodeReader } from "./tree/node-reader.ts";
import { logicalBytesOf, uniqueSoFar } from "./volume-changes.ts";
import type { WriterClaim } from "./writer-claim.ts";

export interface CheckpointOptions {
  readonly disk: Disk;
  readonly stateDirectory: string;
  readonly journal: Journal;
  readonly blocks: PackedBlocks;
  readonly reader: NodeReader;
  readonly records: RecordStore;
  readonly claim: Pick<WriterClaim, "check">;
  readonly volumes: () => Iterable<KeptVolume>;
  /** Milliseconds since 1970. */
  readonly nowMs: () => number;
}

export interface Checkpoints {
  /** Brings everything answered so far into the blob store. Calls that come meanwhile share the next one. */
  run(): Promise<void>;
  /** The same, which nobody waits for: while the journal has room, clients go first. */
  runUnhurried(): Promise<void>;
  /** A record of kind "snapshot" that holds everything answered before this call, and nothing answered after. */
  snapshot(kept: KeptVolume, description: string): Promise<StoredRecord>;
  /** Runs a job when no other one runs: nothing is frozen or published meanwhile. */
  alone<T>(job: () => Promise<T>): Promise<T>;
  /** Whether anything runs or waits. */
  readonly isBusy: boolean;
  /** Refuses everything from now on, waits for what was asked for before, and makes a last checkpoint. */
  close(): Promise<void>;
  statistics(): CheckpointStatistics;
}

/**
 * How long a checkpoint that nobody waits for leaves a busy event loop to clients, in multiples of the time that it
 * works, by how much of the journal is taken. The journal is what absorbs a burst: only when it fills up do clients pay
 * for what becomes of their writes.
 */
const restAt = (fill: number): number => (fill < 0.5 ? 8 : fill < 0.75 ? 3 : fill < 0.9 ? 1 : 0);

/** Throws where the newest root of a volume lacks what could not be stored. */
export function assertWhole({ name, volume: { keptBlocks } }: KeptVolume): void {
  if (keptBlocks === 0) return;
  throw new Error(
    `volume ${name} has ${keptBlocks === 1 ? "a block" : `${keptBlocks} blocks`} that cannot be read and was written in ` +
      `part, so its present cannot be kept as it is: see the log, and write or discard such a block whole. An older ` +
      `snapshot can be cloned`,
  );
}

export function checkpoints(options: CheckpointOptions): Checkpoints {
  const { journal, blocks, reader, records, volumes } = options;
  const log = checkpointLog(options.nowMs, () => performance.now());
  let turn: Promise<unknown> = Promise.resolve();
  let waiting = 0;
  /** Those of them that somebody waits for. */
  let urgent = 0;
  let next: Promise<void> | undefined;
  let isClosed = false;

  const pace = clientsFirst(() => (urgent > 0 ? 0 : restAt(journal.sizeBytes / journal.limitBytes)));

  const queue = <T>(job: () => Promise<T>): Promise<T> => {
    if (isClosed) return Promise.reject(new Error("the archive is being closed"));
    waiting++;
    const done = turn.then(job).finally(() => waiting--);
    turn = done.catch(() => {});
    return done;
  };

  const alone = <T>(job: () => Promise<T>): Promise<T> => {
    urgent++;
    return queue(job).finally(() => urgent--);
  };

  /**
   * Ends the segment that is appended to, and begins to make all of them durable: a root must not say that it covers
   * records which power loss could still take away, and others after them. Blocks and nodes need not wait for that.
   */
  const coverJournal = (): Promise<void> => {
    journal.rotate();
    const covered = journal.sync();
    // Whoever publishes meets the failure, unless something else has failed before.
    covered.catch(() => {});
    return covered;
  };

  /** Stores what was set apart, and publishes a record of it once the journal is durable that it covers. */
  const storeFrozen = async (
    kept: KeptVolume,
    covered: Promise<void>,
    kind: RootRecord["kind"],
    description: string,
  ): Promise<StoredRecord> => {
    const before = blocks.counters.newBytes;
    const { record } = kept.newest!;
    const root = await kept.volume.store(pace);
    const { sectorCount, tree, keptBlocks } = kept.volume;
    await covered;
    // What was kept has new places in the journal, and the record to come says that the old ones are not needed.
    if (keptBlocks > 0) await journal.sync();
    const logicalBytes = await logicalBytesOf(kept, root, reader);
    const stored = await records.publish(kept, {
      // A snapshot without all that was written would be taken for one with it, once the blocks can be read again.
      kind: keptBlocks > 0 ? "checkpoint" : kind,
      description: keptBlocks > 0 ? "" : description,
      root: root.toHex(),
      sectorCount,
      journalSequence: kept.frozenSequence,
      createdMs: kept.frozenMs,
      logicalBytes,
      uniqueBytes: uniqueSoFar(record) + blocks.counters.newBytes - before,
    });
    tree.countAllocationFromHere();
    kept.frozenSequence = -1;
    kept.volume.thaw();
    return stored;
  };

  /** Sets apart what changed: true where something is, of now or of a checkpoint that failed. */
  const freeze = (kept: KeptVolume): boolean => {
    const isRetry = kept.frozenSequence >= 0;
    const { nextSequence } = journal;
    if (kept.volume.freeze()) {
      if (!isRetry) {
        kept.frozenSequence = nextSequence - 1;
        kept.frozenMs = options.nowMs();
      }
      return true;
    }
    // Everything of it before now is in the tree.
    kept.coveredSequence = nextSequence - 1;
    return false;
  };

  /** What `checkpoint.json` says of the volumes, as far as this process has written it. */
  let noted = "";
  const newestRecords = (): Record<string, number> =>
    Object.fromEntries(Array.from(volumes(), ({ volumeId, newest }) => [volumeId, newest!.record.sequence] as const));

  const release = async (): Promise<void> => {
    const covered = Array.from(volumes(), (kept) => kept.coveredSequence);
    const fromSequence = Math.min(journal.nextSequence - 1, ...covered) + 1;
    const records = newestRecords();
    const last = { journalId: journal.id, fromSequence, volumes: records };
    await writeCheckpointFile(options.disk, options.stateDirectory, last);
    noted = JSON.stringify(records);
    await journal.release(fromSequence);
  };

  const storeAll = async (): Promise<void> => {
    const isRetry = [...volumes()].some(({ frozenSequence }) => frozenSequence >= 0);
    await storeChanged();
    // That was what had been set apart by one that failed: there may be newer writes.
    if (isRetry) await storeChanged();
  };

  const storeChanged = async (): Promise<void> => {
    const changed = [...volumes()].filter(freeze);
    // Records of other kinds, of a restore for example, have to be noted too: then the loss of one is noticed.
    if (changed.length === 0 && noted === JSON.stringify(newestRecords())) return;
    await log.measured(async () => {
      // Nothing is uploaded for nothing.
      await options.claim.check();
      const covered = coverJournal();
      for (const kept of changed) await storeFrozen(kept, covered, "checkpoint", "");
      await release();
    });
  };

  return {
    get isBusy() {
      return waiting > 0;
    },
    alone,
    close() {
      const last = alone(storeAll);
      isClosed = true;
      return last;
    },
    runUnhurried: () => queue(storeAll),
    statistics: () => log.statistics(),
    run() {
      next ??= alone(() => {
        next = undefined;
        return storeAll();
      });
      return next;
    },
    snapshot: (kept, description) =>
      alone(async () => {
        // What an earlier checkpoint failed with comes first: it is older than what is set apart now.
        if (kept.frozenSequence >= 0) await storeAll();
        if (freeze(kept)) {
          return log.measured(async () => {
            await options.claim.check();
            const stored = await storeFrozen(kept, coverJournal(), "snapshot", description);
            await release();
            assertWhole(kept);
            return stored;
          });
        }
        const { record } = kept.newest!;
        const { root, sectorCount, journalSequence, logicalBytes } = record;
        return records.publish(kept, {
          kind: "snapshot",
          description,
          root,
          sectorCount,
          journalSequence,
          logicalBytes,
          uniqueBytes: uniqueSoFar(record),
        });
      }),
  };
}
