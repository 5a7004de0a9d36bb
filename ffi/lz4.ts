/** The host's liblz4: block format, compressing and decompressing between addresses without allocation. */
import { dlopen, FFIType as T } from "bun:ffi";

const table = {
  LZ4_versionString: { args: [], returns: T.cstring },
  LZ4_compress_default: { args: [T.u64_fast, T.u64_fast, T.i32, T.i32], returns: T.i32 },
  LZ4_decompress_safe: { args: [T.u64_fast, T.u64_fast, T.i32, T.i32], returns: T.i32 },
} as const;

/** Both calls trust their addresses and lengths; neither reads or writes beyond them, whatever the bytes are. */
export interface Lz4Library {
  readonly version: string;
  /** Bytes written at `target`, or 0 where `capacity` is not enough. */
  compress(source: number, target: number, sourceBytes: number, capacity: number): number;
  /** Bytes written at `target`, or a negative number where the source is no LZ4 block that fits into `capacity`. */
  decompress(source: number, target: number, sourceBytes: number, capacity: number): number;
}

/** Opens liblz4 by its name. Throws where the host has none. */
export function openLz4(name = "liblz4.so.1"): Lz4Library {
  const { LZ4_versionString, LZ4_compress_default, LZ4_decompress_safe } = dlopen(name, table).symbols;
  return { version: String(LZ4_versionString()), compress: LZ4_compress_default, decompress: LZ4_decompress_safe };
}
