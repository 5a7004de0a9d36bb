import { BlockList, isIP } from "node:net";
import type { Cidr } from "../../base/cidr.ts";

/** An IPv4 address that came through an IPv6 socket (RFC 4291, section 2.5.5.2) as the IPv4 address that it is. */
export const plainAddress = (address: string): string => address.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, "");

/** Whether clients may come from an address. Without ranges they may from everywhere. */
export function addressFilter(allow: readonly Cidr[]): (address: string) => boolean {
  if (allow.length === 0) return () => true;
  const list = new BlockList();
  for (const { address, prefixLength, family } of allow) list.addSubnet(address, prefixLength, family);
  return (address) => {
    const plain = plainAddress(address);
    const version = isIP(plain);
    return version !== 0 && list.check(plain, version === 6 ? "ipv6" : "ipv4");
  };
}
