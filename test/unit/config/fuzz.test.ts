import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse as parseToml, TomlError, type TomlTable } from "smol-toml";
import { ConfigError, type Problem } from "../../../src/config/config-error.ts";
import { findKeyLines, type Path } from "../../../src/config/key-lines.ts";
import { parseConfig } from "../../../src/config/parse.ts";

const ROUNDS = process.env["VOE_TEST_FULL"] === "1" ? 3000 : 1200;
const seed = Number(process.env["VOE_TEST_SEED"] ?? Math.floor(Math.random() * 2 ** 32));

/** Numbers from 0 to below 1 that a seed determines (mulberry32). */
const randomFrom = (start: number): (() => number) => {
  let state = start >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
};
const random = randomFrom(seed);
const below = (limit: number): number => Math.floor(random() * limit);
const pick = <T>(list: readonly T[]): T => list[below(list.length)] as T;

const example = readFileSync(join(import.meta.dir, "../../../config.example.toml"), "utf8");
const exampleLines = example.replace(/^#(?=[^\s#])/gm, "").split("\n");

/** Between bars, since half of them have quotes in them. */
const VALUES = `0 | -1 | 1.5 | nan | inf | 1e400 | 0xff | 99999999999999999999 | true | 1979-05-27 | 07:32:00 | oops
  | "" | "\\u0000" | "always" | "8GiB" | "1s" | "[x]" | '#' | """a\\\n  b""" | '''x\n y = 1\n''' | [] | {}
  | [1, 'a', [2]] | [{ a = 1 },\n# ]\n { b = 2 }] | { a.b = 1, 'c d' = [2] } | { size = '8GiB' }`.split(/\s+\|\s+/);
const HEADERS = [
  "[target]",
  "[[target]]",
  "[server]",
  "[target.cas]",
  "[ target . 'cas' . blob_store ]",
  "[[x.y]]",
  "[x]",
];
const KEYS = ["shelf", "path", '"size"', "target.cas.size", "a.b.c", "__proto__", "constructor", "'x = y'", '"]"'];
const CHARACTERS = [
  "\0",
  "\r",
  "\n",
  '"',
  "'",
  "[",
  "]",
  "{",
  "}",
  "=",
  ".",
  ",",
  "#",
  "\\",
  "\u{1f600}",
  "\ud800",
  " ",
];

/** Changes one line so that the text may still be TOML. */
const mutateLine = (line: string): string => {
  const equals = line.indexOf("=");
  switch (below(8)) {
    case 0:
      return "";
    case 1:
      return equals < 0 ? line : `${line.slice(0, equals)}= ${pick(VALUES)}`;
    case 2:
      return equals < 0 ? line : `${pick(KEYS)} ${line.slice(equals)}`;
    case 3:
      return `${line}\n${pick(KEYS)} = ${pick(VALUES)}`;
    case 4:
      return pick(HEADERS);
    case 5:
      return `${line}\n${pick(exampleLines)}`;
    case 6:
      return `# ${line} ${pick(VALUES).replaceAll("\n", " ")}`;
    default: {
      const at = below(line.length + 1);
      return line.slice(0, at) + pick(CHARACTERS) + line.slice(at + below(3));
    }
  }
};

const mutate = (): string => {
  const lines = [...exampleLines];
  for (let count = 1 + below(6); count > 0; count--) {
    const at = below(lines.length);
    lines[at] = mutateLine(lines[at] ?? "");
  }
  return lines.slice(0, random() < 0.1 ? below(lines.length) : undefined).join(pick(["\n", "\n", "\r\n"]));
};

/** Every path to a value under a key. */
function* keyPaths(value: unknown, path: Path = []): Generator<Path> {
  if (typeof value !== "object" || value === null) return;
  for (const key of Object.getOwnPropertyNames(value)) {
    if (Array.isArray(value)) {
      if (key !== "length") yield* keyPaths(value[Number(key)], [...path, Number(key)]);
    } else {
      yield [...path, key];
      yield* keyPaths((value as Record<string, unknown>)[key], [...path, key]);
    }
  }
}

const tomlOf = (text: string): TomlTable | undefined => {
  try {
    return parseToml(text, { integersAsBigInt: true, maxDepth: 32 });
  } catch (error) {
    if (error instanceof TomlError) return undefined;
    throw error;
  }
};

const problemsOf = (text: string, where: string): readonly Problem[] => {
  try {
    parseConfig(text, "fuzz.toml");
    return [];
  } catch (error) {
    if (error instanceof ConfigError && error.problems.length > 0) return error.problems;
    throw new Error(`no ConfigError with a problem: ${String(error)}; ${where}`, { cause: error });
  }
};

test(`changed configurations are read or refused, never anything else (VOE_TEST_SEED=${seed})`, () => {
  console.log(`config fuzz: VOE_TEST_SEED=${seed}`);
  let validCount = 0;
  let keyCount = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const text = mutate();
    const where = `VOE_TEST_SEED=${seed}, round ${round}, text:\n${text}`;
    const lines = text.split("\n");
    for (const { line, reason } of problemsOf(text, where)) {
      if (line < 1 || line > lines.length || reason === "") throw new Error(`line ${line}: ${reason}; ${where}`);
    }
    const toml = tomlOf(text);
    if (toml === undefined) continue;
    validCount++;
    const lineOf = findKeyLines(text);
    for (const path of keyPaths(toml)) {
      keyCount++;
      const line = lines[lineOf(path) - 1] ?? "";
      // No key that is used here is written with an escape, so it stands as it is in its line.
      if (!line.includes(String(path.at(-1)))) throw new Error(`${path.join(".")} is not in "${line}"; ${where}`);
    }
  }
  // The run is about something only while many changed texts are still TOML.
  expect(validCount).toBeGreaterThan(ROUNDS / 20);
  expect(keyCount).toBeGreaterThan(validCount * 20);
});
