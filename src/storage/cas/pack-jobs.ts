/**
 * The work on the way into packs that takes a processor's time: hashing, compressing, finishing packs. A job names all
 * of what it works on by address, and writes only where nothing counts yet, so any thread can do it, and do it again
 * where a thread was lost over it.
 */
import { memoryAt } from "../../../ffi/memory.ts";
import type { Compression } from "../../base/compression.ts";
import { DIGEST_BYTES, type Hasher } from "../../base/hash.ts";
import { batchAt, type BlockBatch } from "./block-batch.ts";
import { PackBuilder } from "./pack-builder.ts";
import type { BlockKind } from "./pack-format.ts";

/** A pack in the making: its space by the address of its parts, and how much of that counts. */
export interface PackState {
  readonly dataAddress: number;
  readonly directoryAddress: number;
  readonly entryCount: number;
  readonly dataBytes: number;
}

/** Hashes the blocks from `from` up to `to` of a batch, where a block of zeros gets 32 zero bytes. */
export interface HashJob {
  readonly kind: "hash";
  readonly batchAddress: number;
  readonly blockBytes: number;
  readonly from: number;
  readonly to: number;
}

/** Appends those blocks of a batch that `chosen` names from `from` up to `to`, as far as the pack takes them. */
export interface AppendJob {
  readonly kind: "append";
  readonly batchAddress: number;
  readonly blockBytes: number;
  readonly blockKind: BlockKind;
  readonly from: number;
  readonly to: number;
  readonly pack: PackState;
}

/** Ends a pack with its directory and footer. */
export interface FinishJob {
  readonly kind: "finish";
  readonly pack: PackState;
}

export type PackJob = HashJob | AppendJob | FinishJob;

export interface PackJobResult {
  /** Up to which number an append came: less than its `to` where the pack is full. */
  readonly next: number;
  readonly entryCount: number;
  readonly dataBytes: number;
  /** Of a finished pack, and its size; of others, nothing. */
  readonly name: Uint8Array;
  readonly packBytes: number;
  /** What an operator should know. */
  readonly reports: readonly (readonly [key: string, message: string])[];
}

export interface PackJobsOptions {
  readonly hasher: Hasher;
  /** Absent: blocks are stored plain. */
  readonly compression: Compression | undefined;
  readonly packBytes: number;
}

const NO_NAME = new Uint8Array();
const ZEROS = Buffer.alloc(65536);

/** What does jobs in this thread, one at a time. Throws what is a mistake of ours, or of the memory. */
export function createPackJobs({ hasher, compression, packBytes }: PackJobsOptions): (job: PackJob) => PackJobResult {
  const batches = new Map<number, BlockBatch>();
  const builders = new Map<number, PackBuilder>();
  let reports: [string, string][] = [];

  const batchOf = (address: number): BlockBatch => {
    let batch = batches.get(address);
    if (batch === undefined) batches.set(address, (batch = batchAt(address)));
    return batch;
  };

  const builderOf = ({ dataAddress, directoryAddress, entryCount, dataBytes }: PackState): PackBuilder => {
    let builder = builders.get(dataAddress);
    if (builder === undefined) {
      const space = { data: memoryAt(dataAddress, packBytes), directory: memoryAt(directoryAddress, packBytes) };
      const report = (key: string, message: string): void => void reports.push([key, message]);
      builder = new PackBuilder({ hasher, compression, targetBytes: packBytes, space, report });
      builders.set(dataAddress, builder);
    }
    builder.resume(entryCount, dataBytes);
    return builder;
  };

  const hash = ({ batchAddress, blockBytes, from, to }: HashJob): void => {
    const { memory, hashes } = batchOf(batchAddress);
    for (let block = from; block < to; block++) {
      const at = block * blockBytes;
      const hashAt = block * DIGEST_BYTES;
      // The first word tells nearly all blocks that are not zeros.
      const isZero =
        memory.view.getUint32(at, true) === 0 && ZEROS.compare(memory.bytes, at, at + blockBytes, 0, blockBytes) === 0;
      if (isZero) hashes.fill(0, hashAt, hashAt + DIGEST_BYTES);
      else hasher.hash(memory.bytes, at, blockBytes, hashes, hashAt);
    }
  };

  const append = (job: AppendJob, builder: PackBuilder): number => {
    const { memory, hashes, chosen } = batchOf(job.batchAddress);
    for (let next = job.from; next < job.to; next++) {
      const block = chosen[next]!;
      const at = block * job.blockBytes;
      if (builder.tryAppend(job.blockKind, hashes, block * DIGEST_BYTES, memory, at, job.blockBytes) < 0) return next;
    }
    return job.to;
  };

  return (job) => {
    reports = [];
    if (job.kind === "hash") {
      hash(job);
      return { next: job.to, entryCount: 0, dataBytes: 0, name: NO_NAME, packBytes: 0, reports };
    }
    const builder = builderOf(job.pack);
    const next = job.kind === "append" ? append(job, builder) : 0;
    const { entryCount, dataBytes } = builder;
    if (job.kind === "append") return { next, entryCount, dataBytes, name: NO_NAME, packBytes: 0, reports };
    const { name, bytes } = builder.finish();
    return { next, entryCount, dataBytes, name, packBytes: bytes.length, reports };
  };
}
