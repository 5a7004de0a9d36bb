import { expect, test } from "bun:test";
import { transferProgress } from "../../../src/commands/transfer-progress.ts";

const MIB = 2 ** 20;

function open(columns: number | undefined, totalBytes: number | undefined) {
  let [text, now] = ["", 0];
  const progress = transferProgress({ write: (part) => (text += part), columns }, "import", totalBytes, () => now);
  return {
    progress,
    at: (ms: number, doneBytes: number): string => {
      [text, now] = ["", ms];
      progress.update(doneBytes);
      return text;
    },
    ended: (): string => {
      text = "";
      progress.end();
      return text;
    },
  };
}

test("a terminal gets a bar with bytes, rate and what is left, drawn over the one before", () => {
  const { at, ended } = open(120, 100 * MIB);
  expect(at(1000, 25 * MIB)).toBe("\r[######------------------] 25 %, 25 MiB of 100 MiB, 25 MiB/s, 3 s left\u001b[K");
  expect(at(1050, 30 * MIB)).toBe("");
  expect(at(2000, 100 * MIB)).toContain("[########################] 100 %");
  expect(ended()).toBe("\r\u001b[K");
});

test("a bar is never wider than the terminal", () => {
  const { at } = open(30, 100 * MIB);
  expect(Bun.stripANSI(at(1000, 25 * MIB)).trim().length).toBeLessThan(30);
});

test("elsewhere a plain line comes every ten seconds", () => {
  const { at, ended } = open(undefined, 100 * MIB);
  expect(at(9000, 9 * MIB)).toBe("");
  expect(at(10_000, 10 * MIB)).toBe("import: 10 %, 10 MiB of 100 MiB, 1 MiB/s, 1 min 30 s left\n");
  expect(at(11_000, 11 * MIB)).toBe("");
  expect(ended()).toBe("");
});

test("the rate is that of the last seconds", () => {
  const { at } = open(120, 1000 * MIB);
  for (let second = 1; second <= 10; second++) at(second * 1000, second * 10 * MIB);
  for (let second = 11; second <= 20; second++) at(second * 1000, (100 + (second - 10)) * MIB);
  expect(at(21_000, 111 * MIB)).toContain(", 1 MiB/s,");
});

test("where the size is not known there is no bar", () => {
  expect(open(120, undefined).at(1000, 25 * MIB)).toBe("\r25 MiB, 25 MiB/s\u001b[K");
});
