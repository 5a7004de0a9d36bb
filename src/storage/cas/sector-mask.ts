/** Sets of sectors of an extent: a bit a sector, MASK_WORDS words a mask, many masks in one array. */

/** What the cache takes in, lets go of and finds as one: the blocks of every size lie within one extent. */
export const EXTENT_SECTORS = 128;
export const MASK_WORDS = EXTENT_SECTORS / 32;

/** The bits of a word that stand for the sectors from `from` to before `to`. */
function bitsOf(word: number, from: number, to: number): number {
  const low = Math.max(from - word * 32, 0);
  const count = Math.min(to - word * 32, 32) - low;
  return count === 32 ? -1 : ((1 << count) - 1) << low;
}

/** Whether all sectors from `from` to before `to` are in the mask at word `at`. */
export function hasAll(masks: Int32Array, at: number, from: number, to: number): boolean {
  const last = (to - 1) >> 5;
  for (let word = from >> 5; word <= last; word++) {
    const bits = bitsOf(word, from, to);
    if ((masks[at + word]! & bits) !== bits) return false;
  }
  return true;
}

/** Whether any of the sectors is in the mask. */
export function hasAny(masks: Int32Array, at: number, from: number, to: number): boolean {
  const last = (to - 1) >> 5;
  for (let word = from >> 5; word <= last; word++) if ((masks[at + word]! & bitsOf(word, from, to)) !== 0) return true;
  return false;
}

export function addSectors(masks: Int32Array, at: number, from: number, to: number): void {
  const last = (to - 1) >> 5;
  for (let word = from >> 5; word <= last; word++) masks[at + word]! |= bitsOf(word, from, to);
}

export function removeSectors(masks: Int32Array, at: number, from: number, to: number): void {
  const last = (to - 1) >> 5;
  for (let word = from >> 5; word <= last; word++) masks[at + word]! &= ~bitsOf(word, from, to);
}

/** Where the run of sectors that begins at `from`, all in the mask or all not, ends: `to` at most. */
export function endOfRun(masks: Int32Array, at: number, from: number, to: number): number {
  const isIn = (sector: number): boolean => (masks[at + (sector >> 5)]! & (1 << (sector & 31))) !== 0;
  const first = isIn(from);
  let end = from + 1;
  while (end < to && isIn(end) === first) end++;
  return end;
}
