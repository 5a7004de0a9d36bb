/** Files and block devices by descriptor: the calls that `node:fs` lacks, or that must not allocate. */
import { constants } from "node:fs";
import { EAGAIN, EINTR, ENXIO, errno, libc, SystemError } from "./libc.ts";
import { allocateMemory } from "./memory.ts";
import { iovec } from "./structs.ts";

const RWF_NOWAIT = 8;
const SEEK_END = 2;
const SEEK_DATA = 3;
const SEEK_HOLE = 4;
const LOCK_SH = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;
const FALLOC_FL_KEEP_SIZE = 1;
const FALLOC_FL_PUNCH_HOLE = 2;
const FALLOC_FL_ZERO_RANGE = 0x10;
/** <linux/fs.h>; the same numbers on x86-64 and arm64. */
const BLKGETSIZE64 = 0x80081272;
const BLKROGET = 0x125e;
const BLKSSZGET = 0x1268;
const BLKZEROOUT = 0x127f;

/** <asm-generic/fcntl.h> and <asm/fcntl.h>: arm64 has a number of its own for O_DIRECT, as node:fs knows. */
const F_GETFL = 3;
const F_SETFL = 4;

const POSIX_FADV_WILLNEED = 3;
const POSIX_FADV_DONTNEED = 4;

const scratch = allocateMemory(4096);
const words = new Uint32Array(scratch.bytes.buffer as ArrayBuffer);
const VECTOR_AT = 64;

/**
 * Reads what the page cache holds without waiting for a medium (preadv2, RWF_NOWAIT). Returns the bytes read, or the
 * error number negated: -EAGAIN where a medium would have to be waited for, -EOPNOTSUPP where the file cannot tell.
 */
export function readCached(fd: number, address: number, lengthBytes: number, offsetBytes: number): number {
  words[(VECTOR_AT + iovec.iov_base) >> 2] = address >>> 0;
  words[((VECTOR_AT + iovec.iov_base) >> 2) + 1] = address / 0x1_0000_0000;
  words[(VECTOR_AT + iovec.iov_len) >> 2] = lengthBytes;
  const read = Number(libc.preadv2(fd, scratch.address + VECTOR_AT, 1, offsetBytes, RWF_NOWAIT));
  return read >= 0 ? read : -errno();
}

/** pread(2): the bytes read, 0 at the end of the file, or the error number negated. */
export function readAt(fd: number, address: number, lengthBytes: number, offsetBytes: number): number {
  const read = Number(libc.pread(fd, address, lengthBytes, offsetBytes));
  return read >= 0 ? read : -errno();
}

/** Where the next data of a file begins at or after an offset, or the error number negated: -ENXIO where there is none. */
export function nextData(fd: number, offsetBytes: number): number {
  const dataAt = Number(libc.lseek(fd, offsetBytes, SEEK_DATA));
  return dataAt >= 0 ? dataAt : -errno();
}

/** Where the next hole of a file begins at or after an offset, its end being one, or the error number negated. */
export function nextHole(fd: number, offsetBytes: number): number {
  const holeAt = Number(libc.lseek(fd, offsetBytes, SEEK_HOLE));
  return holeAt >= 0 ? holeAt : -errno();
}

/** Whether a range of a file has no data on the medium, so that it reads as zeros without waiting. */
export function isHole(fd: number, offsetBytes: number, lengthBytes: number): boolean {
  const dataAt = nextData(fd, offsetBytes);
  return dataAt < 0 ? dataAt === -ENXIO : dataAt >= offsetBytes + lengthBytes;
}

/** pwrite(2): the bytes written, which may be fewer than asked, or the error number negated. */
export function writeAt(fd: number, address: number, lengthBytes: number, offsetBytes: number): number {
  for (;;) {
    const written = Number(libc.pwrite(fd, address, lengthBytes, offsetBytes));
    if (written >= 0) return written;
    const reason = errno();
    // Signals come with every frame that wakes this program, and some filesystems let them interrupt a write.
    if (reason !== EINTR) return -reason;
  }
}

/** IOV_MAX of <limits.h>: the most pieces of memory that one call takes. */
const VECTORS_MOST = 1024;
const vectors = allocateMemory(VECTORS_MOST * iovec.bytes);
const vectorWords = new Uint32Array(vectors.bytes.buffer as ArrayBuffer);

