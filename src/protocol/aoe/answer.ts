/**
 * One AoE request in, its reply out: validation, addressing and access, then the command's own file. Knows no socket
 * and no backend.
 */
import type { Memory } from "../../base/memory.ts";
import { answerAta } from "./ata.ts";
import { answerConfig } from "./config.ts";
import {
  AT_COMMAND,
  AT_ERROR,
  AT_SHELF,
  AT_SLOT,
  AT_SOURCE,
  AT_VERSION_FLAGS,
  COMMAND_ATA,
  COMMAND_CONFIG,
  COMMAND_MASK,
  COMMAND_RESERVE,
  ERROR_UNRECOGNISED_COMMAND,
  ERROR_UNSUPPORTED_VERSION,
  FLAG_RESPONSE,
  HEADER_BYTES,
  SHELF_BROADCAST,
  SLOT_BROADCAST,
  VERSION_1,
} from "./frame.ts";
import type { AoeLink } from "./link.ts";
import { MAC_BYTES, type Mac } from "./mac.ts";
import { answerMask } from "./mask.ts";
import { errorReply, SILENCE, type Reply } from "./reply.ts";
import { answerReserve } from "./reserve.ts";
import type { AoeTarget } from "./target.ts";

/** Whether a frame is a request that AoE can answer at all: whole enough to have a header, and not a response. */
export const isRequest = (request: Memory, at: number, lengthBytes: number): boolean =>
  lengthBytes >= HEADER_BYTES && (request.bytes[at + AT_VERSION_FLAGS]! & FLAG_RESPONSE) === 0;

/** Whether a request's address means this target: shelf and slot are wildcards independently of each other. */
export function isAddressed(target: AoeTarget, shelf: number, slot: number): boolean {
  return (shelf === target.shelf || shelf === SHELF_BROADCAST) && (slot === target.slot || slot === SLOT_BROADCAST);
}

/** Starts the reply to a request: addresses turned round, the target's real address, the tag as it came. */
function startReply(target: AoeTarget, link: AoeLink, request: Memory, at: number, reply: Reply): void {
  const from = request.bytes;
  const to = reply.memory.bytes;
  const headerAt = reply.headerAt;
  for (let i = 0; i < MAC_BYTES; i++) {
    to[headerAt + i] = from[at + AT_SOURCE + i]!;
    to[headerAt + AT_SOURCE + i] = link.mac[i]!;
  }
  to[headerAt + 12] = 0x88;
  to[headerAt + 13] = 0xa2;
  to[headerAt + AT_VERSION_FLAGS] = VERSION_1 | FLAG_RESPONSE;
  to[headerAt + AT_ERROR] = 0;
  to[headerAt + AT_SHELF] = target.shelf >>> 8;
  to[headerAt + AT_SHELF + 1] = target.shelf;
  to[headerAt + AT_SLOT] = target.slot;
  for (let i = AT_COMMAND; i < HEADER_BYTES; i++) to[headerAt + i] = from[at + i]!;
  reply.headerBytes = HEADER_BYTES;
  reply.bodyBytes = 0;
  reply.lentAddress = 0;
}

/**
 * Answers a request (`isRequest`, `isAddressed`) of `lengthBytes` that begins at byte `at` of `request` and came from
 * `source`. Where it returns REPLY, `reply` holds the frame to send.
 */
export function answer(
  target: AoeTarget,
  link: AoeLink,
  request: Memory,
  at: number,
  lengthBytes: number,
  source: Mac,
  reply: Reply,
): number {
  // A MAC that is not on the mask list hears nothing at all (AoEr11, section 3.3).
  if (target.maskSet.size !== 0 && !target.maskSet.has(source)) return SILENCE;
  startReply(target, link, request, at, reply);
  if ((request.bytes[at + AT_VERSION_FLAGS]! & 0xf0) !== VERSION_1) return errorReply(reply, ERROR_UNSUPPORTED_VERSION);
  switch (request.bytes[at + AT_COMMAND]) {
    case COMMAND_ATA:
      return answerAta(target, link, request, at, lengthBytes, source, reply);
    case COMMAND_CONFIG:
      return answerConfig(target, link, request, at, lengthBytes, reply);
    case COMMAND_MASK:
      return answerMask(target, link, request, at, lengthBytes, reply);
    case COMMAND_RESERVE:
      return answerReserve(target, link, request, at, lengthBytes, source, reply);
    default:
      return errorReply(reply, ERROR_UNRECOGNISED_COMMAND);
  }
}
