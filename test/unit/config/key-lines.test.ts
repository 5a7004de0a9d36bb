import { expect, test } from "bun:test";
import { findKeyLines } from "../../../src/config/key-lines.ts";

const lineOf = (text: string, ...path: (string | number)[]): number => findKeyLines(text)(path);

test("every [[table]] has its own lines", () => {
  const text = "[[target]]\nshelf = 1\n\n[[target]]\n# a comment\nshelf = 2\n[target.cas]\nsize = 1\n[[target]]\n";
  expect(lineOf(text, "target", 0)).toBe(1);
  expect(lineOf(text, "target", 0, "shelf")).toBe(2);
  expect(lineOf(text, "target", 1)).toBe(4);
  expect(lineOf(text, "target", 1, "shelf")).toBe(6);
  expect(lineOf(text, "target", 1, "cas")).toBe(7);
  expect(lineOf(text, "target", 1, "cas", "size")).toBe(8);
  expect(lineOf(text, "target", 2)).toBe(9);
});

test("dotted keys and dotted headers lead to the same places", () => {
  const text = "a.b.c = 1\n  a . b . d = 2\n[x.y]\nz.w = 1\n";
  expect(lineOf(text, "a", "b", "c")).toBe(1);
  expect(lineOf(text, "a", "b", "d")).toBe(2);
  expect(lineOf(text, "x", "y", "z", "w")).toBe(4);
});

test("quoted keys are found by the name they stand for", () => {
  const text = `"a.b" = 1\n'c = "d' = 2\n"e\\u0066#]" = 3\n["g]".'h']\ni = 4\n`;
  expect(lineOf(text, "a.b")).toBe(1);
  expect(lineOf(text, 'c = "d')).toBe(2);
  expect(lineOf(text, "ef#]")).toBe(3);
  expect(lineOf(text, "g]", "h", "i")).toBe(5);
});

test("keys of inline tables and elements of lists are found on their lines", () => {
  const text = `t = [ # [
  { a = 1, b = "}" },
  { a.x = [1, # ]
    2,
    3] },
]
u = 1`;
  expect(lineOf(text, "t", 0, "b")).toBe(2);
  expect(lineOf(text, "t", 1, "a", "x")).toBe(3);
  expect(lineOf(text, "t", 1, "a", "x", 1)).toBe(4);
  expect(lineOf(text, "t", 1, "a", "x", 2)).toBe(5);
  expect(lineOf(text, "u")).toBe(7);
});

test("text that looks like keys within strings and comments is no key", () => {
  const text = `a = """
b = 1
\\""" [c]
"""""
d = '''
'e' = 1 '''''
# f = 1
g = "\\"h = 1" # i = 1
j = 1`;
  expect(lineOf(text, "d")).toBe(5);
  expect(lineOf(text, "g")).toBe(8);
  expect(lineOf(text, "j")).toBe(9);
  for (const name of ["b", "c", "e", "f", "h", "i"]) expect(lineOf(text, name)).toBe(1);
});

test("a table's header is its line, also where a table within it came first", () => {
  expect(lineOf("[a.b]\nc = 1\n[a]\nd = 1\n", "a")).toBe(3);
});

test("what is not there has the line of what is around it", () => {
  const text = "\n[a]\nb = { c = 1 }\n";
  expect(lineOf(text, "a", "nothing")).toBe(2);
  expect(lineOf(text, "a", "b", "c", "d")).toBe(3);
  expect(lineOf(text, "nothing")).toBe(1);
  expect(lineOf("", "nothing")).toBe(1);
});

test("carriage returns and a byte order mark do not move lines", () => {
  expect(lineOf("\ufeff[a]\r\nb = 1\r\nc = [\r\n2]\r\n", "a", "c", 0)).toBe(4);
});
