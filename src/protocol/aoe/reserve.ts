/** Command 3: reserve/release (AoEr11, section 3.4). */
import type { Memory } from "../../base/memory.ts";
import {
  AT_RESERVE_COMMAND,
  AT_RESERVE_COUNT,
  AT_RESERVE_MACS,
  ERROR_BAD_ARGUMENT,
  ERROR_RESERVED,
  RESERVE_FORCE_SET,
  RESERVE_READ,
  RESERVE_SET,
} from "./frame.ts";
import type { AoeLink } from "./link.ts";
import { MAC_BYTES, readMac, writeMac, type Mac } from "./mac.ts";
import { errorReply, replyWith, type Reply } from "./reply.ts";
import { saveState } from "./save-state.ts";
import type { AoeTarget } from "./target.ts";

function macBytes(macs: readonly Mac[]): Uint8Array {
  const bytes = new Uint8Array(macs.length * MAC_BYTES);
  for (let i = 0; i < macs.length; i++) writeMac(bytes, i * MAC_BYTES, macs[i]!);
  return bytes;
}

function writeReserveHeader(reply: Reply, command: number, count: number): void {
  reply.memory.bytes[reply.headerAt + AT_RESERVE_COMMAND] = command;
  reply.memory.bytes[reply.headerAt + AT_RESERVE_COUNT] = count;
  reply.headerBytes = AT_RESERVE_MACS;
}

export function answerReserve(
  target: AoeTarget,
  link: AoeLink,
  request: Memory,
  at: number,
  lengthBytes: number,
  source: Mac,
  reply: Reply,
): number {
  if (lengthBytes < AT_RESERVE_MACS) return errorReply(reply, ERROR_BAD_ARGUMENT);
  const command = request.bytes[at + AT_RESERVE_COMMAND]!;
  const { reservations } = target.state;
  if (command === RESERVE_READ) {
    writeReserveHeader(reply, command, reservations.length);
    return replyWith(link, reply, AT_RESERVE_MACS, macBytes(reservations));
  }
  if (command !== RESERVE_SET && command !== RESERVE_FORCE_SET) return errorReply(reply, ERROR_BAD_ARGUMENT);
  const count = request.bytes[at + AT_RESERVE_COUNT]!;
  if (lengthBytes < AT_RESERVE_MACS + count * MAC_BYTES) return errorReply(reply, ERROR_BAD_ARGUMENT);
  // The holder is known by the sender's own address, not by those it lists.
  if (command === RESERVE_SET && reservations.length !== 0 && !target.reservationSet.has(source)) {
    return errorReply(reply, ERROR_RESERVED);
  }
  const macs = new Set<Mac>();
  for (let i = 0; i < count; i++) macs.add(readMac(request.bytes, at + AT_RESERVE_MACS + i * MAC_BYTES));
  const reserved = [...macs];
  writeReserveHeader(reply, command, reserved.length);
  return saveState(target, link, { ...target.state, reservations: reserved }, reply, macBytes(reserved));
}
