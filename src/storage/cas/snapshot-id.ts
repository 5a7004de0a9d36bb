/** Digits of a snapshot's id: 64 bits, of which people type the first few. */
const ID_DIGITS = 16;

/** The id of the snapshot whose record has this checksum: the first 16 of its hexadecimal digits. */
export const snapshotId = (checksum: string): string => checksum.slice(0, ID_DIGITS);

/**
 * The one id that begins with `prefix`, in capitals or not. Throws RangeError where there is none or more than one,
 * with what to do.
 */
export function resolvePrefix(ids: Iterable<string>, prefix: string): string {
  const wanted = prefix.toLowerCase();
  if (!/^[0-9a-f]+$/.test(wanted)) {
    throw new RangeError(`${JSON.stringify(prefix)} is no snapshot id: ids have the digits 0 to 9 and a to f`);
  }
  const matches = [...new Set(ids)].filter((id) => id.startsWith(wanted)).toSorted();
  const [match] = matches;
  if (match === undefined)
    throw new RangeError(`no snapshot has an id that begins with ${wanted}; list them with voe snapshot list`);
  if (matches.length > 1) {
    const shown = matches.length > 5 ? [...matches.slice(0, 4), `${matches.length - 4} more`] : matches;
    throw new RangeError(`${wanted} may be any of ${shown.join(", ")}; write more digits`);
  }
  return match;
}
