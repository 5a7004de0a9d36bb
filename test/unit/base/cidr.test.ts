import { expect, test } from "bun:test";
import { BlockList } from "node:net";
import { formatCidr, parseCidr } from "../../../src/base/cidr.ts";

test("an address range is read in the terms of a block list", () => {
  const { address, prefixLength, family } = parseCidr("10.0.0.0/8");
  const list = new BlockList();
  list.addSubnet(address, prefixLength, family);
  expect(list.check("10.200.3.4")).toBe(true);
  expect(list.check("11.0.0.1")).toBe(false);
});

test("one address is the range of itself", () => {
  expect(parseCidr("192.168.1.7")).toEqual({ address: "192.168.1.7", prefixLength: 32, family: "ipv4" });
  expect(parseCidr("fd00::1")).toEqual({ address: "fd00::1", prefixLength: 128, family: "ipv6" });
});

test.each(["10.0.0.0/8", "0.0.0.0/0", "fd00::/8", "::1/128"])("%s is formatted as it was read", (text) => {
  expect(formatCidr(parseCidr(text))).toBe(text);
});

test.each(["", "10.0.0/8", "10.0.0.0/33", "fd00::/129", "10.0.0.0/", "10.0.0.0/8/8", "eth0", "fe80::1%eth0/64"])(
  "%s is refused as an address range",
  (text) => {
    expect(() => parseCidr(text)).toThrow(RangeError);
  },
);
