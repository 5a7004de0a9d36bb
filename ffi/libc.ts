/**
 * The C library's functions that voe calls. Results are the raw return values of the `syscall`-like functions: -1
 * leaves the reason in `errno()`, which must be read before any other call.
 */
import { dlopen, FFIType as T, read, type Pointer } from "bun:ffi";

const LIBC_NAMES = ["libc.so.6", "libc.musl-x86_64.so.1", "libc.musl-aarch64.so.1"];

const table = {
  __errno_location: { args: [], returns: T.ptr },
  bind: { args: [T.i32, T.ptr, T.u32], returns: T.i32 },
  clock_gettime: { args: [T.i32, T.u64_fast], returns: T.i32 },
  close: { args: [T.i32], returns: T.i32 },
  fallocate: { args: [T.i32, T.i32, T.i64_fast, T.i64_fast], returns: T.i32 },
  fcntl: { args: [T.i32, T.i32, T.u64_fast], returns: T.i32 },
  flock: { args: [T.i32, T.i32], returns: T.i32 },
  getsockopt: { args: [T.i32, T.i32, T.i32, T.u64_fast, T.u64_fast], returns: T.i32 },
  if_freenameindex: { args: [T.ptr], returns: T.void },
  if_nameindex: { args: [], returns: T.ptr },
  if_nametoindex: { args: [T.cstring], returns: T.u32 },
  ioctl: { args: [T.i32, T.u64_fast, T.u64_fast], returns: T.i32 },
  lseek: { args: [T.i32, T.i64_fast, T.i32], returns: T.i64_fast },
  madvise: { args: [T.u64_fast, T.u64_fast, T.i32], returns: T.i32 },
  mincore: { args: [T.u64_fast, T.u64_fast, T.u64_fast], returns: T.i32 },
  mmap: { args: [T.u64_fast, T.u64_fast, T.i32, T.i32, T.i32, T.i64_fast], returns: T.u64_fast },
  munmap: { args: [T.u64_fast, T.u64_fast], returns: T.i32 },
  open: { args: [T.cstring, T.i32, T.i32], returns: T.i32 },
  poll: { args: [T.u64_fast, T.u64_fast, T.i32], returns: T.i32 },
  posix_fadvise: { args: [T.i32, T.i64_fast, T.i64_fast, T.i32], returns: T.i32 },
  pread: { args: [T.i32, T.u64_fast, T.u64_fast, T.i64_fast], returns: T.i64_fast },
  preadv2: { args: [T.i32, T.u64_fast, T.i32, T.i64_fast, T.i32], returns: T.i64_fast },
  pwrite: { args: [T.i32, T.u64_fast, T.u64_fast, T.i64_fast], returns: T.i64_fast },
  pwritev: { args: [T.i32, T.u64_fast, T.i32, T.i64_fast], returns: T.i64_fast },
  recv: { args: [T.i32, T.u64_fast, T.u64_fast, T.i32], returns: T.i64_fast },
  send: { args: [T.i32, T.u64_fast, T.u64_fast, T.i32], returns: T.i64_fast },
  sendmmsg: { args: [T.i32, T.u64_fast, T.u32, T.i32], returns: T.i32 },
  sendmsg: { args: [T.i32, T.u64_fast, T.i32], returns: T.i64_fast },
  sendto: { args: [T.i32, T.u64_fast, T.u64_fast, T.i32, T.u64_fast, T.u32], returns: T.i64_fast },
  setpriority: { args: [T.i32, T.u32, T.i32], returns: T.i32 },
  setsockopt: { args: [T.i32, T.i32, T.i32, T.u64_fast, T.u32], returns: T.i32 },
  socket: { args: [T.i32, T.i32, T.i32], returns: T.i32 },
} as const;

function openLibc() {
  let failure: unknown;
  for (const name of LIBC_NAMES) {
    try {
      return dlopen(name, table).symbols;
    } catch (error) {
      failure = error;
    }
  }
  throw new Error(`no C library could be loaded (tried ${LIBC_NAMES.join(", ")})`, { cause: failure });
}

export const libc = openLibc();

/** Linux error numbers (asm-generic/errno-base.h, errno.h) that voe tells apart. */
export const EPERM = 1;
export const ENOENT = 2;
export const EINTR = 4;
export const EIO = 5;
export const ENXIO = 6;
export const EAGAIN = 11;
export const EFAULT = 14;
export const EEXIST = 17;
export const ENODEV = 19;
export const EFBIG = 27;
export const ENOSPC = 28;
export const EMSGSIZE = 90;
export const EOPNOTSUPP = 95;
export const ENETDOWN = 100;
export const ENOBUFS = 105;
export const EDQUOT = 122;

const names: Record<number, string> = {
  [EPERM]: "EPERM: operation not permitted",
  [ENOENT]: "ENOENT: no such file or directory",
  [EIO]: "EIO: input/output error",
  [ENXIO]: "ENXIO: no such device or address",
  [EAGAIN]: "EAGAIN: would block",
  12: "ENOMEM: out of memory",
  13: "EACCES: permission denied",
  [EFAULT]: "EFAULT: bad address",
  16: "EBUSY: device or resource busy",
  [EEXIST]: "EEXIST: file exists",
  [ENODEV]: "ENODEV: no such device",
  22: "EINVAL: invalid argument",
  [EFBIG]: "EFBIG: file too large",
  [ENOSPC]: "ENOSPC: no space left on device",
  [EMSGSIZE]: "EMSGSIZE: message too long",
  [EOPNOTSUPP]: "EOPNOTSUPP: operation not supported",
  [ENETDOWN]: "ENETDOWN: network is down",
  [ENOBUFS]: "ENOBUFS: no buffer space available",
  [EDQUOT]: "EDQUOT: disk quota exceeded",
};

let errnoAddress = 0 as Pointer;

/** The calling thread's error number: that of the last call that returned -1. */
export function errno(): number {
  // Bun runs JavaScript of one realm on one thread, so that thread's address of errno never changes.
  if (errnoAddress === 0) errnoAddress = libc.__errno_location() as Pointer;
  return read.i32(errnoAddress, 0);
}

export const errorName = (code: number): string => names[code] ?? `errno ${code}`;

/** A NUL-terminated string for an argument of type `cstring`. */
export const cString = (text: string): Uint8Array => new TextEncoder().encode(`${text}\0`);

/** An error of the operating system, with its number as `code`. */
export class SystemError extends Error {
  constructor(
    what: string,
    readonly errno: number,
  ) {
    super(`${what}: ${errorName(errno)}`);
    this.name = "SystemError";
  }
}
