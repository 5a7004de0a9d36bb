/** What a cache has of a pack, in granules: which of them are in its file, and which are on their way. */

/** The unit that is kept of a pack. */
export const GRANULE_BYTES = 64 * 1024;

const ABSENT = 0;
const COMING = 1;
const PRESENT = 2;

export type GranuleState = typeof ABSENT | typeof COMING | typeof PRESENT;
export { ABSENT, COMING, PRESENT };

/** A range of bytes of a pack: whole granules, but for the last one of the pack. */
export interface PackRange {
  readonly fromBytes: number;
  readonly toBytes: number;
}

export interface CachedPack {
  readonly name: string;
  readonly sizeBytes: number;
  readonly file: string;
  /** State of every granule; undefined: the pack is there as a whole. */
  granules: Uint8Array | undefined;
  /** Bytes that its file takes. */
  keptBytes: number;
  /** Ranges that are on their way. */
  coming: number;
  /** How often something had to be fetched of it. */
  touches: number;
  /** Asked for since it was last looked at for room. */
  recent: boolean;
  /** No longer in the cache: what is on its way is not kept. */
  dropped: boolean;
}

export const wholePack = (name: string, sizeBytes: number, file: string): CachedPack => ({
  ...partialPack(name, sizeBytes, file),
  granules: undefined,
  keptBytes: sizeBytes,
});

export const partialPack = (name: string, sizeBytes: number, file: string): CachedPack => ({
  name,
  sizeBytes,
  file,
  granules: new Uint8Array(Math.ceil(sizeBytes / GRANULE_BYTES)),
  keptBytes: 0,
  coming: 0,
  touches: 0,
  recent: true,
  dropped: false,
});

const firstGranule = (bytes: number): number => Math.floor(bytes / GRANULE_BYTES);
const granuleEnd = (bytes: number): number => Math.ceil(bytes / GRANULE_BYTES);

/** Whether all of a range is in the file. */
export function hasRange(pack: CachedPack, offsetBytes: number, lengthBytes: number): boolean {
  if (offsetBytes + lengthBytes > pack.sizeBytes) return false;
  const { granules } = pack;
  if (granules === undefined) return true;
  const end = granuleEnd(offsetBytes + lengthBytes);
  for (let granule = firstGranule(offsetBytes); granule < end; granule++) {
    if (granules[granule] !== PRESENT) return false;
  }
  return true;
}

/** The part of a range from its beginning on that is in one state. */
export function runAt(
  pack: CachedPack,
  offsetBytes: number,
  endBytes: number,
): { state: GranuleState; toBytes: number } {
  const { granules } = pack;
  if (granules === undefined) return { state: PRESENT, toBytes: endBytes };
  const first = firstGranule(offsetBytes);
  const state = granules[first] as GranuleState;
  let end = first + 1;
  while (end < granuleEnd(endBytes) && granules[end] === state) end++;
  return { state, toBytes: Math.min(endBytes, end * GRANULE_BYTES) };
}

/**
 * The granules that are worth fetching where a range is absent from the pack: the range rounded outwards, and more of
 * what is absent after it, or before it at the end of the pack, up to `leastBytes`.
 */
export function rangeToFetch(pack: CachedPack, offsetBytes: number, endBytes: number, leastBytes: number): PackRange {
  const granules = pack.granules!;
  const least = leastBytes / GRANULE_BYTES;
  let first = firstGranule(offsetBytes);
  let end = granuleEnd(endBytes);
  while (end - first < least && end < granules.length && granules[end] === ABSENT) end++;
  while (end - first < least && end === granules.length && first > 0 && granules[first - 1] === ABSENT) first--;
  return { fromBytes: first * GRANULE_BYTES, toBytes: Math.min(pack.sizeBytes, end * GRANULE_BYTES) };
}

/** The first part of a range that is absent, at most so long; undefined: nothing is. */
export function nextAbsent(pack: CachedPack, range: PackRange, mostBytes: number): PackRange | undefined {
  const { granules } = pack;
  if (granules === undefined) return undefined;
  const end = Math.min(granules.length, granuleEnd(range.toBytes));
  let first = firstGranule(range.fromBytes);
  while (first < end && granules[first] !== ABSENT) first++;
  if (first >= end) return undefined;
  let last = first;
  while (last < end && granules[last] === ABSENT && (last - first) * GRANULE_BYTES < mostBytes) last++;
  return { fromBytes: first * GRANULE_BYTES, toBytes: Math.min(pack.sizeBytes, last * GRANULE_BYTES) };
}

/** Sets the state of a range that `rangeToFetch` or `nextAbsent` gave. */
export function mark(pack: CachedPack, { fromBytes, toBytes }: PackRange, state: GranuleState): void {
  pack.granules?.fill(state, firstGranule(fromBytes), granuleEnd(toBytes));
}

/** Whether every granule is in the file. */
export const isComplete = ({ granules }: CachedPack): boolean => granules?.every((state) => state === PRESENT) ?? true;
