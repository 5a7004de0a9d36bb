import type { Memory } from "../base/memory.ts";

/** What clients address. AoE and NBD clients of every kind assume 512. */
export const SECTOR_BYTES = 512;

/** How a request ended. Numbers rather than exceptions: they are on the path of every packet. */
export type StorageStatus = number;
export const OK = 0;
/** Nothing was done and nothing is wrong: call the variant that takes a completion. */
export const LATER = 1;
/** Sectors beyond the end (ATA IDNF). */
export const OUT_OF_RANGE = 2;
/** A write to a read-only storage (ATA ABRT). */
export const READ_ONLY = 3;
/** The medium could not read or write, or what it holds is not what was written (ATA UNC). */
export const MEDIUM_ERROR = 4;
/** The medium is full. */
export const NO_SPACE = 5;

/** Receives the end of a request that could not be answered at once: an object that is kept and reused, no closure. */
export interface Completion {
  complete(status: StorageStatus): void;
}

/** Sectors that are all alike. */
export interface Extent {
  readonly sectorCount: number;
  /** They read as zeros, and nothing is kept for them. */
  readonly isHole: boolean;
}

export interface DeviceInfo {
  /** Size in sectors; changes when the volume grows. */
  readonly sectorCount: number;
  readonly readOnly: boolean;
  /** At most 40 ASCII characters. */
  readonly model: string;
  /** At most 20 ASCII characters, the same after every restart. */
  readonly serial: string;
  /** At most 8 ASCII characters. */
  readonly firmware: string;
}

/**
 * A disk. Requests that overlap take effect in the order in which these methods were called, whether they were
 * answered at once or later. Sector numbers and counts need not be checked by the caller. A count is at least 1.
 */
export interface BlockStorage {
  readonly info: DeviceInfo;

  /**
   * An address from which a *system call* may copy these sectors, or 0 where there is none right now. It is good until
   * the caller gives up its turn of the event loop, or asks for something else that changes these sectors. JavaScript must never touch it: a page that has vanished is EFAULT
   * in a system call and SIGBUS, the end of the process, here.
   */
  lend(sector: number, count: number): number;

  /** Fills `target` from byte `at` and returns OK, returns a failure, or returns LATER: then call `read`. */
  tryRead(sector: number, count: number, target: Memory, at: number): StorageStatus;

  /** Fills `target`, which must stay untouched until the completion is told. The completion is never told within this call. */
  read(sector: number, count: number, target: Memory, at: number, completion: Completion): void;

  /** Writes, and returns OK when the answer may go out now, a failure, or LATER: nothing was taken, call `write`. */
  tryWrite(sector: number, count: number, source: Memory, at: number): StorageStatus;

  /**
   * Takes the data (copied before this returns) and tells the completion when the answer may go out, which is when
   * the storage's `sync` setting is met; with `durable`, when it survives power loss (NBD FUA). Never told within this call.
   */
  write(sector: number, count: number, source: Memory, at: number, durable: boolean, completion: Completion): void;

  /** Tells the completion when everything answered before this call survives power loss. */
  flush(completion: Completion): void;

  /**
   * Changes a part of one sector, the rest of which stays: one step in the order of requests. Copies, and completes, as
   * `write` does.
   */
  writePart(
    sector: number,
    offsetBytes: number,
    lengthBytes: number,
    source: Memory,
    at: number,
    durable: boolean,
    completion: Completion,
  ): void;

  /** Whether `writeZeroes` is quicker than writing zeros, with `allocate` or without (NBD FAST_ZERO). */
  readonly hasFastZeroes: boolean;

  /**
   * Makes the sectors read as zeros. Their space is freed where that is possible; with `allocate` it stays, or is made
   * for them, where there is such a thing (NBD NO_HOLE): an archive never keeps zeros. Completes as `write` does.
   */
  writeZeroes(sector: number, count: number, allocate: boolean, durable: boolean, completion: Completion): void;

  /**
   * What of a range is a hole and what is data, as it was at some moment during the call: extents from its first sector
   * on that take turns, at least one and at most `most`. They may end before the range does: ask again from there.
   * Rejects with what is wrong where that cannot be told, or the range is not on the disk.
   */
  extents(sector: number, count: number, most: number): Promise<Extent[]>;

  /** Calls `listener` when `info.sectorCount` has changed. */
  onResize(listener: () => void): void;

  /**
   * Finishes what is in flight, makes everything durable, and lets go of the medium. Rejects when that failed. From this
   * call on every new request fails; closing it again waits for the same end.
   */
  close(): Promise<void>;
}
