import { writeConfigHeader } from "./config.ts";
import {
  AT_COMMAND,
  AT_CONFIG_STRING,
  AT_DESTINATION,
  AT_ETHERTYPE,
  AT_SHELF,
  AT_SLOT,
  AT_SOURCE,
  AT_VERSION_FLAGS,
  COMMAND_CONFIG,
  CONFIG_READ,
  ETHERNET_HEADER_BYTES,
  ETHERTYPE_AOE,
  FLAG_RESPONSE,
  VERSION_1,
} from "./frame.ts";
import { MAC_BROADCAST, writeMac, type Mac } from "./mac.ts";
import type { AoeTarget } from "./target.ts";

const NO_STRING = new Uint8Array(0);

/**
 * The unsolicited config responses (tag 0) with which a target makes itself known: one to everybody, or one to each MAC
 * of its mask list.
 */
export function announcements(target: AoeTarget, mac: Uint8Array, mtuBytes: number): Uint8Array[] {
  const { configString, mask } = target.state;
  // That the target is there matters more than a string which the MTU cannot carry.
  const said = AT_CONFIG_STRING + configString.length <= ETHERNET_HEADER_BYTES + mtuBytes ? configString : NO_STRING;
  const destinations: readonly Mac[] = mask.length === 0 ? [MAC_BROADCAST] : mask;
  return destinations.map((destination) => {
    const frame = new Uint8Array(AT_CONFIG_STRING + said.length);
    const view = new DataView(frame.buffer);
    writeMac(frame, AT_DESTINATION, destination);
    frame.set(mac, AT_SOURCE);
    view.setUint16(AT_ETHERTYPE, ETHERTYPE_AOE);
    frame[AT_VERSION_FLAGS] = VERSION_1 | FLAG_RESPONSE;
    view.setUint16(AT_SHELF, target.shelf);
    frame[AT_SLOT] = target.slot;
    frame[AT_COMMAND] = COMMAND_CONFIG;
    writeConfigHeader(view, 0, mtuBytes, CONFIG_READ, said.length);
    frame.set(said, AT_CONFIG_STRING);
    return frame;
  });
}
