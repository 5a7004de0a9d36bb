const UNIT_BYTES: readonly (readonly [name: string, bytes: number])[] = [
  ["TiB", 2 ** 40],
  ["GiB", 2 ** 30],
  ["MiB", 2 ** 20],
  ["KiB", 2 ** 10],
];

/**
 * Bytes in a text such as "8GiB", "1.5 TiB" or "512KiB". Units that mean one thing to some and another to others (G,
 * GB) are refused. Throws RangeError with what is wrong and what to write.
 */
export const parseSize = (text: string): number => {
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text.trim());
  const [, amount, name] = match ?? [];
  if (amount === undefined || name === undefined) {
    throw new RangeError('is not a size; write a number and a unit, for example "8GiB"');
  }
  const unit = UNIT_BYTES.find(([known]) => known.toLowerCase() === name.toLowerCase());
  if (unit === undefined) {
    const meant = UNIT_BYTES.find(([known]) => known[0] === name[0]?.toUpperCase())?.[0] ?? "GiB";
    throw new RangeError(
      name === ""
        ? `has no unit; write "${amount}${meant}", or bytes as a number without quotes`
        : `has the unit ${name}, which is not one of KiB, MiB, GiB, TiB; write for example "${amount}${meant}"`,
    );
  }
  const bytes = Number(amount) * unit[1];
  if (bytes > Number.MAX_SAFE_INTEGER) throw new RangeError("is over 8191TiB, the largest size there is; write less");
  if (!Number.isInteger(bytes)) throw new RangeError("is not a whole number of bytes; use a smaller unit");
  return bytes;
};

/** Text for people, for example "8 GiB", "1.46 MiB", "512 B": rounded to two decimals in the largest unit that fits. */
export const formatSize = (bytes: number): string => {
  // A size that two decimals would round up to 1024 of a unit is shown in the next one.
  const [name, unitBytes] = UNIT_BYTES.find(([, unit]) => bytes >= unit * 0.999995) ?? ["B", 1];
  return `${Number((bytes / unitBytes).toFixed(2))} ${name}`;
};
