/**
 * What a target must make of a frame, written down from the protocol and not from the program: it shares no code with
 * what it judges but the shape of the state.
 */
import type { TargetState } from "../../src/protocol/aoe/target.ts";

/** The frame and the target it is handed to, as the model sees them. */
export interface Situation {
  readonly frame: Uint8Array;
  readonly shelf: number;
  readonly slot: number;
  readonly state: TargetState;
  readonly sectorCount: number;
  readonly readOnly: boolean;
  readonly mtuBytes: number;
}

export interface Access {
  readonly isWrite: boolean;
  readonly sector: number;
  readonly count: number;
}

const macAt = (frame: Uint8Array, at: number): number => Buffer.from(frame.buffer, frame.byteOffset).readUIntBE(at, 6);

/** Whether the target may say nothing: the frame is no request for it, or it is a question with the answer no. */
export function mayBeSilent({ frame, shelf, slot, state }: Situation): boolean {
  if (frame.length < 24 || (frame[14]! & 0x08) !== 0) return true;
  const asked = frame[16]! * 256 + frame[17]!;
  if (asked !== shelf && asked !== 0xffff) return true;
  if (frame[18] !== slot && frame[18] !== 0xff) return true;
  if (state.mask.length > 0 && !state.mask.includes(macAt(frame, 6))) return true;
  if (frame[14]! >> 4 !== 1 || frame[19] !== 1 || frame.length < 32) return false;
  const length = frame[30]! * 256 + frame[31]!;
  if (length > 1024 || 32 + length > frame.length) return false;
  const argument = Buffer.from(frame.subarray(32, 32 + length));
  const current = Buffer.from(state.configString);
  if ((frame[29]! & 15) === 1) return !argument.equals(current);
  if ((frame[29]! & 15) === 2) return !argument.equals(current.subarray(0, length)) || length > current.length;
  return false;
}

/** The read or write that a request to this target asks for; undefined for everything else. */
export function accessOf({ frame }: Situation): Access | undefined {
  if (frame[14]! >> 4 !== 1 || frame[19] !== 0 || frame.length < 36) return undefined;
  const command = frame[27]!;
  if (![0x20, 0x24, 0x30, 0x34].includes(command)) return undefined;
  const bits = (frame[24]! & 0x40) !== 0 ? 48 : 28;
  const lba = Buffer.from(frame.buffer, frame.byteOffset).readUIntLE(28, 6);
  return { isWrite: command >= 0x30, sector: bits === 48 ? lba : lba % 2 ** 28, count: frame[26]! };
}

/** How that access must end: an AoE error, or ATA status and error register. */
export function endOf(situation: Situation, { isWrite, sector, count }: Access): { aoe: number } | { ata: number[] } {
  const { frame, state, sectorCount, readOnly, mtuBytes } = situation;
  if (state.reservations.length > 0 && !state.reservations.includes(macAt(frame, 6))) return { aoe: 6 };
  if (count === 0) return { aoe: 2 };
  if (isWrite ? frame.length !== 36 + count * 512 : 22 + count * 512 > mtuBytes) return { aoe: 2 };
  if (sector + count > sectorCount) return { ata: [0x41, 0x10] };
  return { ata: isWrite && readOnly ? [0x41, 0x04] : [0x40, 0] };
}

const part = (bytes: Uint8Array, from: number, to: number): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from).toString("latin1");

/** Why a reply is not well formed, or undefined. */
export function faultOf(situation: Situation, reply: Uint8Array, serverMac: Uint8Array): string | undefined {
  const { frame, shelf, slot, mtuBytes } = situation;
  if (reply.length < 24) return "it is shorter than a header";
  if (reply.length > mtuBytes + 14) return "it is longer than the MTU";
  if (part(reply, 0, 6) !== part(frame, 6, 12)) return "it goes to somebody else";
  if (part(reply, 6, 12) !== part(serverMac, 0, 6)) return "it comes from another MAC";
  if (reply[12] !== 0x88 || reply[13] !== 0xa2) return "its EtherType is wrong";
  if (reply[16]! * 256 + reply[17]! !== shelf || reply[18] !== slot) return "its address is not the target's";
  if (part(reply, 19, 24) !== part(frame, 19, 24)) return "command or tag are not those of the request";
  if (reply[14] === 0x1c) {
    if (reply[15]! < 1 || reply[15]! > 6) return `error ${reply[15]} is none`;
    return reply.length === 24 ? undefined : "an error has data";
  }
  if (reply[14] !== 0x18 || reply[15] !== 0) return "flags or error are wrong";
  return faultOfBody(reply);
}

function faultOfBody(reply: Uint8Array): string | undefined {
  const expectLength = (lengthBytes: number): string | undefined =>
    reply.length === lengthBytes ? undefined : `it has ${reply.length} bytes and says ${lengthBytes}`;
  switch (reply[19]) {
    case 0:
      if (reply[27] === 0x40) return reply[25] === 0 ? undefined : "success with an error";
      if (reply[27] !== 0x41 || ![0x04, 0x10, 0x40].includes(reply[25]!)) return "ATA status or error are odd";
      return expectLength(36);
    case 1:
      if (reply[24]! * 256 + reply[25]! < 2) return "Linux would never show this device";
      return expectLength(32 + reply[30]! * 256 + reply[31]!);
    case 2:
      if (reply[26]! > 3) return `mask error ${reply[26]} is none`;
      return expectLength(reply[26] === 0 ? 28 + 8 * reply[27]! : 28);
    case 3:
      return expectLength(26 + 6 * reply[25]!);
    default:
      return "a command that is not known was answered";
  }
}
