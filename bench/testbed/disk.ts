import { closeSync, existsSync, fdatasyncSync, fsyncSync, ftruncateSync, openSync, writeSync } from "node:fs";

/** A hole from end to end, or filled once. */
export type Preparation = "sparse" | "written";

// As AoE clients write. It matters: written 1 MiB at a time, the file lies in the page cache in large folios, of which
// ext4 walks every block at each write, and vblade took 9.4 us of CPU for 1 KiB instead of 2.6 (Linux 6.18).
const CHUNK_BYTES = 8192;

/** Makes a disk file, the same way for every server. A written one that is there already is kept: all of it was written. */
export function prepareDisk(path: string, sizeBytes: number, preparation: Preparation): void {
  if (preparation === "written" && existsSync(path)) return;
  const fd = openSync(path, "w");
  try {
    ftruncateSync(fd, sizeBytes);
    if (preparation === "sparse") return;
    const chunk = new Uint8Array(CHUNK_BYTES);
    crypto.getRandomValues(chunk);
    for (let at = 0; at < sizeBytes; at += CHUNK_BYTES) writeSync(fd, chunk, 0, CHUNK_BYTES, at);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Waits until what was written is on the medium, so that one server's writes do not slow the next one's run. */
export function settleDisk(path: string): void {
  const fd = openSync(path, "r+");
  try {
    fdatasyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
