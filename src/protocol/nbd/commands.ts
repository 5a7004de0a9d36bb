/**
 * Commands (proto.md, "Request types"): what a request that may go to the storage does there, and its reply. READ and
 * WRITE are the hot path: no allocation, no promise, no exception; what has to wait for a storage is kept in a request
 * object.
 */
import type { Memory } from "../../base/memory.ts";
import { LATER, MEDIUM_ERROR, OK, SECTOR_BYTES, type StorageStatus } from "../../storage/block-storage.ts";
import type { ByteExtent, ByteStorage } from "../../storage/byte-storage.ts";
import type { TargetCounters } from "../target-counters.ts";
import {
  NBD_CMD_CACHE,
  NBD_CMD_FLAG_FUA,
  NBD_CMD_FLAG_NO_HOLE,
  NBD_CMD_FLAG_REQ_ONE,
  NBD_CMD_READ,
  NBD_CMD_TRIM,
  NBD_CMD_WRITE,
  NBD_CMD_WRITE_ZEROES,
  PAYLOAD_MOST_BYTES,
} from "./constants.ts";
import { ALLOCATION_CONTEXT_ID, type Negotiated } from "./handshake.ts";
import { refusalOfStatus, type Refusal } from "./refusal.ts";
import {
  blockStatusMostBytes,
  EXTENDED,
  putBlockStatus,
  putDone,
  putError,
  putReadHeader,
  readHeaderBytes,
  SIMPLE,
  STRUCTURED,
  type ReplyStyle,
} from "./reply-header.ts";
import { BUFFER_DATA_AT, type ReplySink } from "./reply-sink.ts";
import { NbdRequest } from "./request.ts";

/** Requests in flight on one connection; further ones wait with the client. */
export const REQUESTS_MOST = 16;
/** Data up to this size is read into the replies' own memory, and waits in the input until a WRITE has all of it. */
export const SMALL_DATA_BYTES = 64 * 2 ** 10;
/** Longer READs are left to a thread, or come bit by bit: the loop has others to serve. */
const AT_ONCE_MOST_BYTES = 4 * 2 ** 20;
/** What a CACHE reads at a time, and the most that it reads: no cache is the better for more. */
const CACHE_PIECE_BYTES = 2 ** 20;
const CACHE_MOST_BYTES = PAYLOAD_MOST_BYTES;
/** Extents that one BLOCK_STATUS tells of: the client asks again for the rest. */
const EXTENTS_MOST = 1024;

/** What is counted for one connection. */
export interface ConnectionCounters {
  requests: number;
  readBytes: number;
  writtenBytes: number;
}

export class Commands {
  readonly counters: ConnectionCounters = { requests: 0, readBytes: 0, writtenBytes: 0 };
  readonly style: ReplyStyle;
  /** The request that is being taken; one that is kept is replaced. */
  request = new NbdRequest(this);
  readonly #disk: ByteStorage;
  readonly #target: TargetCounters;
  readonly #free: NbdRequest[] = [];

  constructor(
    negotiated: Negotiated,
    readonly sink: ReplySink,
  ) {
    const { extendedHeaders, structuredReplies } = negotiated;
    this.style = extendedHeaders ? EXTENDED : structuredReplies ? STRUCTURED : SIMPLE;
    this.#disk = negotiated.export.disk;
    this.#target = negotiated.export.counters;
    for (let i = 0; i < REQUESTS_MOST; i++) this.#free.push(new NbdRequest(this));
  }

  /** Requests kept and not answered yet. */
  get inFlight(): number {
    return REQUESTS_MOST - this.#free.length;
  }

