/** AoE requests as an initiator builds them: whole Ethernet frames, not padded, with tag 0, which is set when sent. */
import type { TargetAddress } from "../base/address.ts";
import {
  AT_ATA_COMMAND_STATUS,
  AT_ATA_DATA,
  AT_ATA_ERROR_FEATURE,
  AT_ATA_FLAGS,
  AT_ATA_LBA,
  AT_ATA_SECTOR_COUNT,
  AT_COMMAND,
  AT_CONFIG_LENGTH,
  AT_CONFIG_STRING,
  AT_CONFIG_VERSION_CCMD,
  AT_DESTINATION,
  AT_ETHERTYPE,
  AT_MASK_COMMAND,
  AT_MASK_COUNT,
  AT_MASK_DIRECTIVES,
  AT_RESERVE_COMMAND,
  AT_RESERVE_COUNT,
  AT_RESERVE_MACS,
  AT_SHELF,
  AT_SLOT,
  AT_SOURCE,
  AT_TAG,
  AT_VERSION_FLAGS,
  ATA_FLAG_LBA48,
  ATA_FLAG_WRITE,
  COMMAND_ATA,
  COMMAND_CONFIG,
  COMMAND_MASK,
  COMMAND_RESERVE,
  ETHERTYPE_AOE,
  MASK_DIRECTIVE_BYTES,
  SHELF_BROADCAST,
  SLOT_BROADCAST,
  VERSION_1,
} from "../protocol/aoe/frame.ts";
import { MAC_BYTES, writeMac, type Mac } from "../protocol/aoe/mac.ts";

const DEVICE_LBA = 0xe0;

export const EVERY_TARGET: TargetAddress = { shelf: SHELF_BROADCAST, slot: SLOT_BROADCAST };

/** Where a request goes and where from. */
export interface Route {
  readonly destination: Mac;
  readonly source: Mac;
  readonly address: TargetAddress;
}

export interface AtaRequest {
  readonly command: number;
  /** 0 where the command has no address. */
  readonly sector?: number;
  readonly count?: number;
  readonly feature?: number;
  /** AFlags; by default LBA48, and write where there is data. */
  readonly flags?: number;
  readonly data?: Uint8Array;
}

export interface MaskDirective {
  /** One of `MASK_DIRECTIVE_*`. */
  readonly directive: number;
  readonly mac: Mac;
}

function requestFrame(route: Route, command: number, lengthBytes: number): Uint8Array {
  const frame = new Uint8Array(lengthBytes);
  writeMac(frame, AT_DESTINATION, route.destination);
  writeMac(frame, AT_SOURCE, route.source);
  setUint16(frame, AT_ETHERTYPE, ETHERTYPE_AOE);
  frame[AT_VERSION_FLAGS] = VERSION_1;
  setUint16(frame, AT_SHELF, route.address.shelf);
  frame[AT_SLOT] = route.address.slot;
  frame[AT_COMMAND] = command;
  return frame;
}

function setUint16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

/** Puts a tag, any 32-bit number, into a frame that is long enough for one. */
export function setTag(frame: Uint8Array, tag: number): void {
  setUint16(frame, AT_TAG, tag >>> 16);
  setUint16(frame, AT_TAG + 2, tag & 0xffff);
}

/** Query config with a sub-command (`CONFIG_*`) and its string. */
export function configRequest(route: Route, subCommand: number, text: Uint8Array = new Uint8Array(0)): Uint8Array {
  const frame = requestFrame(route, COMMAND_CONFIG, AT_CONFIG_STRING + text.length);
  frame[AT_CONFIG_VERSION_CCMD] = VERSION_1 | subCommand;
  setUint16(frame, AT_CONFIG_LENGTH, text.length);
  frame.set(text, AT_CONFIG_STRING);
  return frame;
}

export function ataRequest(route: Route, request: AtaRequest): Uint8Array {
  const data = request.data;
  const frame = requestFrame(route, COMMAND_ATA, AT_ATA_DATA + (data?.length ?? 0));
  const flags = request.flags ?? ATA_FLAG_LBA48 | (data ? ATA_FLAG_WRITE : 0);
  frame[AT_ATA_FLAGS] = flags;
  frame[AT_ATA_ERROR_FEATURE] = request.feature ?? 0;
  frame[AT_ATA_SECTOR_COUNT] = request.count ?? 0;
  frame[AT_ATA_COMMAND_STATUS] = request.command;
  let rest = request.sector ?? 0;
  for (let i = 0; i < 6; i++) {
    frame[AT_ATA_LBA + i] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  // Without LBA48 the fourth byte is the device register: four bits of the address, and LBA mode.
  if ((flags & ATA_FLAG_LBA48) === 0) frame[AT_ATA_LBA + 3]! |= DEVICE_LBA;
  if (data) frame.set(data, AT_ATA_DATA);
  return frame;
}

/** Reads (`MASK_READ`) or edits (`MASK_EDIT`) the list of MACs that the target listens to. */
export function maskRequest(route: Route, subCommand: number, directives: readonly MaskDirective[] = []): Uint8Array {
  const frame = requestFrame(route, COMMAND_MASK, AT_MASK_DIRECTIVES + directives.length * MASK_DIRECTIVE_BYTES);
  frame[AT_MASK_COMMAND] = subCommand;
  frame[AT_MASK_COUNT] = directives.length;
  directives.forEach(({ directive, mac }, i) => {
    const at = AT_MASK_DIRECTIVES + i * MASK_DIRECTIVE_BYTES;
    frame[at + 1] = directive;
    writeMac(frame, at + 2, mac);
  });
  return frame;
}

/** Reads or sets (`RESERVE_*`) the list of MACs that the target is reserved for. No MACs: released. */
export function reserveRequest(route: Route, subCommand: number, macs: readonly Mac[] = []): Uint8Array {
  const frame = requestFrame(route, COMMAND_RESERVE, AT_RESERVE_MACS + macs.length * MAC_BYTES);
  frame[AT_RESERVE_COMMAND] = subCommand;
  frame[AT_RESERVE_COUNT] = macs.length;
  macs.forEach((mac, i) => writeMac(frame, AT_RESERVE_MACS + i * MAC_BYTES, mac));
  return frame;
}
