/** Numbers as people read them, in tables and messages. */

const BINARY_UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/** Bytes with a binary unit and at most three digits that matter: `512 B`, `1.5 KiB`, `8 GiB`, `931 GiB`. */
export function formatBytes(bytes: number): string {
  let value = Math.max(0, bytes);
  let unit = 0;
  // 999.5 and not 1024: four digits in one unit are less readable than 0.98 of the next.
  while (value >= 999.5 && unit < BINARY_UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${trimmed(value)} ${BINARY_UNITS[unit]}`;
}

/** A count or a rate without a unit: `0`, `17`, `9,876`, `12.3 k`, `4.56 M`. */
export function formatCount(count: number): string {
  if (count < 9999.5) return count < 10 && !Number.isInteger(count) ? trimmed(count) : withCommas(Math.round(count));
  let value = count / 1000;
  let unit = 0;
  while (value >= 999.5 && unit < 3) {
    value /= 1000;
    unit += 1;
  }
  return `${trimmed(value)} ${["k", "M", "G", "T"][unit]}`;
}

/** A length of time by its two largest units: `4 s`, `3 min 20 s`, `5 h 2 min`, `12 d 3 h`. */
export function formatDuration(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return pair(Math.floor(whole / 60), "min", whole % 60, "s");
  if (whole < 86_400) return pair(Math.floor(whole / 3600), "h", Math.floor((whole % 3600) / 60), "min");
  return pair(Math.floor(whole / 86_400), "d", Math.floor((whole % 86_400) / 3600), "h");
}

const pair = (large: number, largeUnit: string, small: number, smallUnit: string): string =>
  small === 0 ? `${large} ${largeUnit}` : `${large} ${largeUnit} ${small} ${smallUnit}`;

const withCommas = (value: number): string => String(value).replace(/\B(?=(\d{3})+$)/g, ",");

function trimmed(value: number): string {
  const digits = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  const text = value.toFixed(digits);
  return digits === 0 ? text : text.replace(/\.?0+$/, "");
}
