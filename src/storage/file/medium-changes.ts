/** Changes to a medium that are always made off the event loop, or a slice at a time, in the order of all requests. */
import { allocateMemory, freeMemory } from "../../../ffi/memory.ts";
import { MEDIUM_ERROR, OK, SECTOR_BYTES, type BlockStorage, type StorageStatus } from "../block-storage.ts";
import type { OrderedRequest } from "../request-order.ts";
import { tell } from "../tell.ts";
import { mediumError } from "./medium-error.ts";
import type { Medium } from "./medium.ts";
import type { FileStorageOptions, ServedMedium } from "./served-medium.ts";
import { transfer } from "./transfer.ts";
import { zeroesFast, zeroRange } from "./zero-range.ts";

export function mediumChanges(
  medium: Medium,
  served: ServedMedium,
  report: FileStorageOptions["report"],
): Pick<BlockStorage, "writePart" | "writeZeroes" | "hasFastZeroes"> {
  const { path } = medium;
  const { order, refusal } = served;
  return {
    writePart(sector, offsetBytes, lengthBytes, source, at, durable, completion) {
      const refused = refusal(sector, 1, true);
      if (refused !== OK) {
        tell(completion, refused);
        return;
      }
      const part = source.bytes.slice(at, at + lengthBytes);
      const whole = allocateMemory(SECTOR_BYTES);
      const end = (status: StorageStatus): void => {
        freeMemory(whole);
        order.finish(request);
        served.endWrite(status, durable, completion);
      };
      const request: OrderedRequest = {
        sector,
        count: 1,
        writes: true,
        start: () =>
          transfer(medium, "read", sector, 1, whole, 0, report, (status) => {
            if (status !== OK || !served.mayWrite()) {
              end(status === OK ? MEDIUM_ERROR : status);
              return;
            }
            whole.bytes.set(part, offsetBytes);
            transfer(medium, "write", sector, 1, whole, 0, report, end);
          }),
      };
      order.begin(request);
    },
    hasFastZeroes: zeroesFast(medium),
    writeZeroes(sector, count, allocate, durable, completion) {
      const refused = refusal(sector, count, true);
      if (refused !== OK) {
        tell(completion, refused);
        return;
      }
      const end = (status: StorageStatus): void => {
        order.finish(request);
        served.endWrite(status, durable, completion);
      };
      const request: OrderedRequest = {
        sector,
        count,
        writes: true,
        start() {
          if (!served.mayWrite()) {
            end(MEDIUM_ERROR);
            return;
          }
          zeroRange(medium, sector * SECTOR_BYTES, count * SECTOR_BYTES, allocate, (errno) =>
            end(errno === 0 ? OK : mediumError(path, "zero", sector, count, errno, report)),
          );
        },
      };
      order.begin(request);
    },
  };
}
