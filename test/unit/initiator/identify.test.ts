import { expect, test } from "bun:test";
import { parseIdentify } from "../../../src/initiator/identify.ts";
import { identifyDevice } from "../../../src/protocol/aoe/identify.ts";

const info = { readOnly: false, model: "voe archive", serial: "e1.0-0123456789", firmware: "0.1.0" };

for (const sectorCount of [8, 0x0fff_ffff, 0x1_2345_6789, 2 ** 48 - 1]) {
  test(`a disk of ${sectorCount} sectors is identified as it identifies itself`, () => {
    expect(parseIdentify(identifyDevice({ ...info, sectorCount }))).toEqual({
      sectorCount,
      model: info.model,
      serial: info.serial,
      firmware: info.firmware,
      lba48: true,
    });
  });
}

test("without LBA48 the size is that of words 60 and 61", () => {
  const words = new Uint16Array(256);
  words[60] = 0x5678;
  words[61] = 0x0234;
  words[100] = 1;
  expect(parseIdentify(new Uint8Array(words.buffer))).toMatchObject({ sectorCount: 0x0234_5678, lba48: false });
});

test("an answer that is too short is none", () => {
  expect(parseIdentify(new Uint8Array(511))).toBeUndefined();
});
