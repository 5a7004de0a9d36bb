import type { Memory } from "../base/memory.ts";
import {
  MEDIUM_ERROR,
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
  let closed = false;
  const refusal = (sector: number, count: number, writes: boolean): StorageStatus => {
    if (sector + count > sectorCount) return OUT_OF_RANGE;
    if (closed) return MEDIUM_ERROR;
    return writes && info.readOnly ? READ_ONLY : OK;
  };
  const tryRead = (sector: number, count: number, target: Memory, at: number): StorageStatus => {
    const refused = refusal(sector, count, false);
    if (refused !== OK) return refused;
    target.bytes.set(bytes.subarray(sector * SECTOR_BYTES, (sector + count) * SECTOR_BYTES), at);
    return OK;
  };
  const tryWrite = (sector: number, count: number, source: Memory, at: number): StorageStatus => {
    const refused = refusal(sector, count, true);
    if (refused !== OK) return refused;
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
    flush: (completion) => tell(completion, closed ? MEDIUM_ERROR : OK),
    writePart(sector, offsetBytes, lengthBytes, source, at, _durable, completion) {
      const status = refusal(sector, 1, true);
      if (status === OK) bytes.set(source.bytes.subarray(at, at + lengthBytes), sector * SECTOR_BYTES + offsetBytes);
      tell(completion, status);
    },
    hasFastZeroes: true,
    writeZeroes(sector, count, _allocate, _durable, completion) {
      const status = refusal(sector, count, true);
      if (status === OK) bytes.fill(0, sector * SECTOR_BYTES, (sector + count) * SECTOR_BYTES);
      tell(completion, status);
    },
    extents(sector, count) {
      if (refusal(sector, count, false) !== OK) return Promise.reject(new Error("the disk in memory was closed"));
      return Promise.resolve([{ sectorCount: count, isHole: false }]);
    },
    onResize: () => {},
    close() {
      closed = true;
      return Promise.resolve();
    },
  };
}
