import { expect, test } from "bun:test";
import { parseMacAddress } from "../../../src/base/mac-address.ts";

test("every spelling of a MAC address becomes the one with colons in lower case", () => {
  for (const text of ["52:54:00:ab:cd:ef", "52:54:00:AB:CD:EF", "52-54-00-AB-cd-ef"]) {
    expect(parseMacAddress(text)).toBe("52:54:00:ab:cd:ef");
  }
});

test.each(["", "52:54:00:ab:cd", "52:54:00:ab:cd:ef:01", "52:54-00:ab:cd:ef", "525400abcdef", "52:54:00:ab:cd:eg"])(
  "%s is refused as a MAC address",
  (text) => {
    expect(() => parseMacAddress(text)).toThrow("is not a MAC address");
  },
);

test("a group address is refused", () => {
  expect(() => parseMacAddress("ff:ff:ff:ff:ff:ff")).toThrow("is a group address");
});
