/** The four AoE commands to one target at one MAC, as promises. */
import { formatAddress, type TargetAddress } from "../base/address.ts";
import {
  ATA_IDENTIFY_DEVICE,
  ATA_STATUS_ERR,
  CONFIG_READ,
  MASK_EDIT,
  MASK_READ,
  RESERVE_READ,
} from "../protocol/aoe/frame.ts";
import { readMac, type Mac } from "../protocol/aoe/mac.ts";
import { parseIdentify, type Identity } from "./identify.ts";
import type { Initiator, RequestOptions } from "./initiator.ts";
import {
  aoeErrorOf,
  parseAtaReply,
  parseConfigReply,
  parseMaskReply,
  parseReserveReply,
  type AtaReply,
  type ConfigReply,
  type MaskReply,
} from "./replies.ts";
import { RequestError } from "./request-error.ts";
import {
  ataRequest,
  configRequest,
  maskRequest,
  reserveRequest,
  type AtaRequest,
  type MaskDirective,
  type Route,
} from "./requests.ts";

/** All of these reject with `RequestError`, except where a silent target is an answer. */
export interface Target {
  readonly route: Route;
  /** Sends an ATA command and returns the registers and data, whatever the status. */
  ata(request: AtaRequest, options?: RequestOptions): Promise<AtaReply>;
  identify(options?: RequestOptions): Promise<Identity>;
  readConfig(options?: RequestOptions): Promise<ConfigReply>;
  /** Any config sub-command (`CONFIG_*`). Undefined for silence, by which a target says that a string does not match. */
  config(subCommand: number, text: string, options?: RequestOptions): Promise<ConfigReply | undefined>;
  readMask(options?: RequestOptions): Promise<MaskReply>;
  editMask(directives: readonly MaskDirective[], options?: RequestOptions): Promise<MaskReply>;
  /** The MACs that the target is reserved for, none where it is not. */
  readReservation(options?: RequestOptions): Promise<Mac[]>;
  /** `RESERVE_SET` or `RESERVE_FORCE_SET`; no MACs releases. */
  reserve(subCommand: number, macs: readonly Mac[], options?: RequestOptions): Promise<Mac[]>;
}

/** Addresses a target at a MAC (broadcast will do). Nothing is sent before one of the functions is called. */
export function openTarget(initiator: Initiator, address: TargetAddress, mac: Mac): Target {
  const route: Route = { destination: mac, source: readMac(initiator.interface.mac, 0), address };
  const name = formatAddress(address);

  const ata = (request: AtaRequest, options?: RequestOptions): Promise<AtaReply> =>
    ask(ataRequest(route, request), `${name}: ATA command 0x${request.command.toString(16)}`, parseAtaReply, options);

  async function ask<T>(
    frame: Uint8Array,
    what: string,
    parse: (reply: Uint8Array) => T | undefined,
    options?: RequestOptions,
  ): Promise<T> {
    const reply = await initiator.ask(frame, options);
    if (!reply) throw new RequestError(what, { kind: "timeout" });
    return parsed(reply, what, parse);
  }

  return {
    route,
    ata,
    async identify(options) {
      const what = `${name}: IDENTIFY`;
      const { status, error, data } = await ata({ command: ATA_IDENTIFY_DEVICE, count: 1 }, options);
      if ((status & ATA_STATUS_ERR) !== 0) throw new RequestError(what, { kind: "ata", status, error });
      const identity = parseIdentify(data);
      if (!identity) throw new RequestError(what, { kind: "malformed" });
      return identity;
    },
    readConfig: (options) => ask(configRequest(route, CONFIG_READ), `${name}: config query`, parseConfigReply, options),
    async config(subCommand, text, options) {
      const reply = await initiator.ask(configRequest(route, subCommand, new TextEncoder().encode(text)), options);
      return reply && parsed(reply, `${name}: config sub-command ${subCommand}`, parseConfigReply);
    },
    readMask: (options) => ask(maskRequest(route, MASK_READ), `${name}: mask list`, parseMaskReply, options),
    editMask: (directives, options) =>
      ask(maskRequest(route, MASK_EDIT, directives), `${name}: change of the mask list`, parseMaskReply, options),
    readReservation: (options) =>
      ask(reserveRequest(route, RESERVE_READ), `${name}: reservation`, parseReserveReply, options),
    reserve: (subCommand, macs, options) =>
      ask(reserveRequest(route, subCommand, macs), `${name}: change of the reservation`, parseReserveReply, options),
  };
}

function parsed<T>(reply: Uint8Array, what: string, parse: (reply: Uint8Array) => T | undefined): T {
  const code = aoeErrorOf(reply);
  if (code !== 0) throw new RequestError(what, { kind: "aoe", code });
  const result = parse(reply);
  if (result === undefined) throw new RequestError(what, { kind: "malformed" });
  return result;
}
