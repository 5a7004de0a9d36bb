import { SECTOR_BYTES, type DeviceInfo } from "../../storage/block-storage.ts";

/** Most sectors that LBA28 reaches; IDENTIFY words 60-61 never say more. */
export const LBA28_MOST_SECTORS = 0x0fffffff;

/** ASCII as IDENTIFY has it: space-padded, the two characters of each word swapped. */
function writeText(view: DataView, word: number, words: number, text: string): void {
  const padded = text.padEnd(words * 2, " ");
  for (let i = 0; i < words * 2; i++) {
    const code = padded.charCodeAt(i);
    view.setUint8(word * 2 + (i ^ 1), code >= 0x20 && code < 0x7f ? code : 0x20);
  }
}

/**
 * The 512 bytes that IDENTIFY DEVICE answers (ATA8-ACS, section 7.16). Words are those that other AoE targets fill,
 * and word 106: 4 KiB physical sectors over 512-byte logical ones, which initiators assume.
 */
export function identifyDevice(info: DeviceInfo): Uint8Array {
  const bytes = new Uint8Array(SECTOR_BYTES);
  const view = new DataView(bytes.buffer);
  const word = (index: number, value: number): void => view.setUint16(index * 2, value, true);

  const lba28Sectors = Math.min(info.sectorCount, LBA28_MOST_SECTORS);
  const heads = 255;
  const sectorsPerTrack = 63;
  const cylinders = Math.min(65535, Math.floor(info.sectorCount / (heads * sectorsPerTrack)));
  const chsSectors = cylinders * heads * sectorsPerTrack;

  word(0, 0x0040); // a fixed ATA device
  word(1, Math.min(cylinders, 16383));
  word(3, heads);
  word(6, sectorsPerTrack);
  writeText(view, 10, 10, info.serial);
  writeText(view, 23, 4, info.firmware);
  writeText(view, 27, 20, info.model);
  word(47, 0x8000); // no READ MULTIPLE
  word(49, 0x0200); // LBA
  word(50, 0x4000);
  word(53, 0x0001); // words 54-58 are valid
  word(54, cylinders);
  word(55, heads);
  word(56, sectorsPerTrack);
  view.setUint32(57 * 2, chsSectors, true);
  view.setUint32(60 * 2, lba28Sectors, true);
  word(80, 0x00f0); // ATA-4 to ATA-7
  word(83, 0x7400); // FLUSH CACHE EXT, FLUSH CACHE, LBA48
  word(84, 0x4000);
  word(86, 0x7400);
  word(87, 0x4000);
  word(93, 0x400b);
  view.setBigUint64(100 * 2, BigInt(info.sectorCount), true);
  word(106, 0x6003); // 2^3 logical sectors in a physical one
  return bytes;
}
