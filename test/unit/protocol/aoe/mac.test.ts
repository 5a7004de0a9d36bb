import { expect, test } from "bun:test";
import { formatMac, parseMac, readMac, writeMac } from "../../../../src/protocol/aoe/mac.ts";

test("MACs go through bytes and text unchanged, the highest bits included", () => {
  for (const mac of [0, 1, 0xffffffffffff, 0x800000000000, 0x0000ffffffff, 0x000080000000, 0x0123456789ab]) {
    const bytes = new Uint8Array(10).fill(0xaa);
    writeMac(bytes, 2, mac);
    expect(Buffer.from(bytes).toString("hex")).toBe(`aaaa${mac.toString(16).padStart(12, "0")}aaaa`);
    expect([readMac(bytes, 2), parseMac(formatMac(mac))]).toEqual([mac, mac]);
  }
});

test("text with colons or dashes in either case is read, anything else is not", () => {
  expect(parseMac("02:AB:cd:00:00:01")).toBe(0x02abcd000001);
  expect(parseMac("02-ab-cd-00-00-01")).toBe(0x02abcd000001);
  for (const text of [
    "",
    "02abcd000001",
    "2:ab:cd:0:0:1",
    "02:ab:cd:00:00:0g",
    "02:ab:cd:00:00:01:",
    " 02:ab:cd:00:00:01",
  ]) {
    expect(parseMac(text)).toBeUndefined();
  }
});
