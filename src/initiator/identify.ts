/** The answer to IDENTIFY DEVICE: 256 little-endian words (ATA/ATAPI-7, section 6.17). */

export const IDENTIFY_BYTES = 512;

const WORD_SERIAL = 10;
const WORD_FIRMWARE = 23;
const WORD_MODEL = 27;
const WORD_SECTORS_28 = 60;
const WORD_COMMAND_SETS = 83;
const WORD_SECTORS_48 = 100;
const SUPPORTS_LBA48 = 0x0400;

export interface Identity {
  readonly sectorCount: number;
  readonly model: string;
  readonly serial: string;
  readonly firmware: string;
  /** Addresses beyond 28 bits can be used. */
  readonly lba48: boolean;
}

/** Undefined where `data` is shorter than an IDENTIFY answer. */
export function parseIdentify(data: Uint8Array): Identity | undefined {
  if (data.length < IDENTIFY_BYTES) return undefined;
  const view = new DataView(data.buffer, data.byteOffset, IDENTIFY_BYTES);
  const word = (index: number): number => view.getUint16(index * 2, true);
  // Two characters to a word, the first in the high byte.
  const text = (index: number, words: number): string =>
    Array.from({ length: words }, (_, i) => String.fromCharCode(word(index + i) >>> 8, word(index + i) & 0xff))
      .join("")
      .replace(/[ \0]+$/, "");
  const lba48 = (word(WORD_COMMAND_SETS) & SUPPORTS_LBA48) !== 0;
  return {
    sectorCount: lba48
      ? view.getUint32(WORD_SECTORS_48 * 2, true) + word(WORD_SECTORS_48 + 2) * 2 ** 32
      : view.getUint32(WORD_SECTORS_28 * 2, true),
    model: text(WORD_MODEL, 20),
    serial: text(WORD_SERIAL, 10),
    firmware: text(WORD_FIRMWARE, 4),
    lba48,
  };
}
