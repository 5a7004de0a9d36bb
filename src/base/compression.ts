/**
 * LZ4 blocks (the block format, without frame or length): from the host's liblz4, else from the addon `lz4-napi`, which
 * puts the plain length in four little-endian bytes before the block. Either reads what the other wrote.
 *
 * Measured with blocks of 4 KiB of text on one core: liblz4 compresses 690 MB/s and decompresses 3,400, the addon 410 and
 * 1,370; of random data liblz4 sees in 0.7 us that it does not compress, the addon in 7 us.
 */
import { openLz4, type Lz4Library } from "../../ffi/lz4.ts";
import type { Memory } from "./memory.ts";

/** A block is kept compressed only where that saves at least a sixteenth: less is not worth decompressing for. */
const LEAST_SAVED_FRACTION = 1 / 16;

/** The most that one call takes; blocks are at most 64 KiB. */
export const COMPRESS_MOST_BYTES = 1 << 24;

export interface Compression {
  /** The library that does it, for the log and the status. */
  readonly implementation: string;
  /** Why the slower addon is used; undefined where liblz4 is. */
  readonly fallbackReason: string | undefined;
  /**
   * Compresses `lengthBytes` of `source` from byte `at` into `target` from byte `targetAt`, and returns the bytes
   * written there: 0 where they would be more than `capacityBytes` or save less than a sixteenth. Then the block is
   * to be stored plain, and what is in the target up to the capacity means nothing.
   */
  compress(
    source: Memory,
    at: number,
    lengthBytes: number,
    target: Memory,
    targetAt: number,
    capacityBytes: number,
  ): number;
  /**
   * Decompresses into `target` from byte `targetAt`: true where the result has exactly `plainBytes`. Bytes that are
   * not LZ4 make it false, and nothing outside the two ranges is read or written.
   */
  decompress(
    source: Memory,
    at: number,
    lengthBytes: number,
    target: Memory,
    targetAt: number,
    plainBytes: number,
  ): boolean;
}

export interface CompressionOptions {
  /** Uses the addon though liblz4 may be there. */
  readonly portable?: boolean;
}

/** Throws where neither library can be loaded: then nothing compressed can be read. */
export function createCompression(options: CompressionOptions = {}): Compression {
  if (options.portable === true) return addonCompression("it was asked for");
  let library: Lz4Library;
  try {
    library = openLz4();
  } catch (error) {
    return addonCompression(`liblz4.so.1 could not be loaded: ${(error as Error).message}`);
  }
  return hostCompression(library);
}

/** A wrong address handed to C is memory corruption, so our own bugs stop here. */
function checkRange(memory: Memory, at: number, lengthBytes: number): void {
  if (at < 0 || lengthBytes < 0 || lengthBytes > COMPRESS_MOST_BYTES || at + lengthBytes > memory.lengthBytes) {
    throw new RangeError(`${lengthBytes} bytes at ${at} are not in memory of ${memory.lengthBytes}`);
  }
}

const usefulBytes = (lengthBytes: number, capacityBytes: number): number =>
  Math.min(capacityBytes, lengthBytes - Math.ceil(lengthBytes * LEAST_SAVED_FRACTION));

const hostCompression = (library: Lz4Library): Compression => ({
  implementation: `liblz4 ${library.version}`,
  fallbackReason: undefined,
  compress(source, at, lengthBytes, target, targetAt, capacityBytes) {
    checkRange(source, at, lengthBytes);
    checkRange(target, targetAt, capacityBytes);
    const most = usefulBytes(lengthBytes, capacityBytes);
    if (most <= 0) return 0;
    return library.compress(source.address + at, target.address + targetAt, lengthBytes, most);
  },
  decompress(source, at, lengthBytes, target, targetAt, plainBytes) {
    checkRange(source, at, lengthBytes);
    checkRange(target, targetAt, plainBytes);
    const written = library.decompress(source.address + at, target.address + targetAt, lengthBytes, plainBytes);
    return written === plainBytes;
  },
});

const PREFIX_BYTES = 4;

interface Addon {
  compressSync(data: Uint8Array): Uint8Array;
  uncompressSync(data: Uint8Array): Uint8Array;
}

function addonCompression(fallbackReason: string): Compression {
  const addon = loadAddon(fallbackReason);
  let prefixed = Buffer.alloc(PREFIX_BYTES + 65536);
  return {
    implementation: "lz4-napi",
    fallbackReason,
    compress(source, at, lengthBytes, target, targetAt, capacityBytes) {
      checkRange(source, at, lengthBytes);
      checkRange(target, targetAt, capacityBytes);
      const most = usefulBytes(lengthBytes, capacityBytes);
      if (most <= 0) return 0;
      const packed = addon.compressSync(bufferOf(source, at, lengthBytes));
      const written = packed.length - PREFIX_BYTES;
      if (written > most) return 0;
      target.bytes.set(packed.subarray(PREFIX_BYTES), targetAt);
      return written;
    },
    decompress(source, at, lengthBytes, target, targetAt, plainBytes) {
      checkRange(source, at, lengthBytes);
      checkRange(target, targetAt, plainBytes);
      if (prefixed.length < PREFIX_BYTES + lengthBytes) prefixed = Buffer.alloc(PREFIX_BYTES + lengthBytes);
      prefixed.writeUInt32LE(plainBytes);
      prefixed.set(source.bytes.subarray(at, at + lengthBytes), PREFIX_BYTES);
      let plain: Uint8Array;
      try {
        plain = addon.uncompressSync(prefixed.subarray(0, PREFIX_BYTES + lengthBytes));
      } catch {
        return false;
      }
      if (plain.length !== plainBytes) return false;
      target.bytes.set(plain, targetAt);
      return true;
    },
  };
}

/** The addon's compressor takes no plain Uint8Array. */
const bufferOf = (memory: Memory, at: number, lengthBytes: number): Buffer =>
  Buffer.from(memory.bytes.buffer, memory.bytes.byteOffset + at, lengthBytes);

function loadAddon(fallbackReason: string): Addon {
  try {
    // Not an import, which would end the program where the addon is missing.
    return require("lz4-napi") as Addon;
  } catch (error) {
    throw new Error(
      `no LZ4 here, without which no compressed block can be read: ${fallbackReason}, and the addon lz4-napi could not ` +
        `be loaded either. Install liblz4 (package liblz4-1 or lz4-libs), or set TMPDIR to a directory that is ` +
        `writable and not mounted noexec`,
      { cause: error },
    );
  }
}
