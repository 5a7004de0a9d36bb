import { existsSync, fstatSync, readFileSync } from "node:fs";
import { allocateRange, punchHole, writeAt, zeroAllocated, zeroDevice } from "../../../ffi/file.ts";
import { EOPNOTSUPP } from "../../../ffi/libc.ts";
import { allocateMemory } from "../../../ffi/memory.ts";
import type { Medium } from "./medium.ts";

/**
 * How much is zeroed before the event loop gets its turn again. A hole of 8 MiB in dirty pages took 0.4 ms, one of 64 MiB
 * 7 ms; a device that cannot zero by itself is written to, at a hard disk's 150 MB/s 7 ms a MiB.
 */
const FILE_SLICE_BYTES = 8 * 2 ** 20;
const DEVICE_SLICE_BYTES = 2 ** 20;
const ZEROES_BYTES = 2 ** 20;

let zeroes: ReturnType<typeof allocateMemory> | undefined;

/**
 * Makes a range of a medium read as zeros, and gives its space back where it can, or with `allocate` keeps or makes it;
 * `done` gets 0 or the error number.
 */
export function zeroRange(
  medium: Medium,
  offsetBytes: number,
  lengthBytes: number,
  allocate: boolean,
  done: (errno: number) => void,
): void {
  const sliceBytes = Math.min(lengthBytes, medium.kind === "device" ? DEVICE_SLICE_BYTES : FILE_SLICE_BYTES);
  const errno = zeroSlice(medium, offsetBytes, sliceBytes, allocate);
  if (errno !== 0 || sliceBytes === lengthBytes) setImmediate(done, errno);
  else setImmediate(() => zeroRange(medium, offsetBytes + sliceBytes, lengthBytes - sliceBytes, allocate, done));
}

function zeroSlice({ kind, fd }: Medium, offsetBytes: number, lengthBytes: number, allocate: boolean): number {
  if (kind === "device") return zeroDevice(fd, offsetBytes, lengthBytes);
  const zeroed = allocate ? zeroAllocated(fd, offsetBytes, lengthBytes) : EOPNOTSUPP;
  if (zeroed !== EOPNOTSUPP) return zeroed;
  const freed = punchHole(fd, offsetBytes, lengthBytes);
  if (freed === EOPNOTSUPP) return writeZeroes(fd, offsetBytes, lengthBytes);
  if (freed !== 0 || !allocate) return freed;
  // Such as tmpfs, which zeroes nothing in its place.
  const allocated = allocateRange(fd, offsetBytes, lengthBytes);
  return allocated === EOPNOTSUPP ? 0 : allocated;
}

/** Whether holes take no writing: on devices, whether they zero by themselves. */
export function zeroesFast(medium: Medium): boolean {
  if (medium.readOnly) return false;
  // Beyond the end, where there is nothing to free: it only tells whether the filesystem can.
  if (medium.kind === "file") return punchHole(medium.fd, medium.sizeBytes + FILE_SLICE_BYTES, FILE_SLICE_BYTES) === 0;
  const { rdev } = fstatSync(medium.fd);
  // <sys/sysmacros.h>
  const major = (rdev >>> 8) & 0xfff;
  const minor = (rdev & 0xff) | ((rdev >>> 12) & 0xfff00);
  const device = `/sys/dev/block/${major}:${minor}`;
  // A partition has no queue of its own.
  const queue = [`${device}/queue`, `${device}/../queue`].find((path) => existsSync(`${path}/write_zeroes_max_bytes`));
  return queue !== undefined && Number(readFileSync(`${queue}/write_zeroes_max_bytes`, "utf8")) > 0;
}

/** For filesystems without holes. */
function writeZeroes(fd: number, offsetBytes: number, lengthBytes: number): number {
  zeroes ??= allocateMemory(ZEROES_BYTES);
  for (let doneBytes = 0; doneBytes < lengthBytes;) {
    const partBytes = Math.min(ZEROES_BYTES, lengthBytes - doneBytes);
    const written = writeAt(fd, zeroes.address, partBytes, offsetBytes + doneBytes);
    if (written < 0) return -written;
    doneBytes += written;
  }
  return 0;
}
