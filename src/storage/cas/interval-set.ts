/** A set of whole numbers kept as disjoint intervals, for block ranges: sorted, and merged where they touch. */
export interface IntervalSet {
  /** Intervals there are. */
  readonly size: number;
  has(value: number): boolean;
  /** Adds `from` up to, not including, `to`. */
  add(from: number, to: number): void;
  /** Takes `from` up to, not including, `to` out. */
  remove(from: number, to: number): void;
  /** The intervals in rising order, whole, of which a part lies from `from` to before `to`. The set must not change meanwhile. */
  intervals(from?: number, to?: number): IterableIterator<readonly [from: number, to: number]>;
  clear(): void;
}

export function intervalSet(): IntervalSet {
  // Bounds alternate: begin, end, begin, end, ... strictly rising. A value is in the set where an odd number of bounds
  // is at or below it.
  let bounds: number[] = [];

  /** How many bounds are below `value`, or at most it with `orAt`. */
  const countBelow = (value: number, orAt: boolean): number => {
    let low = 0;
    let high = bounds.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const bound = bounds[middle]!;
      if (bound < value || (orAt && bound === value)) low = middle + 1;
      else high = middle;
    }
    return low;
  };

  return {
    get size() {
      return bounds.length / 2;
    },
    has: (value) => bounds.length !== 0 && countBelow(value, true) % 2 === 1,
    add(from, to) {
      if (from >= to) return;
      const first = countBelow(from, false);
      const last = countBelow(to, true);
      // A bound that falls into the inside of an interval, or touches its end, goes.
      const begin = first % 2 === 0 ? [from] : [];
      const end = last % 2 === 0 ? [to] : [];
      bounds.splice(first, last - first, ...begin, ...end);
    },
    remove(from, to) {
      if (from >= to || bounds.length === 0) return;
      const first = countBelow(from, false);
      const last = countBelow(to, true);
      const end = first % 2 === 1 ? [from] : [];
      const begin = last % 2 === 1 ? [to] : [];
      bounds.splice(first, last - first, ...end, ...begin);
    },
    *intervals(from = -Infinity, to = Infinity) {
      const before = countBelow(from, true);
      for (let i = before - (before % 2); i < bounds.length && bounds[i]! < to; i += 2) {
        yield [bounds[i]!, bounds[i + 1]!] as const;
      }
    },
    clear() {
      bounds = [];
    },
  };
}
