/** Randomness that can be had again: VOE_TEST_SEED=N repeats what a test did with seed N. */

/** The seed of this run of the tests. */
export const testSeed = Number(process.env["VOE_TEST_SEED"] ?? Math.floor(Math.random() * 2 ** 32));

export interface SeededRandom {
  /** A whole number from 0 to below `end`. */
  below(end: number): number;
  /** True with this probability. */
  chance(probability: number): boolean;
  pick<T>(list: readonly T[]): T;
  fill(bytes: Uint8Array): void;
}

/** Numbers that a seed determines (mulberry32). */
export function seededRandom(seed: number): SeededRandom {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (end: number): number => Math.floor(next() * end);
  return {
    below,
    chance: (probability) => next() < probability,
    pick: (list) => list[below(list.length)]!,
    fill(bytes) {
      for (let i = 0; i < bytes.length; i++) bytes[i] = below(256);
    },
  };
}
