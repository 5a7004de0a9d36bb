import { expect, test } from "bun:test";
import { printable } from "../../../src/base/printable.ts";

test("what drives a terminal, ends a line or turns text around is shown by its number", () => {
  expect(printable("a\u001b[2Jb")).toBe(String.raw`a\x1b[2Jb`);
  expect(printable("one\r\ntwo\u0085\u2028three")).toBe(String.raw`one\x0d\x0atwo\x85\u{2028}three`);
  expect(printable("abc\u202Ecba")).toBe(String.raw`abc\u{202e}cba`);
});

test("text in any script passes as it is", () => {
  expect(printable("Grüße, 磁盘 💾 — €")).toBe("Grüße, 磁盘 💾 — €");
});
