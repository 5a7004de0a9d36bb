import { expect, test } from "bun:test";
import { formatSize, parseSize } from "../../../src/base/size.ts";

test.each([
  ["1KiB", 1024],
  ["64MiB", 64 * 2 ** 20],
  ["8GiB", 8 * 2 ** 30],
  ["8 GiB", 8 * 2 ** 30],
  ["8gib", 8 * 2 ** 30],
  ["1.5TiB", 1.5 * 2 ** 40],
  ["0.5KiB", 512],
])("%s is %d bytes", (text, bytes) => {
  expect(parseSize(text)).toBe(bytes);
});

test.each([
  ["8G", 'is not one of KiB, MiB, GiB, TiB; write for example "8GiB"'],
  ["100mb", 'write for example "100MiB"'],
  ["4096", "has no unit"],
  ["", "is not a size"],
  ["GiB", "is not a size"],
  ["-1GiB", "is not a size"],
  ["1e3GiB", "is not a size"],
  ["0.0001KiB", "not a whole number of bytes"],
  ["8192TiB", "is over 8191TiB"],
  ["99999999999999999999TiB", "is over 8191TiB"],
])("%s is refused as a size with what to write", (text, reason) => {
  expect(() => parseSize(text)).toThrow(reason);
  expect(() => parseSize(text)).toThrow(RangeError);
});

test("the largest size in whole TiB is accepted", () => {
  expect(parseSize("8191TiB")).toBe(8191 * 2 ** 40);
});

test.each([
  [0, "0 B"],
  [512, "512 B"],
  [1023, "1023 B"],
  [1024, "1 KiB"],
  [1536, "1.5 KiB"],
  [2 ** 20 - 1, "1 MiB"],
  [8 * 2 ** 30, "8 GiB"],
  [1_530_921, "1.46 MiB"],
  [5000 * 2 ** 40, "5000 TiB"],
])("%d bytes is shown as %s", (bytes, text) => {
  expect(formatSize(bytes)).toBe(text);
});
