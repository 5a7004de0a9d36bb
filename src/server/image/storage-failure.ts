import { SECTOR_BYTES, NO_SPACE, OUT_OF_RANGE, READ_ONLY, type StorageStatus } from "../../storage/block-storage.ts";

/** What became of a request, in words: `what` is such as "writing". */
export function storageFailure(what: string, sector: number, count: number, status: StorageStatus): Error {
  const where = `${what} ${count * SECTOR_BYTES} bytes at byte ${sector * SECTOR_BYTES}`;
  switch (status) {
    case NO_SPACE:
      return new Error(`${where} failed: the medium is full. Free or add space`);
    case READ_ONLY:
      return new Error(`${where} failed: the disk is read-only`);
    case OUT_OF_RANGE:
      return new Error(`${where} failed: the disk ends before`);
    default:
      return new Error(
        `${where} failed: the medium did not do it, or the target was closed. The server's log says why`,
      );
  }
}
