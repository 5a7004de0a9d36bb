/** The kernel's page cache, emptied for one file: what is read next comes from the medium. */
import { closeSync, fsyncSync, openSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readCached } from "../../ffi/file.ts";
import { EAGAIN, libc } from "../../ffi/libc.ts";
import { allocateMemory } from "../../ffi/memory.ts";

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

/** Why it cannot be tested here what happens to pages that are not in memory, or undefined where it can. */
export function missingForResidency(): string | undefined {
  const path = join(tmpdir(), `voe-residency-${process.pid}`);
  writeFileSync(path, new Uint8Array(65536));
  dropCached(path);
  const fd = openSync(path, "r");
  unlinkSync(path);
  const read = readCached(fd, allocateMemory(4096).address, 4096, 32768);
  closeSync(fd);
  return read === -EAGAIN ? undefined : `the filesystem of ${tmpdir()} does not tell what is in memory`;
}
