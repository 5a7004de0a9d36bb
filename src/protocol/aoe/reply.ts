import type { Memory } from "../../base/memory.ts";
import {
  AT_ERROR,
  AT_VERSION_FLAGS,
  ERROR_BAD_ARGUMENT,
  ETHERNET_HEADER_BYTES,
  FLAG_ERROR,
  FLAG_RESPONSE,
  HEADER_BYTES,
  VERSION_1,
} from "./frame.ts";
import type { AoeLink } from "./link.ts";

/** A reply being built: up to 64 bytes of header, then a body, which is the reply's own memory or lent by a storage. */
export interface Reply {
  readonly memory: Memory;
  /** Where the Ethernet header goes. */
  headerAt: number;
  /** Where the body goes: page-aligned. */
  bodyAt: number;
  headerBytes: number;
  bodyBytes: number;
  /** Where not 0, the address that the kernel takes the body from instead (see `BlockStorage.lend`). */
  lentAddress: number;
}

/** What became of a request. */
export const SILENCE = 0;
export const REPLY = 1;
/** A pending request holds the reply until the storage is done. */
export const KEPT = 2;

/** Turns the header built so far into an AoE error reply of the header alone. */
export function errorReply(reply: Reply, code: number): number {
  reply.memory.bytes[reply.headerAt + AT_VERSION_FLAGS] = VERSION_1 | FLAG_RESPONSE | FLAG_ERROR;
  reply.memory.bytes[reply.headerAt + AT_ERROR] = code;
  reply.headerBytes = HEADER_BYTES;
  reply.bodyBytes = 0;
  reply.lentAddress = 0;
  return REPLY;
}

/**
 * Whether an interface's MTU carries a reply. A list or string that was set through a larger one may not fit: such a
 * reply is refused, never cut.
 */
export const fits = (link: AoeLink, headerBytes: number, bodyBytes: number): boolean =>
  headerBytes + bodyBytes <= ETHERNET_HEADER_BYTES + link.mtuBytes;

/** Puts a body into a reply that goes out at once. */
export function replyWith(link: AoeLink, reply: Reply, headerBytes: number, body: Uint8Array): number {
  if (!fits(link, headerBytes, body.length)) return errorReply(reply, ERROR_BAD_ARGUMENT);
  reply.memory.bytes.set(body, reply.bodyAt);
  reply.headerBytes = headerBytes;
  reply.bodyBytes = body.length;
  return REPLY;
}
