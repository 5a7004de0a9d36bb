/** Command 1: query config (AoEr11, section 3.2). */
import type { Memory } from "../../base/memory.ts";
import {
  AT_CONFIG_BUFFER_COUNT,
  AT_CONFIG_FIRMWARE,
  AT_CONFIG_LENGTH,
  AT_CONFIG_SECTOR_COUNT,
  AT_CONFIG_STRING,
  AT_CONFIG_VERSION_CCMD,
  CONFIG_FORCE_SET,
  CONFIG_PREFIX,
  CONFIG_READ,
  CONFIG_SET,
  CONFIG_STRING_MOST_BYTES,
  CONFIG_TEST,
  ERROR_BAD_ARGUMENT,
  ERROR_CONFIG_PRESENT,
  sectorsPerFrame,
  VERSION_1,
} from "./frame.ts";
import type { AoeLink } from "./link.ts";
import { errorReply, replyWith, SILENCE, type Reply } from "./reply.ts";
import { saveState } from "./save-state.ts";
import type { AoeTarget } from "./target.ts";

/**
 * Most messages an initiator may have outstanding. Linux takes at most 64, starts at half of it, and never shows a
 * device that says 0 or 1.
 */
export const BUFFER_COUNT = 64;
/** What vblade and others say here; nobody is known to read it. */
const FIRMWARE_VERSION = 0x4019;

/** Sectors per frame as advertised: a multiple of 8 where the MTU allows, so that requests keep to 4 KiB blocks. */
export function advertisedSectors(mtuBytes: number): number {
  const most = sectorsPerFrame(mtuBytes);
  return most >= 8 ? most - (most % 8) : most;
}

const isEqual = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && isPrefix(a, b);
const isPrefix = (prefix: Uint8Array, of: Uint8Array): boolean =>
  prefix.length <= of.length && prefix.every((byte, i) => byte === of[i]);

/** Fills bytes 24-31 of a config reply at `at`. */
export function writeConfigHeader(
  view: DataView,
  at: number,
  mtuBytes: number,
  ccmd: number,
  stringBytes: number,
): void {
  view.setUint16(at + AT_CONFIG_BUFFER_COUNT, BUFFER_COUNT);
  view.setUint16(at + AT_CONFIG_FIRMWARE, FIRMWARE_VERSION);
  view.setUint8(at + AT_CONFIG_SECTOR_COUNT, advertisedSectors(mtuBytes));
  view.setUint8(at + AT_CONFIG_VERSION_CCMD, VERSION_1 | ccmd);
  view.setUint16(at + AT_CONFIG_LENGTH, stringBytes);
}

export function answerConfig(
  target: AoeTarget,
  link: AoeLink,
  request: Memory,
  at: number,
  lengthBytes: number,
  reply: Reply,
): number {
  if (lengthBytes < AT_CONFIG_STRING) return errorReply(reply, ERROR_BAD_ARGUMENT);
  const ccmd = request.bytes[at + AT_CONFIG_VERSION_CCMD]! & 0x0f;
  const stringBytes = request.view.getUint16(at + AT_CONFIG_LENGTH);
  if (stringBytes > CONFIG_STRING_MOST_BYTES || lengthBytes < AT_CONFIG_STRING + stringBytes) {
    return errorReply(reply, ERROR_BAD_ARGUMENT);
  }
  const argumentAt = at + AT_CONFIG_STRING;
  const argument = request.bytes.subarray(argumentAt, argumentAt + stringBytes);
  const current = target.state.configString;

  switch (ccmd) {
    case CONFIG_READ:
      break;
    case CONFIG_TEST:
      if (!isEqual(argument, current)) return SILENCE;
      break;
    case CONFIG_PREFIX:
      if (!isPrefix(argument, current)) return SILENCE;
      break;
    case CONFIG_SET:
      if (current.length !== 0 && !isEqual(argument, current)) return errorReply(reply, ERROR_CONFIG_PRESENT);
      return setConfig(target, link, reply, ccmd, argument);
    case CONFIG_FORCE_SET:
      return setConfig(target, link, reply, ccmd, argument);
    default:
      return errorReply(reply, ERROR_BAD_ARGUMENT);
  }
  writeConfigHeader(reply.memory.view, reply.headerAt, link.mtuBytes, ccmd, current.length);
  return replyWith(link, reply, AT_CONFIG_STRING, current);
}

function setConfig(target: AoeTarget, link: AoeLink, reply: Reply, ccmd: number, argument: Uint8Array): number {
  writeConfigHeader(reply.memory.view, reply.headerAt, link.mtuBytes, ccmd, argument.length);
  if (isEqual(argument, target.state.configString)) return replyWith(link, reply, AT_CONFIG_STRING, argument);
  reply.headerBytes = AT_CONFIG_STRING;
  // The request's memory is the kernel's again once this returns.
  const configString = argument.slice();
  return saveState(target, link, { ...target.state, configString }, reply, configString);
}
