import { afterAll, afterEach, beforeEach, expect, type Mock, spyOn, test } from "bun:test";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runCommand } from "citty";
import { check } from "../../../src/commands/check.ts";

const directory = mkdtempSync(join(tmpdir(), "voe-check-"));
const path = join(directory, "voe.toml");
afterAll(() => rmSync(directory, { recursive: true }));

let output: Mock<typeof console.log>;
let errors: Mock<typeof console.error>;
beforeEach(() => {
  output = spyOn(console, "log").mockImplementation(() => {});
  errors = spyOn(console, "error").mockImplementation(() => {});
  process.exitCode = 0;
});
afterEach(() => {
  output.mockRestore();
  errors.mockRestore();
  // What the command has set would be that of the test run.
  process.exitCode = 0;
});

const printed = (mock: { mock: { calls: unknown[][] } }): string => mock.mock.calls.flat().join("\n");

const run = async (text: string, ...more: string[]): Promise<{ code: unknown; stdout: string; stderr: string }> => {
  writeFileSync(path, text, { mode: 0o600 });
  await runCommand(check, { rawArgs: [path, ...more] });
  return { code: process.exitCode, stdout: printed(output), stderr: printed(errors) };
};

const GOOD = `
[server]
interfaces = ["eth0", "eth1"]
http = "[::1]:9464"
[nbd]
bind = "10.0.0.1:10809"
allow = ["10.0.0.0/8", "fd00::/8"]
[[target]]
shelf = 1
slot = 0
backend = "cas"
[target.cas]
size = "8GiB"
[target.cas.blob_store]
type = "s3"
bucket = "b"
prefix = "p/"
access_key_id = "id"
secret_access_key = "hunter2"
[[target]]
shelf = 2
slot = 0
backend = "file"
path = "/a"
size = "1.5GiB"
sync = "250ms"
[[target]]
shelf = 3
slot = 0
backend = "device"
path = "/dev/sdb"
read_only = true
`;

test("a good file is summed up on stdout", async () => {
  expect(await run(GOOD)).toEqual({
    code: 0,
    stdout: `${path} is good
  AoE: eth0, eth1
  NBD: 10.0.0.1:10809, from 10.0.0.0/8, fd00::/8, TLS off
  HTTP: [::1]:9464
  e1.0: archive, 8 GiB in s3 b/p/ (cache 8 GiB in /var/lib/voe/cache, 4 uploads at once), sync always
  e2.0: file /a, 1.5 GiB, sync 250ms
  e3.0: device /dev/sdb, read-only`,
    stderr: "",
  });
});

test("an archive shows its schedule, and its volume where that goes by another name than the address", async () => {
  const cas = '[target.cas]\nvolume = "photos"\nsnapshot_every = "90m"';
  expect((await run(GOOD.replace("[target.cas]", cas))).stdout).toMatch(
    /e1\.0: archive, volume photos, 8 GiB in s3 b\/p\/ \(.*\), a snapshot every 90m, sync always\n/,
  );
});

test("a store far away shows what it may use of this host and of the network", async () => {
  const limits =
    'type = "s3"\ncache_path = "/c"\ncache_size = "1GiB"\ntransfers = 8\nupload_limit = "10MiB"\ndownload_limit = "50MiB"';
  expect((await run(GOOD.replace('type = "s3"', limits))).stdout).toContain(
    "(cache 1 GiB in /c, 8 uploads at once, uploads at most 10 MiB/s, downloads at most 50 MiB/s)",
  );
});

test("a file with secrets in it that everybody can read is warned about, and good all the same", async () => {
  await run(GOOD);
  try {
    chmodSync(path, 0o644);
    const { code, stderr } = await run(GOOD);
    expect(code).toBe(0);
    expect(stderr).toBe(`warning: ${path} holds secrets and every user of this host can read it: chmod o-rwx ${path}`);
    errors.mockClear();
    expect((await run(GOOD.replace(/^.*access_key.*$/gm, ""))).stderr).toBe("");
  } finally {
    chmodSync(path, 0o600);
  }
});

test("what is off is shown as off", async () => {
  const { stdout } = await run(GOOD.slice(GOOD.indexOf("[[target]]")));
  expect(stdout).toContain("AoE: off\n  NBD: off\n  HTTP: off\n");
});

test("--json prints the configuration as one document, without its secrets", async () => {
  const { code, stdout, stderr } = await run(GOOD, "--json");
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout).not.toContain("hunter2");
  expect(JSON.parse(stdout)).toMatchObject({
    ok: true,
    file: path,
    config: {
      nbd: { bind: { host: "10.0.0.1", port: 10809 } },
      targets: [{ backend: { blobStore: { credentials: { secretAccessKey: "[secret]" } } } }, {}, {}],
    },
  });
});

const BAD = '[[target]]\nshelf = 70000\nslto = 1\nslot = 1\nbackend = "file"\npath = "/a"\n';

test("a wrong file ends with status 2 and every problem on stderr", async () => {
  const { code, stdout, stderr } = await run(BAD);
  expect([code, stdout]).toEqual([2, ""]);
  expect(stderr.split("\n")).toEqual([
    `${path}:2: target.shelf: 70000 is out of range; write an integer from 0 to 65534 (65535 is every shelf)`,
    `${path}:3: target.slto: unknown key; the nearest known key is "slot"; correct or remove it`,
  ]);
});

test("--json gives the problems of a wrong file as one document on stdout", async () => {
  const { code, stdout, stderr } = await run(BAD, "--json");
  expect([code, stderr]).toEqual([2, ""]);
  expect(JSON.parse(stdout)).toMatchObject({
    ok: false,
    file: path,
    problems: [
      { file: path, line: 2, key: "target.shelf" },
      { file: path, line: 3, key: "target.slto" },
    ],
  });
});

test("a missing file ends with status 2", async () => {
  await runCommand(check, { rawArgs: [join(directory, "missing.toml")] });
  expect(process.exitCode).toBe(2);
  expect(errors.mock.calls.flat().join("")).toContain("missing.toml: does not exist; check the path");
});

test("a second file is refused rather than passed over", async () => {
  const { code, stdout, stderr } = await run(GOOD, "other.toml");
  expect([code, stdout]).toEqual([2, ""]);
  expect(stderr).toContain("takes one CONFIG and was given 2");
});
