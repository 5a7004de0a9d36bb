/**
 * Verifying a store: every pack is read whole and every block in it hashed, and the trees of all volumes and snapshots
 * are walked to see that everything they refer to is there. What was verified longest ago has its turn first, so that
 * runs that are stopped early cover everything in the end.
 *
 * Memory: a pack (16 MiB as voe writes them), 64 pack directories (200 KiB each with blocks of 4 KiB), 2^19 tree nodes'
 * hashes (50 MiB), some 150 bytes for each pack of the store, and what was found damaged.
 */
import type { Compression } from "../../../base/compression.ts";
import type { Hasher } from "../../../base/hash.ts";
import type { BlobStore } from "../../../blob/blob-store.ts";
import type { RootsFound } from "../root-refs.ts";
import { NodeCache } from "../tree/node-cache.ts";
import { NodeReader } from "../tree/node-reader.ts";
import { packChecker, type PackFinding } from "./check-pack.ts";
import { affectedOf, partBlocksFor, treeChecker, treesOf } from "./check-trees.ts";
import type { HistoryStore, VerifyHistory } from "./history.ts";
import { intactBlocks, type HintIndex } from "./intact-blocks.ts";
import type { Pace } from "../pace.ts";
import {
  BLOCKS_TOLD,
  type Damage,
  type VerifyEvent,
  type VerifyNotice,
  type VerifyOptions,
  type VerifyOutcome,
  type VerifyPhase,
  type VerifyProgress,
} from "./verify-events.ts";

export interface VerifiedStore {
  readonly blobs: BlobStore;
  readonly hasher: Hasher;
  readonly compression: Compression;
  /** Knows all packs whose directory can be read. */
  readonly index: HintIndex;
  /** Reads the roots of the store, again for each run. */
  readonly roots: () => Promise<RootsFound>;
  readonly history: HistoryStore;
  readonly pace: Pace;
  /** Milliseconds since 1970, for the history. */
  readonly nowMs: () => number;
  /** Milliseconds since any moment, for how long it takes. */
  readonly monotonicMs: () => number;
}

const PROGRESS_EVERY_MS = 250;
const SAVE_EVERY_MS = 30_000;
/** Trees read each node once; what they share was seen and is not read again. */
const NODE_CACHE_BYTES = 2 ** 16;

/** A piece of work: a pack, or a part of the trees. */
type Unit = { readonly verifiedMs: number } & (
  { readonly pack: string; readonly sizeBytes: number } | { readonly part: number }
);

/**
 * Verifies until everything was, the time is over or the signal says so; see VerifyEvent for what it tells. The last
 * event is the end. Damage of packs has the trees walked to the end whatever the time limit, to learn what is affected.
 * Throws where the store or the index cannot be read, and the signal's reason; what was verified is kept in any case.
 */
