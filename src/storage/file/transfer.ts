import { read, write } from "node:fs";
import type { Memory } from "../../base/memory.ts";
import { OK, SECTOR_BYTES, type StorageStatus } from "../block-storage.ts";
import { mediumError } from "./medium-error.ts";
import type { Medium } from "./medium.ts";

/**
 * Reads sectors into `memory` at byte `at`, or writes them from there, in a thread and in as many calls as it takes.
 * `end` is told later how it ended; until then the memory must stay.
 */
export function transfer(
  { fd, path }: Medium,
  verb: "read" | "write",
  sector: number,
  count: number,
  memory: Memory,
  at: number,
  report: (key: string, message: string) => void,
  end: (status: StorageStatus) => void,
): void {
  const endAt = at + count * SECTOR_BYTES;
  const go = (from: number): void => {
    const rest = memory.bytes.subarray(from, endAt);
    const done = (error: NodeJS.ErrnoException | null, doneBytes: number): void => {
      if (error) end(mediumError(path, verb, sector, count, Math.abs(error.errno ?? 0), report));
      else if (doneBytes === rest.length) end(OK);
      else if (doneBytes === 0) end(mediumError(path, verb, sector, count, 0, report));
      else go(from + doneBytes);
    };
    const offsetBytes = sector * SECTOR_BYTES + from - at;
    if (verb === "read") read(fd, rest, 0, rest.length, offsetBytes, done);
    else write(fd, rest, 0, rest.length, offsetBytes, done);
  };
  go(at);
}
