/**
 * Where a block may lie: all entries whose 64 bits are those of its hash. Nearly always one; whoever asked compares the
 * whole hash with the pack's directory. Kept and reused, so that a lookup allocates nothing.
 */
export interface Places {
  count: number;
  /** Numbers of packs; `PackTable.nameOf` has their names. */
  packs: Uint32Array;
  /** Places in the directories of the packs. */
  ordinals: Uint32Array;
}

export const createPlaces = (): Places => ({ count: 0, packs: new Uint32Array(8), ordinals: new Uint32Array(8) });

/** Adds a place, unless it is there already: an entry may be in two runs after a pack was added twice. */
export function addPlace(places: Places, pack: number, ordinal: number): void {
  for (let i = 0; i < places.count; i++) {
    if (places.packs[i] === pack && places.ordinals[i] === ordinal) return;
  }
  if (places.count === places.packs.length) {
    places.packs = doubled(places.packs);
    places.ordinals = doubled(places.ordinals);
  }
  places.packs[places.count] = pack;
  places.ordinals[places.count] = ordinal;
  places.count += 1;
}

function doubled(numbers: Uint32Array): Uint32Array {
  const larger = new Uint32Array(numbers.length * 2);
  larger.set(numbers);
  return larger;
}
