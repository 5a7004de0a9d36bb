import { expect, test } from "bun:test";
import {
  addressOf,
  aoeErrorName,
  aoeErrorOf,
  ataErrorName,
  parseAtaReply,
  parseConfigReply,
  parseMaskReply,
  parseReserveReply,
  tagOf,
} from "../../../src/initiator/replies.ts";

const reply = (command: string, rest: string, flags = "18 00"): Uint8Array =>
  Uint8Array.fromHex(`020000000001 020000000002 88a2 ${flags} 0102 03 ${command} fedcba98 ${rest}`.replaceAll(" ", ""));

test("a config reply yields what the target says of itself", () => {
  const frame = reply("01", "0040 4019 10 10 0002 6162");
  expect(parseConfigReply(frame)).toEqual({
    address: { shelf: 0x0102, slot: 3 },
    mac: 0x0200_0000_0002,
    bufferCount: 64,
    firmware: 0x4019,
    sectorsPerFrame: 16,
    configString: "ab",
  });
  expect(tagOf(frame)).toBe(0xfedc_ba98);
  expect(addressOf(frame)).toEqual({ shelf: 0x0102, slot: 3 });
});

test("a target that does not say its sectors per frame takes 2", () => {
  expect(parseConfigReply(reply("01", "0010 4019 00 10 0000"))?.sectorsPerFrame).toBe(2);
});

test("a config reply whose string goes beyond the frame is none", () => {
  expect(parseConfigReply(reply("01", "0010 4019 02 10 0003 6162"))).toBeUndefined();
});

test("an ATA reply yields its registers and data", () => {
  const parsed = parseAtaReply(reply("00", "40 10 01 41 000000000000 0000 aabb"));
  expect(parsed).toEqual({ status: 0x41, error: 0x10, data: new Uint8Array([0xaa, 0xbb]) });
  expect(ataErrorName(0x41, 0x10)).toStartWith("IDNF");
  expect(ataErrorName(0x41, 0x40)).toStartWith("UNC");
  expect(ataErrorName(0x41, 0x04)).toStartWith("ABRT");
  expect(ataErrorName(0x40, 0)).toBe("");
});

test("an error reply has its code and is no reply to any command", () => {
  const frame = reply("00", "40 00 01 24 000000000000 0000", "1c 06");
  expect(aoeErrorOf(frame)).toBe(6);
  expect(aoeErrorName(6)).toContain("reserved");
  expect(parseAtaReply(frame)).toBeUndefined();
  expect(aoeErrorOf(reply("00", "", "18 06"))).toBe(0);
});

test("a mask reply yields the list, or the error and where it was", () => {
  expect(parseMaskReply(reply("02", "00 00 00 01 0000 0a0b0c0d0e0f"))).toEqual({
    error: 0,
    count: 1,
    macs: [0x0a0b_0c0d_0e0f],
  });
  expect(parseMaskReply(reply("02", "00 01 02 05"))).toEqual({ error: 2, count: 5, macs: [] });
});

test("a reserve reply yields the MACs", () => {
  expect(parseReserveReply(reply("03", "00 02 0a0b0c0d0e0f 000000000001"))).toEqual([0x0a0b_0c0d_0e0f, 1]);
  expect(parseReserveReply(reply("03", "00 00"))).toEqual([]);
});

test("a list that is longer than its frame is no list", () => {
  expect(parseMaskReply(reply("02", "00 00 00 02 0000 0a0b0c0d0e0f"))).toBeUndefined();
  expect(parseReserveReply(reply("03", "00 ff 0a0b0c0d0e0f"))).toBeUndefined();
});

test("every parser refuses every truncation, and the reply to another command", () => {
  const parsers = [
    [parseConfigReply, reply("01", "0040 4019 10 10 0002 6162")],
    [parseAtaReply, reply("00", "40 00 01 40 000000000000 0000")],
    [parseMaskReply, reply("02", "00 00 00 01 0000 0a0b0c0d0e0f")],
    [parseReserveReply, reply("03", "00 01 0a0b0c0d0e0f")],
  ] as const;
  for (const [parse, frame] of parsers) {
    expect(parse(frame)).toBeDefined();
    for (let length = 0; length < frame.length; length++) expect(parse(frame.subarray(0, length))).toBeUndefined();
    for (const [other, otherFrame] of parsers) if (other !== parse) expect(parse(otherFrame)).toBeUndefined();
  }
});
