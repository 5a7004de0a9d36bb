/** The seed of this run of the tests: VOE_TEST_SEED=N repeats what a test did with seed N. */
export const testSeed = Number(process.env["VOE_TEST_SEED"] ?? Math.floor(Math.random() * 2 ** 32));

/** Random choices that a seed repeats (the generator is sfc32). */
export interface SeededRandom {
  /** A whole number from 0 up to, and without, `limit`. */
  below(limit: number): number;
  /** True with this probability. */
  chance(probability: number): boolean;
  pick<T>(list: readonly T[]): T;
  fill(bytes: Uint8Array): void;
}

export function seededRandom(seed: number): SeededRandom {
  let [a, b, c, counter] = [0x9e3779b9, 0x243f6a88, seed >>> 0, Math.floor(seed / 0x1_0000_0000) + 1];
  const next = (): number => {
    const sum = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + sum;
    return sum >>> 0;
  };
  // Seeds that lie side by side begin alike: the first numbers are thrown away.
  for (let i = 0; i < 15; i++) next();
  const below = (limit: number): number => Math.floor((next() / 0x1_0000_0000) * limit);
  return {
    below,
    chance: (probability) => next() < probability * 0x1_0000_0000,
    pick: (list) => list[below(list.length)]!,
    fill(bytes) {
      for (let i = 0; i < bytes.length; i++) bytes[i] = next();
    },
  };
}
