import type { Memory } from "../base/memory.ts";
import {
  OK,
  OUT_OF_RANGE,
  READ_ONLY,
  SECTOR_BYTES,
  type BlockStorage,
  type DeviceInfo,
  type StorageStatus,
} from "./block-storage.ts";
import { tell } from "./tell.ts";

/** A disk in this process's memory, for tests and measurements: it holds nothing beyond the process's life. */
export function memoryStorage(sectorCount: number, options: { readOnly?: boolean } = {}): BlockStorage {
  const bytes = new Uint8Array(sectorCount * SECTOR_BYTES);
  const info: DeviceInfo = {
    sectorCount,
    readOnly: options.readOnly ?? false,
    model: "voe memory",
    serial: "memory",
    firmware: "1",
  };
  const inRange = (sector: number, count: number): boolean => sector + count <= sectorCount;
  const tryRead = (sector: number, count: number, target: Memory, at: number): StorageStatus => {
    if (!inRange(sector, count)) return OUT_OF_RANGE;
    target.bytes.set(bytes.subarray(sector * SECTOR_BYTES, (sector + count) * SECTOR_BYTES), at);
    return OK;
  };
  const tryWrite = (sector: number, count: number, source: Memory, at: number): StorageStatus => {
    if (!inRange(sector, count)) return OUT_OF_RANGE;
    if (info.readOnly) return READ_ONLY;
    bytes.set(source.bytes.subarray(at, at + count * SECTOR_BYTES), sector * SECTOR_BYTES);
    return OK;
  };
  return {
    info,
    lend: () => 0,
    tryRead,
    read: (sector, count, target, at, completion) => tell(completion, tryRead(sector, count, target, at)),
    tryWrite,
    write: (sector, count, source, at, _durable, completion) => tell(completion, tryWrite(sector, count, source, at)),
    flush: (completion) => tell(completion, OK),
    discard(sector, count, completion) {
      const status = !inRange(sector, count) ? OUT_OF_RANGE : info.readOnly ? READ_ONLY : OK;
      if (status === OK) bytes.fill(0, sector * SECTOR_BYTES, (sector + count) * SECTOR_BYTES);
      tell(completion, status);
    },
    onResize: () => {},
    close: () => Promise.resolve(),
  };
}
