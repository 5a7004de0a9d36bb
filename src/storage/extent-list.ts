import type { Extent } from "./block-storage.ts";

/** Extents being gathered in order, for `BlockStorage.extents`. */
export interface ExtentList {
  readonly extents: Extent[];
  /** Whether there are as many as are wanted, the last of which cannot grow any more. */
  readonly isFull: boolean;
  /** Adds sectors, of which there may be none, to the last extent where they are like it. */
  add(sectorCount: number, isHole: boolean): void;
}

export function extentList(most: number): ExtentList {
  const extents: { sectorCount: number; readonly isHole: boolean }[] = [];
  let isFull = false;
  return {
    extents,
    get isFull() {
      return isFull;
    },
    add(sectorCount, isHole) {
      if (sectorCount === 0 || isFull) return;
      const last = extents.at(-1);
      if (last?.isHole === isHole) last.sectorCount += sectorCount;
      else if (extents.length < most) extents.push({ sectorCount, isHole });
      else isFull = true;
    },
  };
}
