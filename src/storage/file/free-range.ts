import { punchHole, writeAt, zeroDevice } from "../../../ffi/file.ts";
import { EOPNOTSUPP } from "../../../ffi/libc.ts";
import { allocateMemory } from "../../../ffi/memory.ts";
import type { Medium } from "./medium.ts";

/**
 * How much is freed before the event loop gets its turn again. A hole of 8 MiB in dirty pages took 0.4 ms, one of 64 MiB
 * 7 ms; a device that cannot zero by itself is written to, at a hard disk's 150 MB/s 7 ms a MiB.
 */
const FILE_SLICE_BYTES = 8 * 2 ** 20;
const DEVICE_SLICE_BYTES = 2 ** 20;
const ZEROES_BYTES = 2 ** 20;

let zeroes: ReturnType<typeof allocateMemory> | undefined;

/** Makes a range of a medium read as zeros and gives its space back where it can; `done` gets 0 or the error number. */
export function freeRange(
  medium: Medium,
  offsetBytes: number,
  lengthBytes: number,
  done: (errno: number) => void,
): void {
  const sliceBytes = Math.min(lengthBytes, medium.kind === "device" ? DEVICE_SLICE_BYTES : FILE_SLICE_BYTES);
  const errno = freeSlice(medium, offsetBytes, sliceBytes);
  if (errno !== 0 || sliceBytes === lengthBytes) setImmediate(done, errno);
  else setImmediate(() => freeRange(medium, offsetBytes + sliceBytes, lengthBytes - sliceBytes, done));
}

function freeSlice(medium: Medium, offsetBytes: number, lengthBytes: number): number {
  if (medium.kind === "device") return zeroDevice(medium.fd, offsetBytes, lengthBytes);
  const errno = punchHole(medium.fd, offsetBytes, lengthBytes);
  return errno === EOPNOTSUPP ? writeZeroes(medium.fd, offsetBytes, lengthBytes) : errno;
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
