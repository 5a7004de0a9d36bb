import { EDQUOT, EFBIG, ENOSPC, errorName } from "../../../ffi/libc.ts";
import { MEDIUM_ERROR, NO_SPACE, SECTOR_BYTES, type StorageStatus } from "../block-storage.ts";

/** What the log says, and how the request ends, when the medium failed with error number `errno`. */
export function mediumError(
  path: string,
  verb: "read" | "write" | "zero",
  sector: number,
  count: number,
  errno: number,
  report: (key: string, message: string) => void,
): StorageStatus {
  const full = errno === ENOSPC || errno === EDQUOT || errno === EFBIG;
  const reason = errno === 0 ? "the file ends before them: was it cut?" : errorName(errno);
  report(
    `${path}:${verb}:${full ? "full" : "error"}`,
    `${path}: ${verb} of ${count} sectors at sector ${sector} (byte ${sector * SECTOR_BYTES}) failed: ${reason}`,
  );
  return full ? NO_SPACE : MEDIUM_ERROR;
}
