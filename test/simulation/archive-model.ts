/** What a volume ought to hold: what was asked of it since it was last recovered, and what of that was answered. */
export interface Change {
  readonly sector: number;
  readonly count: number;
  /** What its sectors are from then on, all of them or one by one. */
  readonly version: number | Uint32Array;
  /** When it was asked for, and when it was answered, or else known to have been done, as positions of the model. */
  readonly called: number;
  accepted: number;
  /** When that was, by the simulation's time. */
  acceptedMs: number;
  /** It was answered as durable. */
  isDurable: boolean;
}

const NEVER = Number.POSITIVE_INFINITY;

/** Where a change that was answered as durable counts after a recovery: its answer may have come much later. */
const justAfterCall = ({ called }: Change): number => called + 0.25;

const versionAt = ({ version, sector }: Change, at: number): number =>
  typeof version === "number" ? version : version[at - sector]!;

const covers = ({ sector, count }: Change, at: number): boolean => sector <= at && at < sector + count;

export class VolumeModel {
  /** Everything up to this position survives power loss. */
  durable = 0;
  /** Everything up to this position is in the blob store, and survives the loss of everything else. */
  published = 0;
  #position = 0;
  /** As it was recovered. */
  #base: Uint32Array;
  /** With everything that was accepted, and when each sector's last change was asked for. */
  #now: Uint32Array;
  #nowCalled: Float64Array;
  /** In the order in which they were asked for, which is that in which those that overlap take effect. */
  #changes: Change[] = [];

  constructor(
    sectorCount: number,
    readonly elapsedMs: () => number,
  ) {
    this.#base = new Uint32Array(sectorCount);
    this.#now = this.#base.slice();
    this.#nowCalled = new Float64Array(sectorCount);
  }

  get sectorCount(): number {
    return this.#now.length;
  }

  get position(): number {
    return this.#position;
  }

  /** What it holds now, as far as it was accepted. */
  get now(): Uint32Array {
    return this.#now;
  }

  /** Notes that something is asked for. Until it is accepted it may have happened or not. */
  call(sector: number, count: number, version: number | Uint32Array): Change {
    const change = {
      sector,
      count,
      version,
      called: ++this.#position,
      accepted: NEVER,
      acceptedMs: NEVER,
      isDurable: false,
    };
    this.#changes.push(change);
    return change;
  }

