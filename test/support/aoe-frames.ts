/** Requests from the test's client to the test's target, and the fields of replies. */
import type { AtaRequest, MaskDirective, Route } from "../../src/initiator/requests.ts";
import { ataRequest, configRequest, maskRequest, reserveRequest } from "../../src/initiator/requests.ts";
import {
  AT_ERROR,
  AT_ATA_COMMAND_STATUS,
  AT_ATA_ERROR_FEATURE,
  AT_VERSION_FLAGS,
  FLAG_ERROR,
} from "../../src/protocol/aoe/frame.ts";
import type { Mac } from "../../src/protocol/aoe/mac.ts";
import { clientMac, serverMac, targetAddress } from "./aoe-exchange.ts";

const routeFrom = (source: Mac): Route => ({ destination: serverMac, source, address: targetAddress });

export const ata = (request: AtaRequest, source = clientMac): Uint8Array => ataRequest(routeFrom(source), request);
export const config = (subCommand: number, text: string | Uint8Array = "", source = clientMac): Uint8Array =>
  configRequest(routeFrom(source), subCommand, typeof text === "string" ? new TextEncoder().encode(text) : text);
export const mask = (subCommand: number, directives: readonly MaskDirective[] = [], source = clientMac): Uint8Array =>
  maskRequest(routeFrom(source), subCommand, directives);
export const reserve = (subCommand: number, macs: readonly Mac[] = [], source = clientMac): Uint8Array =>
  reserveRequest(routeFrom(source), subCommand, macs);

/** The frame with zeros behind it up to Ethernet's least length without the checksum. */
export function padded(frame: Uint8Array): Uint8Array {
  const long = new Uint8Array(Math.max(60, frame.length));
  long.set(frame);
  return long;
}

/** The AoE error of a reply, 0 where it is none. */
export function aoeError(reply: Uint8Array): number {
  const isError = (reply[AT_VERSION_FLAGS]! & FLAG_ERROR) !== 0;
  if (isError !== (reply[AT_ERROR] !== 0)) throw new Error("the E flag and the error code disagree");
  return reply[AT_ERROR]!;
}

/** Status and error register of an ATA reply, as `[0x40, 0]`. */
export const ataEnd = (reply: Uint8Array): number[] => [reply[AT_ATA_COMMAND_STATUS]!, reply[AT_ATA_ERROR_FEATURE]!];

/** Sectors whose every byte is `byte`. */
export const sectorsOf = (byte: number, count: number): Uint8Array => new Uint8Array(count * 512).fill(byte);
