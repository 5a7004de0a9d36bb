import type { BlockStorage } from "../../src/storage/block-storage.ts";

/** Sectors of the disks under test: some pages of the page cache, and a last one that is not whole. */
export const SECTOR_COUNT = 2048 + 5;

export interface StorageUnderTest extends AsyncDisposable {
  readonly storage: BlockStorage;
  /** Opens what a storage that has been closed left behind. Absent: nothing outlives it. */
  readonly reopen?: () => Promise<BlockStorage>;
  /** Makes the next read wait for the medium. Absent: there is none to wait for. */
  readonly evict?: () => void;
  /** What is freed is a hole, and not only zeros. */
  readonly frees?: boolean;
  /** Moves what was written to where it stays. Absent: it is there at once. */
  readonly checkpoint?: () => Promise<void>;
  /** Gives the disk so many sectors. Absent: its size never changes. */
  readonly grow?: (sectorCount: number) => Promise<void>;
}

export interface Implementation {
  readonly name: string;
  /** Why it cannot be had here. */
  readonly missing: string | undefined;
  /** Opens a disk of SECTOR_COUNT sectors that holds `content`. */
  readonly open: (content: Uint8Array) => Promise<StorageUnderTest>;
}
