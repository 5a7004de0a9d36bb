import { nextData, nextHole } from "../../../ffi/file.ts";
import { ENXIO } from "../../../ffi/libc.ts";
import { SECTOR_BYTES, type Extent } from "../block-storage.ts";
import { extentList } from "../extent-list.ts";

interface SectorRange {
  readonly sector: number;
  readonly sectorCount: number;
}

/**
 * The sectors of a file or device up to `sectorCount`, from `firstSector` on, without its holes: ranges in ascending
 * order, each as it is when it is asked for. Where the filesystem cannot tell, as no device can, that is everything.
 */
export function* dataRanges(fd: number, sectorCount: number, firstSector = 0): Generator<SectorRange, void, undefined> {
  for (let at = firstSector; at < sectorCount;) {
    const from = nextData(fd, at * SECTOR_BYTES);
    if (from === -ENXIO) return;
    const to = from < 0 ? from : nextHole(fd, from);
    // A hole may begin where data was found a moment ago: someone has changed the file.
    const isKnown = from >= 0 && to > from;
    const sector = isKnown ? Math.max(at, Math.floor(from / SECTOR_BYTES)) : at;
    const end = isKnown ? Math.min(Math.ceil(to / SECTOR_BYTES), sectorCount) : sectorCount;
    if (sector >= end) return;
    yield { sector, sectorCount: end - sector };
    at = end;
  }
}

/** What of a range is data, as `BlockStorage.extents` says it. What is dirty in the page cache counts as data. */
export function dataExtents(fd: number, sector: number, count: number, most: number): Extent[] {
  const list = extentList(most);
  const end = sector + count;
  let at = sector;
  for (const range of dataRanges(fd, end, sector)) {
    list.add(range.sector - at, true);
    list.add(range.sectorCount, false);
    at = range.sector + range.sectorCount;
    if (list.isFull) return list.extents;
  }
  list.add(end - at, true);
  return list.extents;
}
