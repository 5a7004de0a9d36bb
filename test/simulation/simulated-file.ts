/** The content of one simulated file: what is durable, what reads see, and the writes between the two. */
import type { SeededRandom } from "../support/seeded-random.ts";

const SECTOR_BYTES = 512;

type Change =
  | { readonly kind: "write"; readonly offsetBytes: number; readonly data: Uint8Array }
  | { readonly kind: "truncate"; readonly sizeBytes: number };

/** Bytes that grow. Beyond the size the array holds zeros. */
class Content {
  bytes = new Uint8Array(0);
  sizeBytes = 0;

  copy(): Content {
    const copy = new Content();
    copy.bytes = this.bytes.slice(0, this.sizeBytes);
    copy.sizeBytes = this.sizeBytes;
    return copy;
  }

  resize(sizeBytes: number): void {
    if (sizeBytes > this.bytes.length) {
      const grown = new Uint8Array(Math.max(sizeBytes, this.bytes.length * 2));
      grown.set(this.bytes.subarray(0, this.sizeBytes));
      this.bytes = grown;
    } else if (sizeBytes < this.sizeBytes) {
      this.bytes.fill(0, sizeBytes, this.sizeBytes);
    }
    this.sizeBytes = sizeBytes;
  }

  apply(change: Change): void {
    if (change.kind === "truncate") {
      this.resize(change.sizeBytes);
      return;
    }
    const end = change.offsetBytes + change.data.length;
    if (end > this.sizeBytes) this.resize(end);
    this.bytes.set(change.data, change.offsetBytes);
  }

  sector(index: number): Uint8Array {
    const sector = new Uint8Array(SECTOR_BYTES);
    const start = index * SECTOR_BYTES;
    sector.set(this.bytes.subarray(start, Math.max(start, Math.min(start + SECTOR_BYTES, this.sizeBytes))));
    return sector;
  }
}

export class SimulatedContent {
  #durable = new Content();
  #visible = new Content();
  #unsynced: Change[] = [];
  /** Changes that a sync has covered, or has lost. */
  #settledCount = 0;

  get sizeBytes(): number {
    return this.#visible.sizeBytes;
  }

  /** Number of changes so far: what a sync that begins now covers. */
  get changeCount(): number {
    return this.#settledCount + this.#unsynced.length;
  }

  read(offsetBytes: number, lengthBytes: number): Uint8Array {
    return this.#visible.bytes.subarray(offsetBytes, Math.min(offsetBytes + lengthBytes, this.#visible.sizeBytes));
  }

  change(change: Change): void {
    this.#unsynced.push(change);
    this.#visible.apply(change);
  }

  /** The changes before this count, with which a sync began, are durable now. */
  synced(changeCount: number): void {
    for (const change of this.#settle(changeCount)) this.#durable.apply(change);
  }

  /** A sync failed: some changes before this count arrived, and none will from now on, but reads see all of them. */
  syncFailed(changeCount: number, random: SeededRandom): void {
    this.#durable = survivors(this.#durable, this.#settle(changeCount), random, []);
  }

  #settle(changeCount: number): Change[] {
    const settled = this.#unsynced.splice(0, Math.max(0, changeCount - this.#settledCount));
    this.#settledCount += settled.length;
    return settled;
  }

  /** Reads see what the medium holds, and what is still on its way there. */
  forgetCached(): void {
    this.#visible = this.#durable.copy();
    for (const change of this.#unsynced) this.#visible.apply(change);
  }

  /** Power was lost. `stale` are bytes that sectors given to this file, but not written, may happen to hold. */
  crash(random: SeededRandom, stale: readonly Uint8Array[]): void {
    this.#durable = survivors(this.#durable, this.#unsynced, random, stale);
    this.#settle(this.changeCount);
    this.#visible = this.#durable.copy();
  }

  /** The medium errs. */
  flipBit(offsetBytes: number, bit: number): void {
    for (const content of [this.#durable, this.#visible]) {
      if (offsetBytes < content.sizeBytes) content.bytes[offsetBytes]! ^= 1 << bit;
    }
  }

  /** Everything reads see, for use as stale bytes elsewhere. */
  bytes(): Uint8Array {
    return this.#visible.bytes.slice(0, this.#visible.sizeBytes);
  }
}

/** What a medium holds that had `durable` and got `changes` without a sync: each sector any of its states since then. */
function survivors(
  durable: Content,
  changes: readonly Change[],
  random: SeededRandom,
  stale: readonly Uint8Array[],
): Content {
  const result = durable.copy();
  const fate = random.below(4);
  if (fate === 0) return result;
  if (fate === 1) {
    for (const change of changes) result.apply(change);
    return result;
  }
  if (fate === 2) {
    const kept = random.below(changes.length + 1);
    for (const change of changes.slice(0, kept)) result.apply(change);
    return kept < changes.length ? anySectors(result, changes.slice(kept, kept + 1), random, stale) : result;
  }
  return anySectors(result, changes, random, stale);
}

/** Chooses for every sector, and for the size, one of the states that the changes gave it, the first included. */
function anySectors(
  before: Content,
  changes: readonly Change[],
  random: SeededRandom,
  stale: readonly Uint8Array[],
): Content {
  const states = new Map<number, Uint8Array[]>();
  const sizes = [before.sizeBytes];
  const now = before.copy();
  for (const change of changes) {
    const sizeBefore = now.sizeBytes;
    now.apply(change);
    sizes.push(now.sizeBytes);
    const from = change.kind === "write" ? change.offsetBytes : Math.min(change.sizeBytes, sizeBefore);
    const end = change.kind === "write" ? from + change.data.length : Math.max(change.sizeBytes, sizeBefore);
    for (let sector = Math.floor(from / SECTOR_BYTES); sector * SECTOR_BYTES < end; sector++) {
      const known = states.get(sector) ?? [firstState(before, sector, random, stale)];
      known.push(now.sector(sector));
      states.set(sector, known);
    }
  }
  const result = before.copy();
  // The last size is the likeliest: a file that lost its end says little.
  const sizeBytes = random.chance(0.7) ? sizes.at(-1)! : random.pick(sizes);
  const keepChance = random.pick([0.2, 0.5, 0.9]);
  for (const [sector, known] of states) {
    const state = random.chance(keepChance) ? known.at(-1)! : random.pick(known);
    result.apply({ kind: "write", offsetBytes: sector * SECTOR_BYTES, data: state });
  }
  result.resize(sizeBytes);
  return result;
}

/** What a sector holds that was not written since: its old content, or, where it is new, zeros or somebody's old bytes. */
function firstState(before: Content, sector: number, random: SeededRandom, stale: readonly Uint8Array[]): Uint8Array {
  const start = sector * SECTOR_BYTES;
  if (start < before.sizeBytes || stale.length === 0 || random.chance(0.5)) return before.sector(sector);
  const state = new Uint8Array(SECTOR_BYTES);
  state.set(random.pick(stale).subarray(start, start + SECTOR_BYTES));
  return state;
}
