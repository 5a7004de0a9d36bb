/** What a verification tells while it goes on, plain JSON: the control socket carries one a line. */

export type VerifyPhase = "index" | "packs" | "trees";

export interface VerifyProgress {
  readonly event: "progress";
  /** Description of the blob store. */
  readonly store: string;
  readonly phase: VerifyPhase;
  /** Packs read in this run, of those that the store has. */
  readonly packsDone: number;
  readonly packsTotal: number;
  readonly bytesDone: number;
  readonly bytesTotal: number;
  /** The trees of all volumes and snapshots are walked in parts: a range of blocks of all of them each. */
  readonly treePartsDone: number;
  readonly treePartsTotal: number;
  readonly elapsedMs: number;
}

/** A block that a pack should have and has not. */
export interface BlockDamage {
  readonly hash: string;
  /** Where in the pack its stored bytes are, and how many. */
  readonly offsetBytes: number;
  readonly storedBytes: number;
  readonly reason: string;
}

/** `pack`: a pack is not as it was written. `block`: a tree refers to what no pack has intact. `record`: of a root. */
export type Damage =
  | {
      readonly kind: "pack";
      readonly pack: string;
      readonly reason: string;
      /** Whether every other block of it is intact; false: none of it can be relied on. */
      readonly onlyBlocks: boolean;
      /** At most BLOCKS_TOLD of them. */
      readonly blocks: readonly BlockDamage[];
      readonly blockCount: number;
    }
  | { readonly kind: "block"; readonly hash: string; readonly isNode: boolean; readonly reason: string }
  | { readonly kind: "record"; readonly name: string; readonly reason: string };

export interface VerifyDamage {
  readonly event: "damage";
  readonly store: string;
  readonly damage: Damage;
}

/** Something an operator should know that is no damage. */
export interface VerifyNotice {
  readonly event: "notice";
  readonly store: string;
  readonly message: string;
}

/** What of a volume, as it is or as it was in a snapshot, cannot be read. */
export interface Affected {
  readonly volume: string;
  readonly volumeId: string;
  /** Absent: the volume as it is. */
  readonly snapshot?: { readonly id: string; readonly description: string; readonly createdMs: number };
  readonly sectorCount: number;
  /** Ascending, not touching; at most RANGES_TOLD of them. */
  readonly ranges: readonly { readonly sector: number; readonly sectorCount: number }[];
  readonly rangeCount: number;
}

/** Most blocks of one pack, single blocks, and ranges of one volume that are told: the counts say of how many. */
export const BLOCKS_TOLD = 1000;
export const RANGES_TOLD = 10_000;

/** `good`, `stopped` at the time limit with nothing found until then, or `damaged`. */
export type VerifyOutcome = "good" | "stopped" | "damaged";

export interface VerifyEnd {
  readonly event: "end";
  readonly store: string;
  readonly outcome: VerifyOutcome;
  /** Whether all packs and trees were verified, rather than those that the time was enough for. */
  readonly complete: boolean;
  readonly packsDone: number;
  readonly packsTotal: number;
  readonly bytesDone: number;
  readonly bytesTotal: number;
  readonly treePartsDone: number;
  readonly treePartsTotal: number;
  /** Packs that no run has ever found good, and when the one was whose last time is longest ago. */
  readonly packsNeverVerified: number;
  readonly oldestVerifiedMs: number | null;
  readonly damageCount: number;
  readonly affected: readonly Affected[];
  readonly elapsedMs: number;
}

export type VerifyEvent = VerifyProgress | VerifyDamage | VerifyNotice | VerifyEnd;

export interface VerifyOptions {
  /** No pack or part of the trees is begun later than this, but for the first. Absent: all are verified. */
  readonly maxDurationMs?: number;
  /** Ends the run; what was verified until then is kept. */
  readonly signal?: AbortSignal;
}
