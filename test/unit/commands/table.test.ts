import { expect, test } from "bun:test";
import { formatTable } from "../../../src/commands/table.ts";

test("columns are aligned, those of numbers to the right, and no line ends in spaces", () => {
  const rows = [
    ["NAME", "SIZE", "NOTE"],
    ["a", "1000", ""],
    ["longer", "1", "x"],
  ];
  expect(formatTable(rows, new Set([1]))).toBe("NAME    SIZE  NOTE\na       1000\nlonger     1  x");
});

test("control characters from the wire do not reach the terminal", () => {
  expect(formatTable([["a\u001b[2J\nb", "c"]])).toBe("a\\x1b[2J\\x0ab  c");
});