  /** Returns false where the READ has to wait for memory. */
  read(request: NbdRequest): boolean {
    const { sink } = this;
    const { offsetBytes, lengthBytes } = request;
    const headerBytes = readHeaderBytes(this.style);
    const isAligned = offsetBytes % SECTOR_BYTES === 0 && lengthBytes % SECTOR_BYTES === 0;
    if (isAligned && sink.mayLend(lengthBytes)) {
      const sector = offsetBytes / SECTOR_BYTES;
      const count = lengthBytes / SECTOR_BYTES;
      const { storage } = this.#disk;
      const address = storage.lend(sector, count);
      if (address !== 0) {
        putReadHeader(sink.memory.view, sink.at, this.style, request, lengthBytes);
        sink.push(headerBytes);
        sink.pushLent(address, storage, sector, count);
        this.#countRead(lengthBytes);
        return true;
      }
    }
    let status: StorageStatus = LATER;
    if (lengthBytes <= SMALL_DATA_BYTES) {
      if (!sink.hasRoom(headerBytes + lengthBytes)) return false;
      status = this.#disk.tryRead(offsetBytes, lengthBytes, sink.memory, sink.at + headerBytes);
      if (status === OK) {
        putReadHeader(sink.memory.view, sink.at, this.style, request, lengthBytes);
        sink.push(headerBytes + lengthBytes);
      }
    }
    let buffer: Memory | undefined;
    if (status === LATER) {
      buffer = sink.takeBuffer(lengthBytes);
      if (buffer === undefined) return false;
      if (lengthBytes > SMALL_DATA_BYTES && lengthBytes <= AT_ONCE_MOST_BYTES) {
        status = this.#disk.tryRead(offsetBytes, lengthBytes, buffer, BUFFER_DATA_AT);
        if (status === OK) this.#pushRead(request, buffer);
      }
    }
    this.#countRead(lengthBytes);
    if (status === LATER) {
      this.keep(request);
      request.buffer = buffer;
      this.#disk.read(offsetBytes, lengthBytes, buffer!, BUFFER_DATA_AT, request);
    } else if (status !== OK) {
      if (buffer !== undefined) sink.giveBuffer(buffer);
      this.refuse(request, refusalOfStatus(status, false));
    }
    return true;
  }

