import { isIP } from "node:net";

/** A range of IP addresses, in the terms of `net.BlockList.addSubnet`. */
export interface Cidr {
  readonly address: string;
  readonly prefixLength: number;
  readonly family: "ipv4" | "ipv6";
}

/** Reads "10.0.0.0/8", "fd00::/8", or one address. Throws RangeError with what is wrong and what to write. */
export const parseCidr = (text: string): Cidr => {
  const [, address = "", digits] = /^([^/%]+)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const version = isIP(address);
  if (version === 0) throw new RangeError('is not an address range; write for example "192.168.1.0/24" or "fd00::/8"');
  const bits = version === 4 ? 32 : 128;
  const prefixLength = Number(digits ?? bits);
  if (prefixLength > bits) {
    throw new RangeError(`has a prefix length over ${bits}; write for example "${address}/${bits}"`);
  }
  return { address, prefixLength, family: version === 4 ? "ipv4" : "ipv6" };
};

export const formatCidr = ({ address, prefixLength }: Cidr): string => `${address}/${prefixLength}`;
