import { afterAll, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConfigError } from "../../../src/config/config-error.ts";
import { loadConfig } from "../../../src/config/parse.ts";

const directory = mkdtempSync(join(tmpdir(), "voe-config-"));
afterAll(() => rmSync(directory, { recursive: true }));

const write = (name: string, content: string | Uint8Array): string => {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
};

const GOOD = '[[target]]\nshelf = 1\nslot = 0\nbackend = "file"\npath = "/a"\n';

test("a file is read, with or without a byte order mark", () => {
  for (const text of [GOOD, `\ufeff${GOOD}`, GOOD.replaceAll("\n", "\r\n")]) {
    expect(loadConfig(write("good.toml", text)).targets[0]?.shelf).toBe(1);
  }
});

test("a problem within the file names the file as it was given", () => {
  const path = write("bad.toml", GOOD.replace("1", "-1"));
  expect(() => loadConfig(path)).toThrow(`${path}:2: target.shelf: -1 is out of range`);
});

test("a file that cannot be read is a configuration error without a line", () => {
  const missing = join(directory, "missing.toml");
  const latin1 = write("latin1.toml", new Uint8Array([0x23, 0xe9, 0x0a]));
  for (const [path, reason] of [
    [missing, "does not exist; check the path, or start from config.example.toml"],
    [directory, "is a directory; name the file in it"],
    [latin1, "is not UTF-8 text; save it as UTF-8"],
    [join(latin1, "x"), `cannot be read (ENOTDIR: not a directory, open '${latin1}/x'); check the path`],
  ] as const) {
    let caught: unknown;
    try {
      loadConfig(path);
    } catch (error) {
      caught = error;
    }
    expect(caught).toBeInstanceOf(ConfigError);
    expect((caught as ConfigError).problems).toEqual([{ file: path, line: 0, key: "", reason }]);
    expect((caught as ConfigError).message).toBe(`${path}: ${reason}`);
  }
});

test.skipIf(process.getuid?.() === 0)("a file of somebody else says so (root may read every file)", () => {
  const path = write("theirs.toml", GOOD);
  chmodSync(path, 0);
  expect(() => loadConfig(path)).toThrow("may not be read by this user; change its owner or mode");
});
