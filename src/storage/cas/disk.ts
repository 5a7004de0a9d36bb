/**
 * Everything that the archive does to a disk, so that a simulated one can take its place and lose power at any call.
 * What is not synced may be lost, in any order and in part, down to single sectors of 512 bytes; that holds for the
 * content of files and, separately, for names in directories.
 *
 * Calls that return a number return the bytes done, or the error number negated. The others throw or reject with a
 * `SystemError`, whose `errno` tells the reason.
 */
import type { Memory } from "../../base/memory.ts";

/** Pieces of memory that are written one after the other in one call. Made once and reused: `add` allocates nothing. */
export class RangeList {
  readonly memories: Memory[] = [];
  readonly starts: number[] = [];
  readonly lengths: number[] = [];
  count = 0;
  totalBytes = 0;

  /** The memory must keep its content until the list was written. */
  add(memory: Memory, at: number, lengthBytes: number): void {
    this.memories[this.count] = memory;
    this.starts[this.count] = at;
    this.lengths[this.count] = lengthBytes;
    this.count++;
    this.totalBytes += lengthBytes;
  }

  clear(): void {
    this.count = 0;
    this.totalBytes = 0;
  }
}

export interface DiskFile {
  readonly path: string;
  sizeBytes(): number;

  /**
   * Writes to the page cache, at once. Returns `lengthBytes`, or fewer where the disk filled up or failed on the way,
   * or the negative error number where nothing was written.
   */
  write(source: Memory, at: number, lengthBytes: number, offsetBytes: number): number;

  /** Writes a list of at most 1024 pieces (IOV_MAX of Linux) in one call. Returns what `write` returns, of its total. */
  writeRanges(ranges: RangeList, offsetBytes: number): number;

  /**
   * Makes a range that is about to be written in small pieces quick to write: allocated, part of the file, and in the
   * page cache. What the range held becomes zeros, or stays. Where that cannot be done, the writes will tell.
   */
  prepare(offsetBytes: number, lengthBytes: number): void;

  /**
   * Fills `target` where that does not have to wait for a medium: returns `lengthBytes`. Returns -EAGAIN where it
   * has to, or the file ends before that: `read` tells. Another negative number is an error.
   */
  tryRead(target: Memory, at: number, lengthBytes: number, offsetBytes: number): number;

  /**
   * Fills `target`, off the event loop; it must stay allocated and untouched until then. Resolves to the bytes read,
   * fewer than asked where the file ends, or the negative error number.
   */
  read(target: Memory, at: number, lengthBytes: number, offsetBytes: number): Promise<number>;

  /**
   * Makes everything written before this call durable, the size included, off the event loop. The file's name needs
   * `syncDirectory`. Rejects where that failed: then what was not yet durable may be lost though reads still see it,
   * and a later sync that succeeds does not bring it back.
   */
  sync(): Promise<void>;

  /** Sets the size; what is added reads as zeros. Durable with the next sync. */
  truncate(sizeBytes: number): void;

  /** Forgets what is cached and not waiting to be written: reads from now on tell what the medium holds. */
  forgetCached(): void;

  /** Lets go of the file, off the event loop. Makes nothing durable. Does nothing the second time. */
  close(): Promise<void>;
}

/** Paths are those of the operating system. Names in a directory are durable once `syncDirectory` has resolved. */
export interface Disk {
  /** Opens a file that exists, for reading and writing unless `readOnly`. Throws ENOENT where it does not. */
  open(path: string, readOnly?: boolean): DiskFile;
  /** Creates an empty file. Throws EEXIST where there is one. */
  create(path: string): DiskFile;
  /** Makes a directory in one that exists; does nothing where it is there already. */
  makeDirectory(path: string): void;
  /** Names of the files and directories in a directory, sorted. Rejects with ENOENT where there is none. */
  list(path: string): Promise<string[]>;
  /** Takes a file's name away; the file lives on while it is open. Throws ENOENT where there is none. */
  remove(path: string): void;
  /** Gives a file another name, replacing a file of that name: after a crash there is either the one or the other. */
  rename(from: string, to: string): void;
  /** Makes the names that were given and taken away in a directory durable, off the event loop. */
  syncDirectory(path: string): Promise<void>;
}
