import { expect, test } from "bun:test";
import { identifyDevice } from "../../../../src/protocol/aoe/identify.ts";
import { parseIdentify } from "../../../../src/initiator/identify.ts";

const info = { sectorCount: 2048, readOnly: false, model: "voe file", serial: "e1.0-abc", firmware: "0.1" };
const wordsOf = (sectorCount: number) => {
  const bytes = identifyDevice({ ...info, sectorCount });
  const view = new DataView(bytes.buffer);
  return { bytes, word: (index: number) => view.getUint16(index * 2, true) };
};

test("words that other AoE targets fill have their values", () => {
  const { bytes, word } = wordsOf(2048);
  expect(bytes.length).toBe(512);
  const expected = { 0: 0x0040, 47: 0x8000, 49: 0x0200, 50: 0x4000, 83: 0x7400, 84: 0x4000, 86: 0x7400, 87: 0x4000 };
  for (const [index, value] of Object.entries({ ...expected, 93: 0x400b, 106: 0x6003 })) {
    expect([index, word(Number(index))]).toEqual([index, value]);
  }
});

test("text is space-padded with the characters of each word swapped", () => {
  const { bytes } = wordsOf(2048);
  expect(Buffer.from(bytes.subarray(54, 94)).toString("latin1")).toBe("ov eifel".padEnd(40, " "));
  expect(Buffer.from(bytes.subarray(20, 40)).toString("latin1")).toBe("1e0.a-cb".padEnd(20, " "));
  expect(Buffer.from(bytes.subarray(46, 54)).toString("latin1")).toBe(".0 1    ");
});

test("text that is too long is cut, and what is no ASCII becomes a space", () => {
  const bytes = identifyDevice({
    ...info,
    model: `é${"x".repeat(60)}`,
    serial: "\n".repeat(30),
    firmware: "123456789",
  });
  const identity = parseIdentify(bytes)!;
  expect([identity.model, identity.serial, identity.firmware]).toEqual([` ${"x".repeat(39)}`, "", "12345678"]);
  expect([bytes[46], bytes[94]]).toEqual([0x32, 0]); // "2", swapped; the word after the model
});

for (const [sectorCount, lba28] of [
  [1, 1],
  [2048, 2048],
  [0x0ffffffe, 0x0ffffffe],
  [0x0fffffff, 0x0fffffff],
  [0x10000000, 0x0fffffff],
  [2 ** 32 + 5, 0x0fffffff],
  [2 ** 48 - 1, 0x0fffffff],
] as const) {
  test(`a disk of ${sectorCount} sectors says so in words 100-103, and ${lba28} in words 60-61`, () => {
    const { bytes, word } = wordsOf(sectorCount);
    expect(word(60) + word(61) * 65536).toBe(lba28);
    expect(word(100) + word(101) * 2 ** 16 + word(102) * 2 ** 32).toBe(sectorCount);
    expect(word(103)).toBe(0);
    expect(parseIdentify(bytes)!.sectorCount).toBe(sectorCount);
  });
}

test("cylinders of 255 heads and 63 sectors never go beyond the disk", () => {
  for (const sectorCount of [1, 16065, 16066, 65535 * 16065, 2 ** 40]) {
    const { word } = wordsOf(sectorCount);
    expect([word(55), word(56)]).toEqual([255, 63]);
    expect(word(57) + word(58) * 65536).toBe(word(54) * 255 * 63);
    expect(word(54) * 255 * 63).toBeLessThanOrEqual(sectorCount);
  }
});
