/** Rules about the code itself: who may import whom, and what files look like. */
import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";

const repository = join(import.meta.dir, "../..");
const FILE_MOST_LINES = 450;

const filesIn = (...folders: string[]): string[] =>
  folders
    .flatMap((folder) => [...new Bun.Glob(`${folder}/**/*`).scanSync({ cwd: repository, dot: true })])
    .filter((path) => !path.includes("node_modules"))
    .toSorted();
const read = (path: string): string => readFileSync(join(repository, path), "utf8");

const scripts = filesIn("src", "ffi", "test", "bench", "scripts").filter((path) => path.endsWith(".ts"));
const transpiler = new Bun.Transpiler({ loader: "ts" });

/**
 * Everything a file imports, as paths of the repository (`src/base/size.ts`) or as names of modules: types too, which
 * the transpiler drops, and imports in the middle of the code.
 */
function importsOf(path: string): string[] {
  const text = read(path);
  const found = new Set(transpiler.scanImports(text).map((found) => found.path));
  for (const [, name] of text.matchAll(/^\s*(?:import|export)\b[^;"'`]*?\bfrom\s+"([^"]+)"/gm)) found.add(name!);
  for (const [, name] of text.matchAll(/^\s*import\s+"([^"]+)"/gm)) found.add(name!);
  for (const [, name] of text.matchAll(/\bimport\(\s*"([^"]+)"\s*\)/g)) found.add(name!);
  return [...found].map((name) => (name.startsWith(".") ? normalize(join(dirname(path), name)) : name));
}
const imports = scripts.flatMap((from) => importsOf(from).map((to) => ({ from, to })));

/** Imports from a folder to anything of the repository, or to the modules named, that `allowed` does not cover. */
function violations(folder: string, allowed: readonly string[]): string[] {
  return imports
    .filter(({ from }) => from.startsWith(folder))
    .filter(({ to }) => /^(src|ffi|test|bench|scripts)\//.test(to) || to === "bun:ffi")
    .filter(({ to }) => !allowed.some((prefix) => to.startsWith(prefix)))
    .map(({ from, to }) => `${from} imports ${to}`);
}

/** What the folders of src may import besides node's and npm's modules. */
const directions: Record<string, readonly string[]> = {
  // Compression is base for every part, and its library is C.
  "src/base/": ["src/base/", "ffi/lz4.ts"],
  "src/protocol/": ["src/base/", "src/protocol/", "src/storage/block-storage.ts", "src/storage/byte-storage.ts"],
  "src/storage/": ["src/base/", "src/storage/", "src/blob/", "ffi/"],
  "src/storage/cas/": ["src/base/", "src/storage/", "src/blob/blob-store.ts", "ffi/"],
  "src/blob/": ["src/base/", "src/blob/", "ffi/"],
  "src/config/": ["src/base/", "src/config/"],
  "src/control/": ["src/base/", "src/control/", "src/protocol/image/", "ffi/"],
  "src/initiator/": ["src/base/", "src/initiator/", "src/protocol/", "src/storage/block-storage.ts", "ffi/"],
  "src/server/": [
    "src/base/",
    "src/config/",
    "src/control/status.ts",
    "src/control/snapshot-operations.ts",
    "src/protocol/",
    "src/server/",
    "src/storage/",
    "src/blob/",
    "ffi/",
  ],
  // Only the shape of memory, which it allocates.
  "ffi/": ["ffi/", "src/base/memory.ts", "bun:ffi"],
};

for (const [folder, allowed] of Object.entries(directions)) {
  test(`${folder} imports only ${allowed.join(", ")}`, () => expect(violations(folder, allowed)).toEqual([]));
}

test("every folder of src has its directions, or is one of those that join the others", () => {
  const folders = new Set(filesIn("src").map((path) => path.split("/").slice(0, 2).join("/")));
  const known = [...Object.keys(directions).map((folder) => folder.replace(/\/$/, "")), "src/commands", "src/main.ts"];
  expect([...folders].filter((folder) => !known.includes(folder))).toEqual([]);
});

test("only commands and main import commands", () => {
  const strangers = imports.filter(
    ({ from, to }) =>
      to.startsWith("src/commands/") && from.startsWith("src/") && !/^src\/(commands\/|main\.ts$)/.test(from),
  );
  expect(strangers).toEqual([]);
});

test("only ffi imports bun:ffi, tests and benchmarks included", () => {
  expect(imports.filter(({ from, to }) => to === "bun:ffi" && !from.startsWith("ffi/"))).toEqual([]);
});

test("the program imports no test, benchmark or script", () => {
  const strangers = imports.filter(({ from, to }) => /^(src|ffi)\//.test(from) && /^(test|bench|scripts)\//.test(to));
  expect(strangers).toEqual([]);
});

test("imports end in the name of the file", () => {
  const bare = imports.filter(({ to }) => /^(src|ffi|test|bench|scripts)\//.test(to) && !/\.[a-z]+$/.test(to));
  expect(bare).toEqual([]);
});

test("importsOf finds types, re-exports, side effects and imports in the middle of the code", () => {
  const found = importsOf("test/unit/architecture.test.ts");
  expect(found).toContain("bun:test");
  expect(importsOf("src/server/aoe/clients.ts")).toEqual(["src/protocol/aoe/mac.ts"]); // a type alone
});

const texts = filesIn("src", "ffi", "test", "bench", "scripts").filter((path) =>
  /\.(ts|js|css|html|sh|json|toml)$/.test(path),
);

test(`no file is longer than ${FILE_MOST_LINES} lines`, () => {
  const long = texts
    .map((path) => ({ path, lines: read(path).split("\n").length - 1 }))
    .filter(({ lines }) => lines > FILE_MOST_LINES);
  expect(long).toEqual([]);
});

test("nothing is put off: no marker of work left to do", () => {
  const marker = new RegExp(["TO", "DO|FIX", "ME"].join(""));
  expect(texts.filter((path) => marker.test(read(path)))).toEqual([]);
});

test("names of files and folders are in kebab-case", () => {
  const odd = filesIn("src", "ffi", "test", "bench", "scripts").filter(
    (path) => !path.split("/").every((part) => /^[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9]+)*$/.test(part)),
  );
  expect(odd).toEqual([]);
});

test("no file or folder is called utils, helpers, common, misc or manager", () => {
  const vague = /^(utils?|helpers?|common|misc|managers?)$/;
  const named = filesIn("src", "ffi", "test", "bench", "scripts").filter((path) =>
    path.split("/").some((part) => part.split(/[-.]/).some((word) => vague.test(word))),
  );
  expect(named).toEqual([]);
});

test("tests are in files that end in .test.ts, and nothing else is under test but what supports them", () => {
  const others = scripts.filter((path) => path.startsWith("test/") && !path.endsWith(".test.ts"));
  expect(others.filter((path) => importsOf(path).includes("bun:test") && !path.startsWith("test/contract/"))).toEqual(
    [],
  );
  expect(others.filter((path) => !/^test\/(support|contract|simulation)\//.test(path))).toEqual([]);
});

test("test/unit has the folders of src and ffi", () => {
  const folders = new Set(filesIn("test/unit").map((path) => dirname(path).replace(/^test\/unit\/?/, "")));
  const unknown = [...folders].filter(
    (folder) => folder !== "" && !existsSync(join(repository, folder)) && !existsSync(join(repository, "src", folder)),
  );
  expect(unknown).toEqual([]);
});
