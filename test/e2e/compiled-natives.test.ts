/** Native addons inside a compiled binary, where there is no node_modules. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

interface Said {
  hasher: { implementation: string; fallbackReason?: string };
  digest: string;
  compression: { implementation?: string };
  addon: { implementation?: string; error?: string };
}

let directory: string;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "voe-compiled-"));
  const probe = join(import.meta.dir, "../support/native-probe.ts");
  const build = Bun.spawnSync([process.execPath, "build", probe, "--compile", "--outfile", join(directory, "probe")]);
  if (!build.success) throw new Error(build.stderr.toString());
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function run(temporary: string): Said {
  const env = { PATH: process.env["PATH"], TMPDIR: temporary, BUN_TMPDIR: temporary };
  const probe = Bun.spawnSync([join(directory, "probe")], { cwd: directory, env });
  expect(probe.stderr.toString()).toBe("");
  return JSON.parse(probe.stdout.toString()) as Said;
}

const DIGEST_OF_ZEROS = /^[0-9a-f]{64}$/;

test("a compiled binary has the native BLAKE3 and the LZ4 addon in it", () => {
  const temporary = join(directory, "tmp");
  mkdirSync(temporary);
  const said = run(temporary);
  expect(said.hasher).toEqual({ algorithm: "blake3", implementation: "@napi-rs/blake-hash" } as Said["hasher"]);
  expect(said.addon.implementation).toBe("lz4-napi");
  expect(said.digest).toMatch(DIGEST_OF_ZEROS);
});

test("a binary that cannot unpack them says so, hashes all the same, and without liblz4 names what to install", () => {
  const temporary = join(directory, "tmp2");
  mkdirSync(temporary);
  const said = run(join(directory, "not-there"));
  expect(said.hasher.implementation).toBe("@noble/hashes");
  expect(said.hasher.fallbackReason).toContain("@napi-rs/blake-hash could not be loaded");
  expect(said.digest).toBe(run(temporary).digest);
  expect(said.addon.error).toContain("Install liblz4 (package liblz4-1 or lz4-libs), or set TMPDIR");
});