export async function* verifyStore(
  store: VerifiedStore,
  options: VerifyOptions = {},
): AsyncGenerator<VerifyEvent, void> {
  const { blobs, index, history: historyStore, pace, monotonicMs } = store;
  const { signal } = options;
  const startMs = monotonicMs();
  const isOver = (): boolean => options.maxDurationMs !== undefined && monotonicMs() - startMs >= options.maxDurationMs;
  const say = <T extends object>(event: T): T & { readonly store: string } => ({ ...event, store: blobs.description });

  const before = await historyStore.load();
  const found = await store.roots();
  const trees = treesOf(found);
  // The index before the list: a pack is in the store before it is in the index.
  const indexed = index.packNames().map((name) => name.toHex());
  const sizes = new Map<string, number>();
  for await (const { name, sizeBytes } of blobs.list(signal)) sizes.set(name, sizeBytes);
  for (const name of indexed) if (!sizes.has(name)) sizes.set(name, 0);

  const partBlocks = partBlocksFor(trees);
  const blockCount = Math.max(0, ...trees.map((tree) => tree.blockCount));
  const isSameParts = before.partBlocks === partBlocks;
  const partCount = Math.ceil(blockCount / partBlocks);
  const history: VerifyHistory = {
    packs: new Map([...before.packs].filter(([name]) => sizes.has(name))),
    badPacks: new Map([...before.badPacks].filter(([name]) => sizes.has(name))),
    partBlocks,
    parts: Array.from({ length: partCount }, (_, part) => (isSameParts ? (before.parts[part] ?? 0) : 0)),
    badParts: new Map(isSameParts ? [...before.badParts].filter(([part]) => part < partCount) : []),
    lastRunMs: before.lastRunMs,
  };
  const units: Unit[] = [
    ...[...sizes].map(([pack, sizeBytes]) => ({ verifiedMs: history.packs.get(pack) ?? 0, pack, sizeBytes })),
    // After packs of the same age: the walk tells what is affected by what is wrong with them.
    ...history.parts.map((verifiedMs, part) => ({ verifiedMs, part })),
  ].toSorted((a, b) => a.verifiedMs - b.verifiedMs);

  const done = { packs: 0, bytes: 0, parts: 0 };
  const bytesTotal = [...sizes.values()].reduce((sum, sizeBytes) => sum + sizeBytes, 0);
  const told: Damage[] = [];
  let damageCount = 0;
  const note = (damage: Damage): void => {
    damageCount++;
    told.push(damage);
  };
  const takeTold = (): VerifyEvent[] => told.splice(0).map((damage) => say({ event: "damage" as const, damage }));
  for (const { refused } of found.volumes.values()) {
    for (const { name, reason } of refused) note({ kind: "record", name, reason });
  }
  for (const { name, reason } of found.foreign) note({ kind: "record", name, reason });

  const blocks = intactBlocks(store);
  const packs = packChecker(store);
  const missing = new Set<string>();
  let unreadable = 0;
  const checker = treeChecker({
    reader: new NodeReader(blocks.nodes, new NodeCache(NODE_CACHE_BYTES)),
    blocks,
    pace,
    missing(hash, isNode, reason) {
      unreadable++;
      const key = hash.toHex();
      if (missing.has(key) || missing.size >= BLOCKS_TOLD) return;
      missing.add(key);
      note({ kind: "block", hash: key, isNode, reason });
    },
  });

  const progress = (phase: VerifyPhase): VerifyProgress =>
    say({
      event: "progress" as const,
      phase,
      packsDone: done.packs,
      packsTotal: sizes.size,
      bytesDone: done.bytes,
      bytesTotal,
      treePartsDone: done.parts,
      treePartsTotal: history.parts.length,
      elapsedMs: monotonicMs() - startMs,
    });
  let toldMs = Number.NEGATIVE_INFINITY;
  function* news(phase: VerifyPhase): Generator<VerifyEvent> {
    yield* takeTold();
    if (monotonicMs() - toldMs < PROGRESS_EVERY_MS) return;
    toldMs = monotonicMs();
    yield progress(phase);
  }

  /** Parts that were walked, and what was known then of bad packs: where that grew they are walked again. */
  const walked = new Map<number, number>();
  async function* walkPart(part: number): AsyncGenerator<VerifyEvent> {
    const unreadableBefore = unreadable;
    walked.set(part, blocks.bad.size);
    const from = part * partBlocks;
    for await (const _ of checker.checkPart(trees, from, from + partBlocks, signal)) yield* news("trees");
    if (unreadable === unreadableBefore) {
      history.parts[part] = store.nowMs();
      history.badParts.delete(part);
    } else {
      history.parts[part] = 0;
      history.badParts.set(part, store.nowMs());
    }
  }

  const checkPack = async (pack: string, sizeBytes: number): Promise<VerifyNotice | undefined> => {
    const finding = await packs.check(pack, signal);
    done.packs++;
    done.bytes += sizeBytes;
    if (finding.reason === undefined) {
      history.packs.set(pack, store.nowMs());
      history.badPacks.delete(pack);
      return finding.onceWrong === undefined ? undefined : say(onceWrong(pack, finding.onceWrong));
    }
    // Without a date it is the first of the next run, until it is replaced or gone.
    history.packs.delete(pack);
    history.badPacks.set(pack, store.nowMs());
    if (finding.badEntries === undefined || finding.badEntries.size > 0) {
      blocks.bad.set(pack, { entries: finding.badEntries });
    }
    note(packDamage(pack, finding));
    return undefined;
  };

  let savedMs = monotonicMs();
  let saveFailure: Error | undefined;
  /** What is verified is worth telling though it cannot be kept. */
  const save = async (): Promise<void> => {
    savedMs = monotonicMs();
    await historyStore.save(history).catch((error: Error) => (saveFailure = error));
  };
  let unitsDone = 0;
  try {
    for (const unit of units) {
      if (unitsDone > 0 && isOver()) break;
      signal?.throwIfAborted();
      if ("pack" in unit) {
        yield* news("packs");
        const notice = await checkPack(unit.pack, unit.sizeBytes);
        if (notice !== undefined) yield notice;
      } else {
        yield* news("trees");
        yield* walkPart(unit.part);
        done.parts++;
      }
      unitsDone++;
      if (monotonicMs() - savedMs >= SAVE_EVERY_MS) await save();
    }
    if (blocks.bad.size > 0) {
      for (let part = 0; part < history.parts.length; part++) {
        if (walked.get(part) === blocks.bad.size) continue;
        if (!walked.has(part)) done.parts++;
        yield* walkPart(part);
      }
    }
    yield* takeTold();
  } finally {
    packs.close();
    blocks.close();
    if (unitsDone > 0) history.lastRunMs = store.nowMs();
    await save();
  }
  if (saveFailure !== undefined) {
    const { message } = saveFailure;
    yield say({
      event: "notice" as const,
      message: `what was verified when could not be kept (${message}): the next run begins anew`,
    });
  }

  const complete = done.packs === sizes.size && done.parts === history.parts.length;
  const outcome: VerifyOutcome = damageCount > 0 ? "damaged" : complete ? "good" : "stopped";
  const dates = [...history.packs.values()];
  yield progress("trees");
  yield say({
    event: "end" as const,
    outcome,
    complete,
    packsDone: done.packs,
    packsTotal: sizes.size,
    bytesDone: done.bytes,
    bytesTotal,
    treePartsDone: done.parts,
    treePartsTotal: history.parts.length,
    packsNeverVerified: sizes.size - dates.length,
    oldestVerifiedMs: dates.length === 0 ? null : dates.reduce((least, ms) => Math.min(least, ms)),
    damageCount,
    affected: affectedOf(trees),
    elapsedMs: monotonicMs() - startMs,
  });
}

const onceWrong = (pack: string, reason: string): Omit<VerifyNotice, "store"> => ({
  event: "notice",
  message:
    `pack ${pack} was read wrongly once (${reason}) and rightly when it was read again: the pack is good, ` +
    `and the memory, cable or controller of this machine may not be`,
});

const packDamage = (pack: string, { reason, badEntries, blocks }: PackFinding): Damage => ({
  kind: "pack",
  pack,
  reason: reason!,
  onlyBlocks: badEntries !== undefined,
  blocks: blocks.slice(0, BLOCKS_TOLD),
  blockCount: blocks.length,
});
