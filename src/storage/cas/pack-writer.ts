/**
 * From batches of new blocks to packs in the blob store. What was appended is never given up: where the store refuses a
 * pack it is kept, batches wait, and all of it is tried again with the next `emptyBatch` or `sync`.
 */
import type { BlobStore } from "../../blob/blob-store.ts";
import { allocateBatch, freeBatch, type BlockBatch } from "./block-batch.ts";
import type { BlocksUnderWay } from "./blocks-under-way.ts";
import { allocatePackSpace, freePackSpace, type PackSpace } from "./pack-builder.ts";
import { PackDirectory } from "./pack-directory.ts";
import { ENTRY, ENTRY_BYTES, FOOTER_BYTES, packBlobName, type BlockKind } from "./pack-format.ts";
import type { PackJobResult, PackState } from "./pack-jobs.ts";
import type { PackRunner } from "./pack-runner.ts";
import { asWords, HASH_WORDS } from "./tree/shape.ts";

/**
 * Packs that are filled or stored at a time unless configured: one is filled while others are hashed, written and told
 * to the index.
 */
const PACKS_AT_ONCE = 4;
/** Batches under way: one is filled, one hashed, one packed, and one waits so that nobody else does. */
const MOST_BATCHES = 4;

export interface PackWriterOptions {
  readonly runner: PackRunner;
  readonly blobs: BlobStore;
  readonly packBytes: number;
  /** Packs that are filled or stored at a time, each in memory of its own. */
  readonly packsAtOnce?: number;
  readonly underWay: BlocksUnderWay;
  /** Is told of a pack that is durable, with a directory that may be kept. The pack counts as stored once it resolves. */
  readonly stored: (name: Uint8Array, directory: PackDirectory, packBytes: number) => Promise<void>;
  readonly report: (key: string, message: string) => void;
}

export interface PackWriter {
  /** Waits for a batch; rejects with what the store refuses packs with. */
  emptyBatch(): Promise<BlockBatch>;
  giveBack(batch: BlockBatch): void;
  /**
   * Packs the first `count` blocks that the batch has `chosen`, which are under way, in the order of calls. The batch is
   * the writer's from then on.
   */
  append(batch: BlockBatch, count: number, blockBytes: number, kind: BlockKind): void;
  /** Resolves when everything that was appended is durable and told. Rejects where that failed; it may be tried again. */
  sync(): Promise<void>;
  /** Gives the memory back, what is not durable with it. */
  close(): Promise<void>;
}

/** A pack being filled or stored. */
interface OpenPack {
  readonly space: PackSpace;
  entryCount: number;
  dataBytes: number;
  finished: { readonly name: Uint8Array; readonly packBytes: number } | undefined;
}

/** Blocks that wait to be packed; without a batch, the wish that the pack be stored though it is not full. */
interface Waiting {
  readonly batch: BlockBatch | undefined;
  readonly kind: BlockKind;
  readonly blockBytes: number;
  readonly count: number;
  next: number;
  readonly done: () => void;
}

const stateOf = ({ space, entryCount, dataBytes }: OpenPack): PackState => ({
  dataAddress: space.data.address,
  directoryAddress: space.directory.address,
  entryCount,
  dataBytes,
});

