import { expect, test } from "bun:test";
import { parseCidr } from "../../../../src/base/cidr.ts";
import { addressFilter, plainAddress } from "../../../../src/server/nbd/client-address.ts";

test("without ranges clients may come from everywhere", () => {
  const isAllowed = addressFilter([]);
  expect(["10.0.0.1", "fd00::1"].map(isAllowed)).toEqual([true, true]);
});

test("with ranges they may come from within one of them", () => {
  const isAllowed = addressFilter(["192.168.1.0/24", "10.1.2.3", "fd00::/8"].map(parseCidr));
  expect(["192.168.1.200", "10.1.2.3", "fd12::1"].map(isAllowed)).toEqual([true, true, true]);
  expect(["192.168.2.1", "10.1.2.4", "fe80::1", "", "unix"].map(isAllowed)).toEqual([
    false,
    false,
    false,
    false,
    false,
  ]);
});

test("an IPv4 address that came through an IPv6 socket is the IPv4 address", () => {
  const isAllowed = addressFilter([parseCidr("192.168.1.0/24")]);
  expect(["::ffff:192.168.1.7", "::ffff:192.168.2.7"].map(isAllowed)).toEqual([true, false]);
  expect(plainAddress("::FFFF:10.0.0.1")).toBe("10.0.0.1");
  expect(plainAddress("fd00::ffff:1")).toBe("fd00::ffff:1");
});
