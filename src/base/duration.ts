const UNIT_MS: readonly (readonly [name: string, ms: number])[] = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1000],
  ["ms", 1],
];

/**
 * Milliseconds in a text such as "250ms", "1s", "1.5h" or "7d". Throws RangeError with what is wrong and what to write.
 */
export const parseDuration = (text: string): number => {
  const [, amount, name] = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/.exec(text.trim()) ?? [];
  const unit = UNIT_MS.find(([known]) => known === name);
  if (unit === undefined) {
    throw new RangeError('is not a duration; write a number and one of ms, s, m, h, d, for example "1s" or "250ms"');
  }
  const ms = Number(amount) * unit[1];
  if (!Number.isSafeInteger(ms)) throw new RangeError("is not a whole number of milliseconds; use another unit");
  return ms;
};

/** The shortest text that `parseDuration` reads back as the same milliseconds, for example "1s", "90s", "250ms". */
export const formatDuration = (ms: number): string => {
  const [name, unitMs] = UNIT_MS.find(([, unit]) => ms > 0 && ms % unit === 0) ?? ["ms", 1];
  return `${ms / unitMs}${name}`;
};
