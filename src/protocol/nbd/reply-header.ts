import type { ByteExtent } from "../../storage/byte-storage.ts";
/** Headers of replies (proto.md, "Simple reply message", "Structured reply chunk message", "Extended reply chunk message"). */
import {
  EXTENDED_REPLY_BYTES,
  NBD_EXTENDED_REPLY_MAGIC,
  NBD_REPLY_FLAG_DONE,
  NBD_REPLY_TYPE_BLOCK_STATUS,
  NBD_REPLY_TYPE_BLOCK_STATUS_EXT,
  NBD_REPLY_TYPE_ERROR,
  NBD_REPLY_TYPE_NONE,
  NBD_REPLY_TYPE_OFFSET_DATA,
  NBD_SIMPLE_REPLY_MAGIC,
  NBD_STATE_HOLE,
  NBD_STATE_ZERO,
  NBD_STRUCTURED_REPLY_MAGIC,
  SIMPLE_REPLY_BYTES,
  STRUCTURED_REPLY_BYTES,
} from "./constants.ts";

/** Which replies a client has negotiated. */
export const SIMPLE = 0;
export const STRUCTURED = 1;
export const EXTENDED = 2;
export type ReplyStyle = typeof SIMPLE | typeof STRUCTURED | typeof EXTENDED;

/** What a reply repeats of its request. The offset is in two halves of 32 bits, as the cookie is. */
export interface RequestIdentity {
  cookieHigh: number;
  cookieLow: number;
  offsetHigh: number;
  offsetLow: number;
}

/** Bytes of the header before the data of a READ. */
export const readHeaderBytes = (style: ReplyStyle): number =>
  style === SIMPLE ? SIMPLE_REPLY_BYTES : chunkHeaderBytes(style) + 8;

const chunkHeaderBytes = (style: ReplyStyle): number =>
  style === EXTENDED ? EXTENDED_REPLY_BYTES : STRUCTURED_REPLY_BYTES;

/** Bytes of the longest reply without data: an error with its message. */
export const BARE_REPLY_MOST_BYTES = 160;

function putSimple(view: DataView, at: number, request: RequestIdentity, error: number): number {
  view.setUint32(at, NBD_SIMPLE_REPLY_MAGIC);
  view.setUint32(at + 4, error);
  view.setUint32(at + 8, request.cookieHigh);
  view.setUint32(at + 12, request.cookieLow);
  return SIMPLE_REPLY_BYTES;
}

/** The header of the only chunk of a reply. */
function putChunk(
  view: DataView,
  at: number,
  style: ReplyStyle,
  request: RequestIdentity,
  type: number,
  payloadBytes: number,
): number {
  view.setUint32(at, style === EXTENDED ? NBD_EXTENDED_REPLY_MAGIC : NBD_STRUCTURED_REPLY_MAGIC);
  view.setUint16(at + 4, NBD_REPLY_FLAG_DONE);
  view.setUint16(at + 6, type);
  view.setUint32(at + 8, request.cookieHigh);
  view.setUint32(at + 12, request.cookieLow);
  if (style !== EXTENDED) {
    view.setUint32(at + 16, payloadBytes);
    return STRUCTURED_REPLY_BYTES;
  }
  view.setUint32(at + 16, request.offsetHigh);
  view.setUint32(at + 20, request.offsetLow);
  view.setUint32(at + 24, 0);
  view.setUint32(at + 28, payloadBytes);
  return EXTENDED_REPLY_BYTES;
}

/** The reply to a request that is done and has no data. Returns its length, as the others do. */
export function putDone(view: DataView, at: number, style: ReplyStyle, request: RequestIdentity): number {
  if (style === SIMPLE) return putSimple(view, at, request, 0);
  return putChunk(view, at, style, request, NBD_REPLY_TYPE_NONE, 0);
}

/** What comes before the data of a READ, of which there is at least one byte. */
export function putReadHeader(
  view: DataView,
  at: number,
  style: ReplyStyle,
  request: RequestIdentity,
  dataBytes: number,
): number {
  if (style === SIMPLE) return putSimple(view, at, request, 0);
  const headerBytes = putChunk(view, at, style, request, NBD_REPLY_TYPE_OFFSET_DATA, 8 + dataBytes);
  view.setUint32(at + headerBytes, request.offsetHigh);
  view.setUint32(at + headerBytes + 4, request.offsetLow);
  return headerBytes + 8;
}

const encoder = new TextEncoder();

/** The reply to a request that failed, with a message for people where the client can have one. */
export function putError(
  view: DataView,
  at: number,
  style: ReplyStyle,
  request: RequestIdentity,
  error: number,
  message: string,
): number {
  if (style === SIMPLE) return putSimple(view, at, request, error);
  const headerBytes = chunkHeaderBytes(style);
  const text = new Uint8Array(view.buffer, view.byteOffset + at + headerBytes + 6, BARE_REPLY_MOST_BYTES - 64);
  const messageBytes = encoder.encodeInto(message, text).written;
  putChunk(view, at, style, request, NBD_REPLY_TYPE_ERROR, 6 + messageBytes);
  view.setUint32(at + headerBytes, error);
  view.setUint16(at + headerBytes + 4, messageBytes);
  return headerBytes + 6 + messageBytes;
}

/** Bytes of the longest reply to a BLOCK_STATUS of so many extents. */
export const blockStatusMostBytes = (extentCount: number): number => EXTENDED_REPLY_BYTES + 8 + 16 * extentCount;

/** The reply to a BLOCK_STATUS: extents of one context, at least one. */
export function putBlockStatus(
  view: DataView,
  at: number,
  style: ReplyStyle,
  request: RequestIdentity,
  contextId: number,
  extents: readonly ByteExtent[],
): number {
  const isExtended = style === EXTENDED;
  const type = isExtended ? NBD_REPLY_TYPE_BLOCK_STATUS_EXT : NBD_REPLY_TYPE_BLOCK_STATUS;
  const payloadBytes = isExtended ? 8 + 16 * extents.length : 4 + 8 * extents.length;
  let to = at + putChunk(view, at, style, request, type, payloadBytes);
  view.setUint32(to, contextId);
  to += 4;
  if (isExtended) {
    view.setUint32(to, extents.length);
    to += 4;
  }
  for (const { lengthBytes, isHole } of extents) {
    const flags = isHole ? NBD_STATE_HOLE | NBD_STATE_ZERO : 0;
    if (isExtended) {
      view.setBigUint64(to, BigInt(lengthBytes));
      view.setBigUint64(to + 8, BigInt(flags));
      to += 16;
    } else {
      view.setUint32(to, lengthBytes);
      view.setUint32(to + 4, flags);
      to += 8;
    }
  }
  return to - at;
}