  /** What overlaps takes effect in the order of the calls, in whatever order the answers come. */
  accept(change: Change): void {
    change.accepted = ++this.#position;
    change.acceptedMs = this.elapsedMs();
    for (let at = change.sector; at < change.sector + change.count; at++) {
      if (this.#nowCalled[at]! > change.called) continue;
      this.#now[at] = versionAt(change, at);
      this.#nowCalled[at] = change.called;
    }
  }

  /** The same for one that was answered as durable. What was accepted while the answer waited need not be durable. */
  acceptDurable(change: Change): void {
    this.accept(change);
    change.isDurable = true;
    this.makeDurable(justAfterCall(change));
  }

  /** The same for a change which everything that was called after it has waited for, though answered before. */
  acceptWaitedFor(change: Change): void {
    this.accept(change);
    for (const { called, accepted } of this.#changes) {
      if (called > change.called) change.accepted = Math.min(change.accepted, accepted - 0.5);
    }
  }

  makeDurable(position: number): void {
    this.durable = Math.max(this.durable, position);
  }

  /** The same for what a checkpoint was answered for. */
  makePublished(position: number): void {
    this.published = Math.max(this.published, position);
    this.makeDurable(position);
  }

  /** The position of the last change that was accepted up to a time. */
  positionAt(timeMs: number): number {
    const accepted = this.#changes.filter(({ acceptedMs }) => acceptedMs <= timeMs).map((change) => change.accepted);
    return Math.max(0, ...accepted);
  }

  /** The medium has lost what was durable: any prefix may be found. */
  distrust(): void {
    this.durable = 0;
  }

  /** The new sectors are zeros. */
  grow(sectorCount: number): void {
    const larger = <T extends Uint32Array | Float64Array>(old: T, sectors: T): T => {
      sectors.set(old);
      return sectors;
    };
    this.#base = larger(this.#base, new Uint32Array(sectorCount));
    this.#now = larger(this.#now, new Uint32Array(sectorCount));
    this.#nowCalled = larger(this.#nowCalled, new Float64Array(sectorCount));
  }

  /** What is not yet answered of what was asked for. */
  get open(): readonly Change[] {
    return this.#changes.filter(({ accepted }) => accepted === NEVER);
  }

  /**
   * Whether a sector may be found as `version`, by a read that was called when `expected` was accepted and `open` was
   * not answered.
   */
  static mayBe(version: number, expected: number, open: readonly Change[], sector: number): boolean {
    return (
      version === expected || open.some((change) => covers(change, sector) && versionAt(change, sector) === version)
    );
  }

  /**
   * A position, from `least` to `most`, at which the volume held what was found: all that was accepted before, nothing
   * that was accepted after, and any of what was asked for and not answered then. Undefined: there is none.
   */
  positionOf(
    content: Uint32Array,
    least: number,
    most: number,
    orderOf = ({ accepted }: Change): number => accepted,
  ): number | undefined {
    // The volume may have grown in between: what it had not, and what it has not yet, are zeros.
    const found = new Uint32Array(Math.max(content.length, this.sectorCount));
    found.set(content);
    const accepted = this.#changes.filter((change) => change.accepted < NEVER);
    accepted.sort((a, b) => orderOf(a) - orderOf(b) || a.called - b.called);
    const state = new Uint32Array(found.length);
    state.set(this.#base);
    const stateCalled = new Float64Array(state.length);
    const wrong = new Set<number>();
    const look = (sector: number): void => {
      if (found[sector] === state[sector]) wrong.delete(sector);
      else wrong.add(sector);
    };
    for (let sector = 0; sector < state.length; sector++) look(sector);
    for (let done = 0; ; done++) {
      const [before, next] = [accepted[done - 1], accepted[done]];
      const since = before === undefined ? 0 : orderOf(before);
      const until = next === undefined ? NEVER : orderOf(next);
      if (since > most) return undefined;
      if (until > least && this.#areOpen(wrong, found, since, until)) return Math.max(since, least);
      if (next === undefined) return undefined;
      for (let at = next.sector; at < next.sector + next.count; at++) {
        if (stateCalled[at]! > next.called) continue;
        state[at] = versionAt(next, at);
        stateCalled[at] = next.called;
        look(at);
      }
    }
  }

  /** What is not as it is now, of what was found: for messages. */
  differences(found: Uint32Array): string {
    const odd = [...found.keys()].filter((sector) => found[sector] !== this.#now[sector]);
    const shown = odd.slice(0, 4).map((sector) => `${sector} (${found[sector]}, not ${this.#now[sector]})`);
    return `${odd.length} sectors are not as they are now: ${shown.join(", ")}`;
  }

  /** Whether all of these sectors were found as something makes them that was asked for by then and not answered. */
  #areOpen(wrong: ReadonlySet<number>, found: Uint32Array, since: number, until: number): boolean {
    if (wrong.size === 0) return true;
    const open = this.#changes.filter(({ called, accepted }) => called < until && accepted > since);
    for (const sector of wrong) {
      const isOpen = open.some((change) => covers(change, sector) && versionAt(change, sector) === found[sector]);
      if (!isOpen) return false;
    }
    return true;
  }

  /** The same after a recovery: what was answered as durable is there, whatever was lost of what came while it waited. */
  recoveredPositionOf(found: Uint32Array): number | undefined {
    const { durable } = this;
    return this.positionOf(found, durable, this.#position, (change) =>
      change.isDurable && durable > 0 ? justAfterCall(change) : change.accepted,
    );
  }

  /** The same after a recovery from the blob store alone: what was published is there. */
  publishedPositionOf(found: Uint32Array): number | undefined {
    return this.positionOf(found, this.published, this.#position);
  }

  /** Goes on with what was recovered, all of which is durable. */
  adopt(found: Uint32Array): void {
    this.#base = found.slice();
    this.#now = found.slice();
    this.#nowCalled = new Float64Array(found.length);
    this.#changes = [];
    this.durable = this.#position;
  }
}
