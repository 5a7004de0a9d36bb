import { expect, test } from "bun:test";
import { formatBytes, formatCount, formatDuration } from "../../../src/base/human.ts";

test("bytes have a binary unit and at most three digits that matter", () => {
  const cases: [number, string][] = [
    [0, "0 B"],
    [512, "512 B"],
    [999, "999 B"],
    [1000, "0.98 KiB"],
    [1536, "1.5 KiB"],
    [8 * 2 ** 30, "8 GiB"],
    [12.34 * 2 ** 20, "12.3 MiB"],
    [931.3 * 2 ** 30, "931 GiB"],
    [2 ** 50, "1 PiB"],
    [-5, "0 B"],
  ];
  for (const [bytes, text] of cases) expect([bytes, formatBytes(bytes)]).toEqual([bytes, text]);
});

test("counts are exact up to four digits and shortened from there", () => {
  const cases: [number, string][] = [
    [0, "0"],
    [17, "17"],
    [9876, "9,876"],
    [9999.6, "10 k"],
    [12_345, "12.3 k"],
    [4_560_000, "4.56 M"],
    [7e9, "7 G"],
  ];
  for (const [count, text] of cases) expect([count, formatCount(count)]).toEqual([count, text]);
});

test("durations have their two largest units", () => {
  const cases: [number, string][] = [
    [-1, "0 s"],
    [4.9, "4 s"],
    [200, "3 min 20 s"],
    [18_120, "5 h 2 min"],
    [3 * 3600, "3 h"],
    [12 * 86_400 + 3 * 3600 + 59, "12 d 3 h"],
  ];
  for (const [seconds, text] of cases) expect([seconds, formatDuration(seconds)]).toEqual([seconds, text]);
});
