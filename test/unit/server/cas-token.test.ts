import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseConfig } from "../../../src/config/parse.ts";
import type { CasBackendConfig } from "../../../src/config/config.ts";
import { openRemoteStore, type RemoteStoreConfig } from "../../../src/server/open-remote-store.ts";
import { CAS_TOKEN, startCasServer, type TestCasServer } from "../../support/cas-server.ts";
import { reasonOf } from "../../support/reason-of.ts";

let under: TestCasServer;
let directory: string;
const before = process.env["VOE_CAS_TOKEN"];
beforeAll(async () => {
  under = await startCasServer();
  directory = mkdtempSync(join(tmpdir(), "voe-cas-token-"));
});
afterAll(async () => {
  await under[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true, force: true });
  setEnvironment(before);
});

function setEnvironment(token: string | undefined): void {
  if (token === undefined) delete process.env["VOE_CAS_TOKEN"];
  else process.env["VOE_CAS_TOKEN"] = token;
}

/** Opens the store that a configuration with these lines names, and returns what was reported. */
async function open(lines: string): Promise<string[]> {
  const address = new URL(under.server.url).host;
  const { targets } = parseConfig(
    `[[target]]\nshelf = 1\nslot = 0\nbackend = "cas"\n[target.cas]\nsize = 512\n[target.cas.blob_store]\ntype = "cas"\n` +
      `address = "${address}"\n${lines}`,
    "voe.toml",
  );
  const reports: string[] = [];
  const config = (targets[0]!.backend as CasBackendConfig).blobStore as RemoteStoreConfig;
  const store = await openRemoteStore(config, { create: true, report: (_, message) => void reports.push(message) });
  await store.close();
  return reports;
}

test("the token comes from the configuration, a file or the environment, in this order", async () => {
  const path = join(directory, "token");
  writeFileSync(path, `${CAS_TOKEN}\n`, { mode: 0o600 });
  setEnvironment("a-token-of-somebody-else");
  expect(await open(`token = "${CAS_TOKEN}"`)).toEqual([]);
  expect(await open(`token_file = "${path}"`)).toEqual([]);
  expect(await reasonOf(open(""))).toContain("VOE_CAS_TOKEN");
  setEnvironment(CAS_TOKEN);
  expect(await open("")).toEqual([]);
});

test("a file that others may read is warned about, without what is in it, and one that is not there is named", async () => {
  const path = join(directory, "open");
  writeFileSync(path, CAS_TOKEN, { mode: 0o644 });
  const reports = await open(`token_file = "${path}"`);
  expect(reports).toEqual([expect.stringContaining(`chmod o-rwx ${path}`)]);
  expect(reports.join()).not.toContain(CAS_TOKEN);
  expect(await reasonOf(open('token_file = "/nowhere/token"'))).toContain("/nowhere/token is not there");
});
