import { expect, test } from "bun:test";
import { inspect } from "node:util";
import { holdsSecret, Secret } from "../../../src/config/secret.ts";

test("a secret shows itself only when it is revealed", () => {
  // In two pieces: an inspected error shows the lines of its source.
  const value = ["hunter", "2"].join("");
  const secret = Object.freeze(new Secret(value));
  const holder = { secret, list: [secret] };
  const error = new Error(`with ${String(secret)}`, { cause: holder });
  const shown = [
    String(secret),
    ["with", secret].join(" "),
    JSON.stringify(holder),
    inspect(holder, { showHidden: true, depth: 9 }),
    Bun.inspect(holder),
    Bun.inspect(error),
    JSON.stringify({ ...secret }),
    JSON.stringify(structuredClone({ secret })),
  ];
  for (const text of shown) expect(text).not.toContain(value);
  expect(JSON.stringify(holder)).toBe('{"secret":"[secret]","list":["[secret]"]}');
  expect(Bun.inspect(secret)).toBe("[secret]");
  expect(secret.reveal()).toBe(value);
});

test("a secret is found wherever it is in a value", () => {
  expect(holdsSecret({ a: [{ b: new Secret("x") }] })).toBe(true);
  expect(holdsSecret({ a: [{ b: "x" }], c: null, d: undefined, e: 1 })).toBe(false);
});