/** Sets piece `index` of what the next `writeVectors` writes. The table is one for all files. */
export function setVector(index: number, address: number, lengthBytes: number): void {
  const word = (index * iovec.bytes) >> 2;
  vectorWords[word + (iovec.iov_base >> 2)] = address >>> 0;
  vectorWords[word + (iovec.iov_base >> 2) + 1] = address / 0x1_0000_0000;
  vectorWords[word + (iovec.iov_len >> 2)] = lengthBytes;
}

/** pwritev(2) of the first `count` pieces: the bytes written, which may be fewer, or the error number negated. */
export function writeVectors(fd: number, count: number, offsetBytes: number): number {
  for (;;) {
    const written = Number(libc.pwritev(fd, vectors.address, count, offsetBytes));
    if (written >= 0) return written;
    const reason = errno();
    if (reason !== EINTR) return -reason;
  }
}

/**
 * Has writes to an open file go from memory to the medium without the page cache, or through it again: false where its
 * filesystem cannot do that. Without it memory, lengths and offsets have to be multiples of the medium's block, or
 * writes fail with EINVAL.
 */
export function setDirect(fd: number, direct: boolean): boolean {
  const flags = libc.fcntl(fd, F_GETFL, 0);
  const wanted = direct ? flags | constants.O_DIRECT : flags & ~constants.O_DIRECT;
  return flags >= 0 && libc.fcntl(fd, F_SETFL, wanted) === 0;
}

/** Drops what the page cache holds of a file and has no need to write, so that it is read from the medium again. */
export function dropCached(fd: number): void {
  libc.posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

/** Begins to read a part of a file into the page cache, without waiting for it. */
export function readAhead(fd: number, offsetBytes: number, lengthBytes: number): void {
  libc.posix_fadvise(fd, offsetBytes, lengthBytes, POSIX_FADV_WILLNEED);
}

/** Size of a file or block device in bytes as it is now, or the error number negated. About 0.1 us. */
export function sizeOf(fd: number): number {
  const sizeBytes = Number(libc.lseek(fd, 0, SEEK_END));
  return sizeBytes >= 0 ? sizeBytes : -errno();
}

/**
 * Takes a lock on the open file, for as long as it is open: false where another process holds one that excludes it.
 * Throws `SystemError` where the filesystem has no locks.
 */
export function lockFile(fd: number, exclusive: boolean): boolean {
  if (libc.flock(fd, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) === 0) return true;
  const reason = errno();
  if (reason === EAGAIN) return false;
  throw new SystemError("cannot be locked against a second server", reason);
}

/** Makes a hole: 0, or the error number. The size stays. */
export function punchHole(fd: number, offsetBytes: number, lengthBytes: number): number {
  return libc.fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offsetBytes, lengthBytes) === 0 ? 0 : errno();
}

/** Makes a range read as zeros that keeps its space, or is given it: 0, or the error number. The size stays. */
export function zeroAllocated(fd: number, offsetBytes: number, lengthBytes: number): number {
  return libc.fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, offsetBytes, lengthBytes) === 0 ? 0 : errno();
}

/** Gives a range its space where it has none, which reads as zeros: 0, or the error number. The size stays. */
export function allocateRange(fd: number, offsetBytes: number, lengthBytes: number): number {
  return libc.fallocate(fd, FALLOC_FL_KEEP_SIZE, offsetBytes, lengthBytes) === 0 ? 0 : errno();
}

/** Size of a block device in bytes, or the error number negated. */
export function deviceBytes(fd: number): number {
  if (libc.ioctl(fd, BLKGETSIZE64, scratch.address) !== 0) return -errno();
  return Number(scratch.view.getBigUint64(0, true));
}

/** Whether a block device refuses writes, which opening it for them does not tell. */
export function isDeviceReadOnly(fd: number): boolean {
  return libc.ioctl(fd, BLKROGET, scratch.address) === 0 && scratch.view.getInt32(0, true) !== 0;
}

/** Smallest unit that a block device addresses, in bytes, or the error number negated. */
export function deviceLogicalBlockBytes(fd: number): number {
  if (libc.ioctl(fd, BLKSSZGET, scratch.address) !== 0) return -errno();
  return scratch.view.getInt32(0, true);
}

/** Zeroes a range of a block device, freeing it where the device can: 0, or the error number. */
export function zeroDevice(fd: number, offsetBytes: number, lengthBytes: number): number {
  scratch.view.setBigUint64(0, BigInt(offsetBytes), true);
  scratch.view.setBigUint64(8, BigInt(lengthBytes), true);
  return libc.ioctl(fd, BLKZEROOUT, scratch.address) === 0 ? 0 : errno();
}