export function createPackWriter(options: PackWriterOptions): PackWriter {
  const { runner, blobs, packBytes, underWay, report, packsAtOnce = PACKS_AT_ONCE } = options;
  const queue: Waiting[] = [];
  const freeBatches: BlockBatch[] = [];
  const batches: BlockBatch[] = [];
  const freePacks: OpenPack[] = [];
  const packs: OpenPack[] = [];
  /** The one that is being filled; none before it is needed. */
  let open: OpenPack | undefined;
  const storing = new Set<Promise<void>>();
  const refused: OpenPack[] = [];
  let failure: Error | undefined;
  let draining: Promise<void> | undefined;
  /** Those who wait for a batch to be given back, or for news that none will be. */
  let waiters: (() => void)[] = [];

  const wake = (): void => {
    for (const waiter of waiters.splice(0)) waiter();
  };

  const tellReports = ({ reports }: PackJobResult): void => {
    for (const [key, message] of reports) report(key, message);
  };

  const finish = async (pack: OpenPack): Promise<{ name: Uint8Array; packBytes: number }> => {
    const result = await runner.run({ kind: "finish", pack: stateOf(pack) });
    tellReports(result);
    return result;
  };

  const storeNow = async (pack: OpenPack): Promise<void> => {
    pack.finished ??= await finish(pack);
    const { name, packBytes: sizeBytes } = pack.finished;
    const { bytes } = pack.space.data;
    await blobs.put(packBlobName(name), bytes.subarray(0, sizeBytes));
    const directory = new PackDirectory(bytes.slice(pack.dataBytes, sizeBytes - FOOTER_BYTES));
    await options.stored(name, directory, sizeBytes);
    const words = asWords(directory.bytes);
    for (let at = ENTRY.hash / 4; at < words.length; at += ENTRY_BYTES / 4) underWay.remove(words, at);
  };

  /** Puts a pack into the store, then its memory is free again. */
  const store = (pack: OpenPack): void => {
    const work = storeNow(pack).then(
      () => {
        pack.entryCount = 0;
        pack.dataBytes = 0;
        pack.finished = undefined;
        freePacks.push(pack);
      },
      (error: Error) => {
        failure = error;
        refused.push(pack);
      },
    );
    storing.add(work);
    void work.then(() => storing.delete(work));
  };

  /** Tries what was refused once more. Rejects where it is refused again. */
  const retryRefused = async (): Promise<void> => {
    failure = undefined;
    for (const pack of refused.splice(0)) store(pack);
    await Promise.all(storing);
    if (refused.length > 0) throw failure ?? new Error(`${blobs.description} refused a pack`);
  };

  const freePack = async (): Promise<OpenPack> => {
    for (;;) {
      const pack = freePacks.pop();
      if (pack !== undefined) return pack;
      if (packs.length < packsAtOnce) {
        const made = { space: allocatePackSpace(packBytes), entryCount: 0, dataBytes: 0, finished: undefined };
        packs.push(made);
        return made;
      }
      if (storing.size > 0) await Promise.race(storing);
      else await retryRefused();
    }
  };

  const seal = (): void => {
    if (open === undefined || open.entryCount === 0) return;
    store(open);
    open = undefined;
  };

  const appendAll = async (waiting: Waiting, batch: BlockBatch): Promise<void> => {
    const { count, kind, blockBytes } = waiting;
    while (waiting.next < count) {
      open ??= await freePack();
      const result = await runner.run({
        kind: "append",
        batchAddress: batch.address,
        blockBytes,
        blockKind: kind,
        from: waiting.next,
        to: count,
        pack: stateOf(open),
      });
      tellReports(result);
      for (let i = waiting.next, ordinal = open.entryCount; i < result.next; i++, ordinal++) {
        underWay.moveToPack(batch.hashWords, batch.chosen[i]! * HASH_WORDS, open.space, ordinal);
      }
      open.entryCount = result.entryCount;
      open.dataBytes = result.dataBytes;
      waiting.next = result.next;
      if (waiting.next < count) seal();
    }
    giveBack(batch);
  };

  const drain = async (): Promise<void> => {
    try {
      // Not before `draining` is set.
      await Promise.resolve();
      for (let waiting; (waiting = queue[0]) !== undefined; queue.shift()) {
        if (waiting.batch === undefined) seal();
        else await appendAll(waiting, waiting.batch);
        waiting.done();
      }
    } finally {
      // In the same turn as the queue was found empty: what is enqueued from now on is drained anew.
      draining = undefined;
      wake();
    }
  };

  /** Resolves when nothing waits any more. Tries again where that failed before. */
  const drained = (): Promise<void> => (draining ??= drain());

  const enqueue = (waiting: Omit<Waiting, "next">): void => {
    queue.push({ ...waiting, next: 0 });
    // Whoever waits for it meets the failure.
    drained().catch(() => {});
  };

  const giveBack = (batch: BlockBatch): void => {
    freeBatches.push(batch);
    wake();
  };

  return {
    async emptyBatch() {
      for (;;) {
        const batch = freeBatches.pop();
        if (batch !== undefined) return batch;
        if (batches.length < MOST_BATCHES) {
          batches.push(allocateBatch());
          return batches.at(-1)!;
        }
        if (queue.length > 0 && draining === undefined) await drained();
        else await new Promise<void>((resolve) => void waiters.push(resolve));
      }
    },
    giveBack,
    append(batch, count, blockBytes, kind) {
      if (count === 0) giveBack(batch);
      else enqueue({ batch, count, blockBytes, kind, done() {} });
    },
    async sync() {
      const sealed = new Promise<void>((resolve) => {
        enqueue({ batch: undefined, count: 0, blockBytes: 0, kind: 1, done: resolve });
      });
      await Promise.race([sealed, drained()]);
      await Promise.all(storing);
      if (refused.length > 0) await retryRefused();
    },
    async close() {
      await draining?.catch(() => {});
      await Promise.all(storing);
      packs.forEach(({ space }) => freePackSpace(space));
      batches.forEach(freeBatch);
    },
  };
}
