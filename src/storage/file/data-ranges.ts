import { nextData, nextHole } from "../../../ffi/file.ts";
import { ENXIO } from "../../../ffi/libc.ts";
import { SECTOR_BYTES } from "../block-storage.ts";

interface SectorRange {
  readonly sector: number;
  readonly sectorCount: number;
}

/**
 * The first `sectorCount` sectors of a file or device without its holes: ranges in ascending order, each as it is when it
 * is asked for. Where the filesystem cannot tell, as no device can, that is everything.
 */
export function* dataRanges(fd: number, sectorCount: number): Generator<SectorRange, void, undefined> {
  for (let at = 0; at < sectorCount;) {
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
