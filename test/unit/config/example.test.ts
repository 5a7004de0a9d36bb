import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse as parseToml } from "smol-toml";
import { ConfigError } from "../../../src/config/config-error.ts";
import { KNOWN_KEYS, parseConfig } from "../../../src/config/parse.ts";

const example = readFileSync(join(import.meta.dir, "../../../config.example.toml"), "utf8");
/** With every line in effect that is a key or a table behind a "#". Prose has a space after its "#". */
const everything = example.replace(/^#(?=[^\s#])/gm, "");

/** Names of all keys of a document, by the dotted name of their table. */
const keysIn = (value: unknown, table = "", found = new Map<string, Set<string>>()): Map<string, Set<string>> => {
  if (Array.isArray(value)) for (const element of value) keysIn(element, table, found);
  else if (typeof value === "object" && value !== null) {
    for (const [key, inner] of Object.entries(value)) {
      found.set(table, (found.get(table) ?? new Set()).add(key));
      keysIn(inner, table === "" ? key : `${table}.${key}`, found);
    }
  }
  return found;
};

test("the example is a good configuration as it is", () => {
  const config = parseConfig(example, "config.example.toml");
  expect(config.targets).toHaveLength(1);
  expect(config.targets[0]).toMatchObject({ shelf: 1, slot: 0, backend: { kind: "cas", sizeBytes: 8 * 2 ** 30 } });
});

test("every known key is in the example, and every key of the example is known", () => {
  const shown = keysIn(parseToml(everything));
  expect([...shown.keys()].sort()).toEqual([...KNOWN_KEYS.keys()].sort());
  for (const [table, keys] of KNOWN_KEYS)
    expect([table, [...(shown.get(table) ?? [])].sort()]).toEqual([table, [...keys].sort()]);
});

test("with all its lines in effect the example has only the pairs in it that exclude each other", () => {
  let problems: string[] = [];
  try {
    parseConfig(everything, "config.example.toml");
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    problems = error.problems.map(({ key, reason }) => `${key}: ${reason}`);
  }
  expect(problems).toEqual([
    "server.interface: is there beside interfaces; keep one of the two",
    "target.cas.blob_store.credentials_file: is there beside access_key_id; keep one of the two",
    "target.cas.blob_store.sas: is there beside account_key; keep one of the two",
    "target.cas.blob_store.credentials_file: is there beside account_key; keep one of the two",
    "target.cas.blob_store.address: is there beside endpoint; keep one of the two",
    "target.cas.blob_store.token_file: is there beside token; keep one of the two",
  ]);
});

test("every kind of target in the example is good once one of each such pair is gone", () => {
  const config = parseConfig(
    everything.replace(/^(interface|credentials_file|profile|sas|address|token_file) =.*$/gm, ""),
    "config.example.toml",
  );
  const kinds = config.targets.map(({ backend }) => (backend.kind === "cas" ? backend.blobStore.type : backend.kind));
  // The first two "file" are archives in a local directory, the others are files that are served as they are.
  expect(kinds).toEqual(["file", "file", "file", "file", "device", "device", "s3", "b2", "azure", "cas"]);
});
