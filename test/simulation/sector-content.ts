/**
 * What simulated clients write: each sector says which version it is of, so that what is read back tells what it is, and
 * whether it is whole and in its place. Some versions are the same in every sector, so that blocks of them are stored
 * once; some cannot be compressed.
 */
import { SECTOR_BYTES } from "../../src/storage/block-storage.ts";

const WORDS = SECTOR_BYTES / 4;
/** Instead of a version: the sector could not be read. */
export const UNREADABLE = 0xffff_ffff;

const isPlaced = (version: number): boolean => (version & 2) !== 0;
const isNoise = (version: number): boolean => (version & 1) !== 0;

/** Versions, and whose they are: numbered from 1 on, 0 being a sector of zeros. */
export class Versions {
  readonly #tags: number[] = [0];

  get count(): number {
    return this.#tags.length - 1;
  }

  /** A new version, of a volume that has this number. */
  next(tag: number): number {
    return this.#tags.push(tag) - 1;
  }

  /** The second word: sectors of some versions say where they belong. */
  #mark(version: number, sector: number): number {
    return isPlaced(version) ? sector * 16 + this.#tags[version]! : version;
  }

  /** Writes sector `sector` of a version at a word of `words`. */
  write(words: Uint32Array, at: number, version: number, sector: number): void {
    if (isNoise(version)) {
      for (let word = 2; word < WORDS; word++) words[at + word] = Math.imul(version + word * 0x0100_0193, 0x9e37_79b1);
    } else words.fill(version, at, at + WORDS);
    words[at] = version;
    words[at + 1] = version === 0 ? 0 : this.#mark(version, sector);
  }

  /** The version of what is at a word of `words`. Throws where it is torn, or of another place. */
  read(words: Uint32Array, at: number, sector: number): number {
    const version = words[at]!;
    if (version > this.count) throw new Error(`sector ${sector} holds ${version}, which was never written`);
    if (words[at + 1] !== (version === 0 ? 0 : this.#mark(version, sector))) {
      throw new Error(`sector ${sector} holds a sector of version ${version} that belongs elsewhere, or is torn`);
    }
    const noise = isNoise(version);
    for (let word = 2; word < WORDS; word++) {
      const wanted = noise ? Math.imul(version + word * 0x0100_0193, 0x9e37_79b1) >>> 0 : version;
      if (words[at + word] !== wanted)
        throw new Error(`sector ${sector} of version ${version} is torn at word ${word}`);
    }
    return version;
  }
}
