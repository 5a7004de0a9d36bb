import { expect, test } from "bun:test";
import { formatAddress, parseAddress } from "../../../src/base/address.ts";

test("an address reads as it is written", () => {
  for (const text of ["e0.0", "e1.0", "e65534.254"]) expect(formatAddress(parseAddress(text))).toBe(text);
});

for (const [text, reason] of [
  ["1.0", "no target address"],
  ["e1", "no target address"],
  ["e1.0 ", "no target address"],
  ["e-1.0", "no target address"],
  ["e65535.0", "a shelf is 0 to 65534"],
  ["e1.255", "a slot is 0 to 254"],
] as const) {
  test(`"${text}" is refused: ${reason}`, () => {
    expect(() => parseAddress(text)).toThrow(reason);
  });
}
