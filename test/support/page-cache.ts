/** The kernel's page cache, emptied for one file: what is read next comes from the medium. */
import { closeSync, fsyncSync, openSync } from "node:fs";
import { libc } from "../../ffi/libc.ts";

const POSIX_FADV_DONTNEED = 4;

/** Drops what the page cache holds of a file or device, except pages that a process has mapped and touched. */
export function dropCached(path: string): void {
  const fd = openSync(path, "r+");
  try {
    fsyncSync(fd);
    libc.posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  } finally {
    closeSync(fd);
  }
}
