/** From a block's hash to a pack that has it: what the index hints at, confirmed by the pack's directory. */
import { ABSENT, FOUND, LATER, type BlockIndex, type LookupStatus } from "./index/block-index.ts";
import { createPlaces } from "./index/places.ts";
import type { KnownPack, PackDirectories } from "./pack-directories.ts";

/** The block that was found last by one who asks. Kept and reused: the block after it is most often the next one. */
export interface Found {
  pack: KnownPack | undefined;
  /** Number of the entry in the pack's directory. */
  ordinal: number;
}

export interface BlockFinder {
  /**
   * Sets `found` to the block with the hash at byte `at` of `hash` where no medium has to be asked: FOUND, ABSENT, or
   * LATER. Looks first behind what was found before, as blocks that were written together lie and are asked for
   * together: 50 ns instead of a search of the index.
   */
  tryFind(hash: Uint8Array, at: number, found: Found): LookupStatus;
  /** Never finds this entry again: its block is damaged, so that it is to be stored anew when it comes again. */
  distrust(number: number, ordinal: number): void;
  isDistrusted(number: number, ordinal: number): boolean;
}

/** More than a pack has entries. */
const ORDINALS = 2 ** 24;

export function createBlockFinder(index: BlockIndex, directories: PackDirectories): BlockFinder {
  const places = createPlaces();
  const distrusted = new Set<number>();
  const isDistrusted = (number: number, ordinal: number): boolean =>
    distrusted.size > 0 && distrusted.has(number * ORDINALS + ordinal);

  return {
    distrust: (number, ordinal) => void distrusted.add(number * ORDINALS + ordinal),
    isDistrusted,
    tryFind(hash, at, found) {
      const { pack: last, ordinal: lastOrdinal } = found;
      if (last?.directory.holds(lastOrdinal + 1, hash, at) === true && !isDistrusted(last.number, lastOrdinal + 1)) {
        found.ordinal++;
        last.recent = true;
        return FOUND;
      }
      const status = index.tryLookup(hash, at, places);
      if (status !== FOUND) return status;
      let unsure = false;
      for (let i = 0; i < places.count; i++) {
        const number = places.packs[i]!;
        const ordinal = places.ordinals[i]!;
        if (isDistrusted(number, ordinal)) continue;
        const pack = directories.tryGet(number);
        if (pack === undefined) {
          unsure = true;
        } else if (pack.directory.holds(ordinal, hash, at)) {
          found.pack = pack;
          found.ordinal = ordinal;
          return FOUND;
        }
      }
      return unsure ? LATER : ABSENT;
    },
  };
}
