/** AoE replies as an initiator reads them. What arrives is untrusted: a parser returns undefined for what it is not. */
import type { TargetAddress } from "../base/address.ts";
import {
  AT_ATA_COMMAND_STATUS,
  AT_ATA_DATA,
  AT_ATA_ERROR_FEATURE,
  AT_COMMAND,
  AT_CONFIG_BUFFER_COUNT,
  AT_CONFIG_FIRMWARE,
  AT_CONFIG_LENGTH,
  AT_CONFIG_SECTOR_COUNT,
  AT_CONFIG_STRING,
  AT_ERROR,
  AT_MASK_COUNT,
  AT_MASK_DIRECTIVES,
  AT_MASK_ERROR,
  AT_RESERVE_COUNT,
  AT_RESERVE_MACS,
  AT_SHELF,
  AT_SLOT,
  AT_SOURCE,
  AT_TAG,
  AT_VERSION_FLAGS,
  ATA_ERROR_ABRT,
  ATA_ERROR_IDNF,
  ATA_ERROR_UNC,
  ATA_STATUS_ERR,
  COMMAND_ATA,
  COMMAND_CONFIG,
  COMMAND_MASK,
  COMMAND_RESERVE,
  FLAG_ERROR,
  HEADER_BYTES,
  MASK_DIRECTIVE_BYTES,
} from "../protocol/aoe/frame.ts";
import { MAC_BYTES, readMac, type Mac } from "../protocol/aoe/mac.ts";

/** A target that says 0 takes one KiB a frame, as AoE did before there were jumbo frames. */
const SECTORS_WHEN_UNSAID = 2;

export interface ConfigReply {
  readonly address: TargetAddress;
  readonly mac: Mac;
  /** Most requests the target takes at once. */
  readonly bufferCount: number;
  readonly firmware: number;
  /** Most sectors in one frame, as the target says; the interface may carry fewer. */
  readonly sectorsPerFrame: number;
  readonly configString: string;
}

export interface AtaReply {
  readonly status: number;
  readonly error: number;
  readonly data: Uint8Array;
}

export interface MaskReply {
  /** 0, or one of `MASK_ERROR_*`. */
  readonly error: number;
  /** How many entries, or after an error the index of the directive that failed. */
  readonly count: number;
  readonly macs: Mac[];
}

const uint16 = (frame: Uint8Array, at: number): number => ((frame[at] ?? 0) << 8) | (frame[at + 1] ?? 0);

/** The frame's tag; bytes that the frame is too short for count as 0. */
export const tagOf = (frame: Uint8Array): number => ((uint16(frame, AT_TAG) << 16) | uint16(frame, AT_TAG + 2)) >>> 0;

export const addressOf = (frame: Uint8Array): TargetAddress => ({
  shelf: uint16(frame, AT_SHELF),
  slot: frame[AT_SLOT] ?? 0,
});

/** The AoE error code of an error reply, 0 of any other. */
export const aoeErrorOf = (frame: Uint8Array): number =>
  ((frame[AT_VERSION_FLAGS] ?? 0) & FLAG_ERROR) === 0 ? 0 : (frame[AT_ERROR] ?? 0);

const isSuccess = (frame: Uint8Array, command: number, lengthBytes: number): boolean =>
  frame.length >= lengthBytes &&
  frame.length >= HEADER_BYTES &&
  frame[AT_COMMAND] === command &&
  ((frame[AT_VERSION_FLAGS] ?? 0) & FLAG_ERROR) === 0;

export function parseConfigReply(frame: Uint8Array): ConfigReply | undefined {
  if (!isSuccess(frame, COMMAND_CONFIG, AT_CONFIG_STRING)) return undefined;
  const length = uint16(frame, AT_CONFIG_LENGTH);
  if (AT_CONFIG_STRING + length > frame.length) return undefined;
  return {
    address: addressOf(frame),
    mac: readMac(frame, AT_SOURCE),
    bufferCount: uint16(frame, AT_CONFIG_BUFFER_COUNT),
    firmware: uint16(frame, AT_CONFIG_FIRMWARE),
    sectorsPerFrame: frame[AT_CONFIG_SECTOR_COUNT] || SECTORS_WHEN_UNSAID,
    configString: new TextDecoder().decode(frame.subarray(AT_CONFIG_STRING, AT_CONFIG_STRING + length)),
  };
}

/** Its `data` is a view of the frame, of all that follows the header (a short frame may be padded by Ethernet). */
export function parseAtaReply(frame: Uint8Array): AtaReply | undefined {
  if (!isSuccess(frame, COMMAND_ATA, AT_ATA_DATA)) return undefined;
  return {
    status: frame[AT_ATA_COMMAND_STATUS] ?? 0,
    error: frame[AT_ATA_ERROR_FEATURE] ?? 0,
    data: frame.subarray(AT_ATA_DATA),
  };
}

export function parseMaskReply(frame: Uint8Array): MaskReply | undefined {
  if (!isSuccess(frame, COMMAND_MASK, AT_MASK_DIRECTIVES)) return undefined;
  const error = frame[AT_MASK_ERROR] ?? 0;
  const count = frame[AT_MASK_COUNT] ?? 0;
  if (error !== 0) return { error, count, macs: [] };
  const macs = readMacs(frame, AT_MASK_DIRECTIVES + 2, MASK_DIRECTIVE_BYTES, count);
  return macs && { error, count, macs };
}

/** The MACs that the target is reserved for. */
export function parseReserveReply(frame: Uint8Array): Mac[] | undefined {
  if (!isSuccess(frame, COMMAND_RESERVE, AT_RESERVE_MACS)) return undefined;
  return readMacs(frame, AT_RESERVE_MACS, MAC_BYTES, frame[AT_RESERVE_COUNT] ?? 0);
}

function readMacs(frame: Uint8Array, at: number, strideBytes: number, count: number): Mac[] | undefined {
  if (count > 0 && at + (count - 1) * strideBytes + MAC_BYTES > frame.length) return undefined;
  return Array.from({ length: count }, (_, i) => readMac(frame, at + i * strideBytes));
}

const AOE_ERRORS = [
  "no error",
  "unrecognised command",
  "bad argument",
  "device unavailable",
  "config string present",
  "unsupported version",
  "target reserved by another initiator",
];

export const aoeErrorName = (code: number): string => AOE_ERRORS[code] ?? `error ${code}`;

/** What an ATA status and error register say, "" where all is well. */
export function ataErrorName(status: number, error: number): string {
  if ((status & ATA_STATUS_ERR) === 0) return "";
  if ((error & ATA_ERROR_UNC) !== 0) return "UNC: the medium could not be read";
  if ((error & ATA_ERROR_IDNF) !== 0) return "IDNF: sectors beyond the end of the disk";
  if ((error & ATA_ERROR_ABRT) !== 0) return "ABRT: not supported or not allowed";
  return `status 0x${status.toString(16)}, error 0x${error.toString(16)}`;
}
