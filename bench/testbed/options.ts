/** Values of the command line that benchmarks have in common. All throw with what would be right. */

export function positive(name: string, text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new Error(`--${name} takes a number above 0, not "${text}"`);
  return value;
}

export function oneOf<T extends string>(name: string, text: string, known: readonly T[]): T {
  const found = known.find((value) => value === text);
  if (found === undefined) throw new Error(`--${name} is one of ${known.join(", ")}, not "${text}"`);
  return found;
}

/** Whether a name is wanted: no patterns at all want everything. */
export const isWanted = (patterns: readonly RegExp[], name: string): boolean =>
  patterns.length === 0 || patterns.some((pattern) => pattern.test(name));
