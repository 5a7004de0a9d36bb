/** Versioned sectors behind a cache, whose reads wait until the test lets them end. */
import type { Memory } from "../../src/base/memory.ts";
import { LATER, MEDIUM_ERROR, OK, SECTOR_BYTES, type StorageStatus } from "../../src/storage/block-storage.ts";
import type { SectorReader } from "../../src/storage/cas/cached-sectors.ts";
import { makeSectors } from "./versioned-sectors.ts";

export interface HeldSectors extends SectorReader {
  sectorCount: number;
  /** The version of each sector; 0: zeros. */
  readonly versions: Uint32Array;
  /** Sectors that cannot be read. */
  readonly damaged: Set<number>;
  /** Whether `tryRead` has to wait. */
  waits: boolean;
  /** What was read, `tryRead 0+8`, since it was last emptied. */
  readonly calls: string[];
  /** Reads that wait, oldest first. */
  readonly waiting: readonly string[];
  /** Ends one that waits. */
  release(index?: number): void;
}

export function heldSectors(sectorCount: number, blockSectors: number): HeldSectors {
  const versions = new Uint32Array(sectorCount).fill(1);
  const damaged = new Set<number>();
  const calls: string[] = [];
  const held: { name: string; end: () => void }[] = [];

  const bytesOf = (sector: number, count: number): Uint8Array => {
    const bytes = new Uint8Array(count * SECTOR_BYTES);
    for (let i = 0; i < count; i++) {
      const version = versions[sector + i]!;
      if (version > 0) bytes.set(makeSectors(sector + i, 1, version), i * SECTOR_BYTES);
    }
    return bytes;
  };

  const fill = (sector: number, bytes: Uint8Array, target: Memory, at: number): StorageStatus => {
    // A block is good or bad as a whole.
    const first = sector - (sector % blockSectors);
    const end = Math.ceil((sector + bytes.length / SECTOR_BYTES) / blockSectors) * blockSectors;
    for (let each = first; each < end; each++) {
      if (damaged.has(each)) {
        // What could not be verified may lie there.
        target.bytes.fill(0xbd, at, at + bytes.length);
        return MEDIUM_ERROR;
      }
    }
    target.bytes.set(bytes, at);
    return OK;
  };

  return {
    sectorCount,
    blockSectors,
    versions,
    damaged,
    waits: false,
    calls,
    get waiting() {
      return held.map(({ name }) => name);
    },
    release(index = 0) {
      const [next] = held.splice(index, 1);
      if (next === undefined) throw new Error("nothing waits");
      next.end();
    },
    tryRead(sector, count, target, at) {
      calls.push(`tryRead ${sector}+${count}`);
      if (sector + count > this.sectorCount) throw new Error(`${sector}+${count} is beyond the end`);
      return this.waits ? LATER : fill(sector, bytesOf(sector, count), target, at);
    },
    read(sector, count, target, at, failed) {
      const name = `read ${sector}+${count}`;
      calls.push(name);
      if (sector + count > this.sectorCount) throw new Error(`${name} is beyond the end`);
      // As it is now; until it has ended the target may hold anything.
      const bytes = bytesOf(sector, count);
      target.bytes.fill(0xaa, at, at + count * SECTOR_BYTES);
      return new Promise((resolve) => {
        const end = (): void => {
          let worst: StorageStatus = OK;
          for (let next = sector; next < sector + count;) {
            const part = Math.min(blockSectors - (next % blockSectors), sector + count - next);
            const from = (next - sector) * SECTOR_BYTES;
            const status = fill(next, bytes.subarray(from, from + part * SECTOR_BYTES), target, at + from);
            if (status !== OK) {
              failed(next, part, status);
              worst = status;
            }
            next += part;
          }
          resolve(worst);
        };
        held.push({ name, end });
      });
    },
  };
}
