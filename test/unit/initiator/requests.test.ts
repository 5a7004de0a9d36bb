import { expect, test } from "bun:test";
import { MAC_BROADCAST } from "../../../src/protocol/aoe/mac.ts";
import {
  ataRequest,
  configRequest,
  EVERY_TARGET,
  maskRequest,
  reserveRequest,
  setTag,
} from "../../../src/initiator/requests.ts";

const route = { destination: 0x0200_0000_0001, source: 0x0200_0000_0002, address: { shelf: 0x0102, slot: 3 } };
const HEADER = "020000000001 020000000002 88a2 10 00 0102 03";

const hex = (frame: Uint8Array): string => Buffer.from(frame).toString("hex");
const bytes = (text: string): string => text.replaceAll(" ", "");

test("a broadcast config query has both wildcards and 32 bytes", () => {
  const frame = configRequest({ ...route, destination: MAC_BROADCAST, address: EVERY_TARGET }, 0);
  expect(hex(frame)).toBe(bytes("ffffffffffff 020000000002 88a2 10 00 ffff ff 01 00000000 0000 0000 00 10 0000"));
});

test("a config request carries its sub-command and string", () => {
  const frame = configRequest(route, 3, new TextEncoder().encode("ab"));
  expect(hex(frame)).toBe(bytes(`${HEADER} 01 00000000 0000 0000 00 13 0002 6162`));
});

test("a read has the LBA48 flag and the sector's lowest byte first", () => {
  const frame = ataRequest(route, { command: 0x24, sector: 0x0605_0403_0201, count: 17 });
  expect(hex(frame)).toBe(bytes(`${HEADER} 00 00000000 40 00 11 24 010203040506 0000`));
});

test("a write has the write flag and its data behind the header", () => {
  const data = new Uint8Array(512).fill(0xab);
  const frame = ataRequest(route, { command: 0x34, sector: 1, count: 1, data });
  expect(hex(frame.subarray(0, 36))).toBe(bytes(`${HEADER} 00 00000000 41 00 01 34 010000000000 0000`));
  expect(frame.subarray(36)).toEqual(data);
});

test("a request without LBA48 has LBA mode in the device register", () => {
  const frame = ataRequest(route, { command: 0x20, sector: 0x0fff_fffe, count: 1, flags: 0 });
  expect(hex(frame.subarray(24))).toBe(bytes("00 00 01 20 feffffef0000 0000"));
});

test("a mask edit lists its directives", () => {
  const frame = maskRequest(route, 1, [
    { directive: 1, mac: 0x0a0b_0c0d_0e0f },
    { directive: 2, mac: 1 },
  ]);
  expect(hex(frame)).toBe(bytes(`${HEADER} 02 00000000 00 01 00 02 0001 0a0b0c0d0e0f 0002 000000000001`));
});

test("a reservation lists its MACs", () => {
  expect(hex(reserveRequest(route, 1, [0x0a0b_0c0d_0e0f]))).toBe(bytes(`${HEADER} 03 00000000 01 01 0a0b0c0d0e0f`));
});

test("a tag of 32 bits is big-endian", () => {
  const frame = configRequest(route, 0);
  setTag(frame, 0xfedc_ba98);
  expect(hex(frame.subarray(20, 24))).toBe("fedcba98");
});
