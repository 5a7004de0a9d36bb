/** Why requests are refused: everything that can be said of one before a storage is asked (proto.md, "Error values"). */
import { NO_SPACE, OUT_OF_RANGE, READ_ONLY, type StorageStatus } from "../../storage/block-storage.ts";
import {
  NBD_CMD_BLOCK_STATUS,
  NBD_CMD_DISC,
  NBD_CMD_FLAG_DF,
  NBD_CMD_FLAG_FAST_ZERO,
  NBD_CMD_FLAG_FUA,
  NBD_CMD_FLAG_NO_HOLE,
  NBD_CMD_FLAG_PAYLOAD_LEN,
  NBD_CMD_FLAG_REQ_ONE,
  NBD_CMD_FLUSH,
  NBD_CMD_READ,
  NBD_CMD_TRIM,
  NBD_CMD_WRITE,
  NBD_CMD_WRITE_ZEROES,
  NBD_EINVAL,
  NBD_EIO,
  NBD_ENOSPC,
  NBD_ENOTSUP,
  NBD_EPERM,
  NBD_ESHUTDOWN,
  PAYLOAD_MOST_BYTES,
} from "./constants.ts";
import type { Negotiated } from "./handshake.ts";
import type { NbdRequest } from "./request.ts";

/** An error of the protocol, with a message for people. */
export interface Refusal {
  readonly error: number;
  readonly message: string;
}

const UNKNOWN_COMMAND: Refusal = { error: NBD_EINVAL, message: "this command is not known here" };
const UNKNOWN_FLAG: Refusal = { error: NBD_EINVAL, message: "a flag does not belong to this command" };
const NO_PAYLOAD: Refusal = { error: NBD_EINVAL, message: "a write has to announce its data with PAYLOAD_LEN" };
const TOO_LONG: Refusal = { error: NBD_EINVAL, message: "a request carries 32 MiB of data at most" };
const BEYOND_END: Refusal = { error: NBD_EINVAL, message: "the range ends beyond the export" };
const NO_SPACE_THERE: Refusal = { error: NBD_ENOSPC, message: "the range ends beyond the export" };
const NOT_WRITABLE: Refusal = { error: NBD_EPERM, message: "the export is read-only" };
const FLUSH_RANGE: Refusal = { error: NBD_EINVAL, message: "a flush has neither offset nor length" };
const NO_CONTEXT: Refusal = { error: NBD_EINVAL, message: "base:allocation was not negotiated for this export" };
const NO_STATUS_LENGTH: Refusal = { error: NBD_EINVAL, message: "there is no status of nothing" };
const NOT_FAST: Refusal = { error: NBD_ENOTSUP, message: "zeroes are no faster than a write here" };
const FAILED: Refusal = { error: NBD_EIO, message: "the medium failed; the server's log says more" };
const FULL: Refusal = { error: NBD_ENOSPC, message: "the medium is full" };
export const SHUTTING_DOWN: Refusal = { error: NBD_ESHUTDOWN, message: "the export is being shut down" };
export const BAD_STATUS_PAYLOAD: Refusal = {
  error: NBD_EINVAL,
  message: "the data of a block status is a length and the IDs of contexts that were negotiated, each once",
};

/** Flags that a command may have, by its number. FUA is accepted with all, and ignored where it means nothing. */
const FLAGS: readonly number[] = [
  NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_DF,
  NBD_CMD_FLAG_FUA,
  NBD_CMD_FLAG_FUA,
  NBD_CMD_FLAG_FUA,
  NBD_CMD_FLAG_FUA,
  NBD_CMD_FLAG_FUA,
  NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO,
  NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_REQ_ONE,
];

/**
 * Why a request is refused, or undefined where it may go to the storage. Of a BLOCK_STATUS with PAYLOAD_LEN the length is
 * by now that of the range, and the flag is gone.
 */
export function refusalOf(request: NbdRequest, negotiated: Negotiated): Refusal | undefined {
  const { type, offsetBytes, lengthBytes } = request;
  if (type >= FLAGS.length || type === NBD_CMD_DISC) return UNKNOWN_COMMAND;
  const { extendedHeaders } = negotiated;
  let allowed = FLAGS[type]!;
  if (type === NBD_CMD_READ && !extendedHeaders && !negotiated.structuredReplies) allowed &= ~NBD_CMD_FLAG_DF;
  if (type === NBD_CMD_WRITE && extendedHeaders) {
    if ((request.flags & NBD_CMD_FLAG_PAYLOAD_LEN) === 0) return NO_PAYLOAD;
    allowed |= NBD_CMD_FLAG_PAYLOAD_LEN;
  }
  if ((request.flags & ~allowed) !== 0) return UNKNOWN_FLAG;
  const { storage, sizeBytes } = negotiated.export.disk;
  const isBeyondEnd = offsetBytes + lengthBytes > sizeBytes;
  switch (type) {
    case NBD_CMD_READ:
      if (lengthBytes > PAYLOAD_MOST_BYTES) return TOO_LONG;
      return isBeyondEnd ? BEYOND_END : undefined;
    case NBD_CMD_WRITE:
      if (lengthBytes > PAYLOAD_MOST_BYTES) return TOO_LONG;
      if (storage.info.readOnly) return NOT_WRITABLE;
      return isBeyondEnd ? NO_SPACE_THERE : undefined;
    case NBD_CMD_WRITE_ZEROES:
      if (storage.info.readOnly) return NOT_WRITABLE;
      if (isBeyondEnd) return NO_SPACE_THERE;
      return (request.flags & NBD_CMD_FLAG_FAST_ZERO) !== 0 && !storage.hasFastZeroes ? NOT_FAST : undefined;
    case NBD_CMD_TRIM:
      if (storage.info.readOnly) return NOT_WRITABLE;
      return isBeyondEnd ? BEYOND_END : undefined;
    case NBD_CMD_FLUSH:
      return offsetBytes !== 0 || lengthBytes !== 0 ? FLUSH_RANGE : undefined;
    case NBD_CMD_BLOCK_STATUS:
      if (!negotiated.allocationContext) return NO_CONTEXT;
      if (lengthBytes === 0) return NO_STATUS_LENGTH;
      return isBeyondEnd ? BEYOND_END : undefined;
    default:
      return isBeyondEnd ? BEYOND_END : undefined;
  }
}

/** What a storage's failure is to the client. */
export function refusalOfStatus(status: StorageStatus, writes: boolean): Refusal {
  switch (status) {
    case OUT_OF_RANGE:
      return writes ? NO_SPACE_THERE : BEYOND_END;
    case READ_ONLY:
      return NOT_WRITABLE;
    case NO_SPACE:
      return FULL;
    default:
      return FAILED;
  }
}
