/** Seeded randomness: the same seed gives the same run. */

/** The seed of this run: VOE_SEED, to repeat one, else a new one. */
export const seedOfRun = (): number => {
  const wanted = process.env["VOE_SEED"];
  return wanted === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(wanted) >>> 0;
};

export interface Random {
  /** 32 bits. */
  word(): number;
  /** A whole number from 0 up to and without `end`. */
  below(end: number): number;
  /** Whether something with this probability happens. */
  chance(probability: number): boolean;
  pick<T>(choices: readonly T[]): T;
}

/** Generator sfc32 (Chris Doty-Humphrey, PractRand): 128 bits of state, a few nanoseconds a word. */
export function makeRandom(seed: number): Random {
  let [a, b, c, counter] = [seed | 0, 0x9e3779b9 | 0, 0x243f6a88 | 0, 1];
  const word = (): number => {
    const result = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + result) | 0;
    return result >>> 0;
  };
  for (let i = 0; i < 16; i++) word();
  const below = (end: number): number => Math.floor((word() / 0x1_0000_0000) * end);
  return {
    word,
    below,
    chance: (probability) => word() < probability * 0x1_0000_0000,
    pick: (choices) => choices[below(choices.length)]!,
  };
}
