import { SECTOR_BYTES } from "../block-storage.ts";
import type { BlockRange } from "./tree/diff.ts";

export interface SectorRange {
  readonly sector: number;
  readonly sectorCount: number;
}

/** The sectors of a range of blocks; the last block of a volume may reach beyond its end. */
export function toSectors({ firstBlock, blockCount }: BlockRange, blockBytes: number, endSector: number): SectorRange {
  const blockSectors = blockBytes / SECTOR_BYTES;
  const sector = firstBlock * blockSectors;
  return { sector, sectorCount: Math.min(endSector, (firstBlock + blockCount) * blockSectors) - sector };
}
