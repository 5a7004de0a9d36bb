/** A disk in memory that answers nothing at once: reads, writes and flushes wait until the test lets them end. */
import { LATER, OK, type BlockStorage, type Completion, type StorageStatus } from "../../src/storage/block-storage.ts";
import { memoryStorage } from "../../src/storage/memory-storage.ts";

export interface HeldStorage extends BlockStorage {
  /** Requests that wait, oldest first. */
  readonly waiting: readonly string[];
  /** Ends the oldest that waits: by doing it, or with this failure. */
  release(status?: StorageStatus): void;
}

export function heldStorage(sectorCount: number): HeldStorage {
  const memory = memoryStorage(sectorCount);
  const held: { name: string; work: () => StorageStatus; completion: Completion }[] = [];
  const hold = (name: string, completion: Completion, work: () => StorageStatus): void => {
    held.push({ name, work, completion });
  };
  return {
    ...memory,
    get waiting() {
      return held.map(({ name }) => name);
    },
    release(status = OK) {
      const next = held.shift();
      if (next === undefined) throw new Error("nothing waits");
      next.completion.complete(status === OK ? next.work() : status);
    },
    tryRead: () => LATER,
    tryWrite: () => LATER,
    read: (sector, count, target, at, completion) =>
      hold(`read ${sector}+${count}`, completion, () => memory.tryRead(sector, count, target, at)),
    write(sector, count, source, at, _durable, completion) {
      const copy = source.bytes.slice(at, at + count * 512);
      const view = new DataView(copy.buffer);
      const taken = { bytes: copy, view, address: 0, lengthBytes: copy.length };
      hold(`write ${sector}+${count}`, completion, () => memory.tryWrite(sector, count, taken, 0));
    },
    flush: (completion) => hold("flush", completion, () => OK),
  };
}