  #countRead(lengthBytes: number): void {
    this.#target.reads++;
    this.#target.readBytes += lengthBytes;
    this.counters.readBytes += lengthBytes;
  }

  /** Queues the data of a READ that is in a buffer, with its header before it. */
  #pushRead(request: NbdRequest, buffer: Memory): void {
    const headerBytes = readHeaderBytes(this.style);
    const at = BUFFER_DATA_AT - headerBytes;
    putReadHeader(buffer.view, at, this.style, request, request.lengthBytes);
    this.sink.pushBuffer(buffer, at, headerBytes + request.lengthBytes);
  }

  write(request: NbdRequest, source: Memory, at: number): void {
    const { offsetBytes, lengthBytes } = request;
    if (lengthBytes === 0) {
      this.finish(request);
      return;
    }
    this.#target.writes++;
    this.#target.writtenBytes += lengthBytes;
    this.counters.writtenBytes += lengthBytes;
    this.sink.settleLent();
    const isDurable = (request.flags & NBD_CMD_FLAG_FUA) !== 0;
    const status = isDurable ? LATER : this.#disk.tryWrite(offsetBytes, lengthBytes, source, at);
    if (status === OK) {
      this.finish(request);
    } else if (status === LATER) {
      this.keep(request);
      this.#disk.write(offsetBytes, lengthBytes, source, at, isDurable, request);
    } else {
      this.refuse(request, refusalOfStatus(status, true));
    }
  }

  /** TRIM and WRITE_ZEROES. */
  zero(request: NbdRequest): void {
    const { type, flags, offsetBytes, lengthBytes } = request;
    const isDurable = (flags & NBD_CMD_FLAG_FUA) !== 0;
    this.#target.writes++;
    this.sink.settleLent();
    this.keep(request);
    if (type === NBD_CMD_TRIM) this.#disk.trim(offsetBytes, lengthBytes, isDurable, request);
    else {
      const allocate = (flags & NBD_CMD_FLAG_NO_HOLE) !== 0;
      this.#disk.writeZeroes(offsetBytes, lengthBytes, allocate, isDurable, request);
    }
  }

  /** Reads what is next of a CACHE, into memory of which nothing is made: caches keep it. */
  #cacheNext(request: NbdRequest): void {
    const at = request.offsetBytes + request.doneBytes;
    const leftBytes = Math.min(request.lengthBytes, CACHE_MOST_BYTES) - request.doneBytes;
    const lengthBytes = Math.min(leftBytes, CACHE_PIECE_BYTES);
    request.doneBytes += lengthBytes;
    this.#disk.read(at, lengthBytes, request.buffer!, BUFFER_DATA_AT, request);
  }

  flush(request: NbdRequest): void {
    this.#target.flushes++;
    this.keep(request);
    this.#disk.flush(request);
  }

  /** Returns false where the CACHE has to wait for memory. */
  cache(request: NbdRequest): boolean {
    const buffer = this.sink.takeBuffer(Math.min(request.lengthBytes, CACHE_PIECE_BYTES));
    if (buffer === undefined) return false;
    this.keep(request);
    request.buffer = buffer;
    request.doneBytes = 0;
    this.#cacheNext(request);
    return true;
  }

  blockStatus(request: NbdRequest): void {
    this.keep(request);
    const most = (request.flags & NBD_CMD_FLAG_REQ_ONE) !== 0 ? 1 : EXTENTS_MOST;
    this.#disk.extents(request.offsetBytes, request.lengthBytes, most).then(
      (extents) => this.#endStatus(request, extents),
      () => this.endRequest(request, MEDIUM_ERROR),
    );
  }

  #endStatus(request: NbdRequest, extents: readonly ByteExtent[]): void {
    const { sink } = this;
    const buffer = sink.takeBuffer(blockStatusMostBytes(extents.length))!;
    const lengthBytes = putBlockStatus(
      buffer.view,
      BUFFER_DATA_AT,
      this.style,
      request,
      ALLOCATION_CONTEXT_ID,
      extents,
    );
    sink.pushBuffer(buffer, BUFFER_DATA_AT, lengthBytes);
    this.release(request);
    sink.onReply();
  }

  /** Called by a storage, through the request, when it is done with it. */
  endRequest(request: NbdRequest, status: StorageStatus): void {
    const { type, buffer } = request;
    if (status === OK && type === NBD_CMD_CACHE) {
      if (request.doneBytes < Math.min(request.lengthBytes, CACHE_MOST_BYTES)) {
        this.#cacheNext(request);
        return;
      }
    }
    request.buffer = undefined;
    if (status === OK && type === NBD_CMD_READ) {
      this.#pushRead(request, buffer!);
      this.release(request);
    } else {
      if (buffer !== undefined) this.sink.giveBuffer(buffer);
      const writes = type === NBD_CMD_WRITE || type === NBD_CMD_WRITE_ZEROES || type === NBD_CMD_TRIM;
      if (status === OK) this.finish(request);
      else this.refuse(request, refusalOfStatus(status, writes));
    }
    this.sink.onReply();
  }

  /** Keeps the request that is being taken until it has ended. */
  keep(request: NbdRequest): void {
    if (request !== this.request) return;
    this.request = this.#free.pop()!;
    this.#target.inFlight++;
  }

  release(request: NbdRequest): void {
    if (request === this.request) return;
    this.#free.push(request);
    this.#target.inFlight--;
  }

  finish(request: NbdRequest): void {
    const { sink } = this;
    sink.push(putDone(sink.memory.view, sink.at, this.style, request));
    this.release(request);
  }

  refuse(request: NbdRequest, { error, message }: Refusal): void {
    const { sink } = this;
    this.#target.errors++;
    sink.push(putError(sink.memory.view, sink.at, this.style, request, error, message));
    this.release(request);
  }
}
