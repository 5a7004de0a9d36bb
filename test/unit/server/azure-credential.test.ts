import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Secret } from "../../../src/config/secret.ts";
import { azureCredential } from "../../../src/server/azure-credential.ts";
import { reasonOf } from "../../support/reason-of.ts";

let directory: string;
let path: string;
let reports: string[];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "voe-credential-"));
  path = join(directory, "azure");
  reports = [];
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));
const report = (_: string, message: string): void => void reports.push(message);
const none = { accountKey: undefined, sas: undefined, credentialsFile: undefined } as const;
const KEY = Buffer.from("the key of an account").toString("base64");
const SAS = "sv=2021-12-02&sp=rcwdl&sig=a%2Fb%3D";
const problemWith = (...given: Parameters<typeof azureCredential>): Promise<string> =>
  reasonOf((async () => azureCredential(...given)())());

test("a credential of the configuration comes before the environment's", () => {
  const environment = { AZURE_STORAGE_KEY: "b3RoZXI=" };
  expect(azureCredential({ ...none, accountKey: new Secret(KEY) }, environment, report)()).toEqual({ accountKey: KEY });
  expect(azureCredential({ ...none, sas: new Secret(SAS) }, environment, report)()).toEqual({ sas: SAS });
});

test("the environment gives a key, or else a SAS", () => {
  expect(azureCredential(none, { AZURE_STORAGE_KEY: KEY, AZURE_STORAGE_SAS_TOKEN: SAS }, report)()).toEqual({
    accountKey: KEY,
  });
  expect(azureCredential(none, { AZURE_STORAGE_KEY: "", AZURE_STORAGE_SAS_TOKEN: SAS }, report)()).toEqual({
    sas: SAS,
  });
});

test("a SAS is taken as the portal shows it, with a question mark or at the end of a URL", () => {
  for (const text of [`?${SAS}`, `https://a.blob.core.windows.net/c?${SAS}`, ` ${SAS}\n`]) {
    expect(azureCredential({ ...none, sas: new Secret(text) }, {}, report)()).toEqual({ sas: SAS });
  }
});

test("no credential is an error that says what to set", async () => {
  expect(await problemWith(none, {}, report)).toBe(
    'blob_store.type = "azure" has no credential: write account_key, sas or credentials_file, or set AZURE_STORAGE_KEY or ' +
      "AZURE_STORAGE_SAS_TOKEN in the environment of voe",
  );
});

test("a credential that is none is an error that does not show it", async () => {
  for (const [given, environment, problem] of [
    [{ ...none, accountKey: new Secret("hunter-two") }, {}, "account_key is no key of a storage account"],
    [{ ...none, accountKey: new Secret(KEY.slice(1)) }, {}, "account_key is no key"],
    [none, { AZURE_STORAGE_KEY: SAS }, "AZURE_STORAGE_KEY is no key"],
    [{ ...none, sas: new Secret("sv=1&hunter") }, {}, "sas is no shared access signature"],
    [none, { AZURE_STORAGE_SAS_TOKEN: KEY }, "AZURE_STORAGE_SAS_TOKEN is no shared access signature"],
  ] as const) {
    const shown = await problemWith(given, environment, report);
    expect(shown).toContain(problem);
    for (const secret of ["hunter", KEY.slice(1), SAS, "rcwdl"]) expect(shown).not.toContain(secret);
  }
});

test("a file has the credential in a line, as an environment file of systemd", () => {
  for (const [text, credential] of [
    [`# of the archive\nAZURE_STORAGE_KEY=${KEY}\n`, { accountKey: KEY }],
    [`AZURE_STORAGE_ACCOUNT=a\r\n AZURE_STORAGE_SAS_TOKEN = "?${SAS}" \r\n`, { sas: SAS }],
  ] as const) {
    writeFileSync(path, text, { mode: 0o600 });
    expect(azureCredential({ ...none, credentialsFile: path }, { AZURE_STORAGE_KEY: "b3RoZXI=" }, report)()).toEqual(
      credential,
    );
  }
  expect(reports).toEqual([]);
});

test("a SAS in a file is renewed by writing another, and a file that is no longer right changes nothing", () => {
  writeFileSync(path, `AZURE_STORAGE_SAS_TOKEN=${SAS}\n`, { mode: 0o600 });
  const credential = azureCredential({ ...none, credentialsFile: path }, {}, report);
  writeFileSync(path, "AZURE_STORAGE_SAS_TOKEN=sv=2&sig=renewed\n");
  expect(credential()).toEqual({ sas: "sv=2&sig=renewed" });
  writeFileSync(path, "AZURE_STORAGE_SAS_TOKEN=\n");
  expect(credential()).toEqual({ sas: "sv=2&sig=renewed" });
  expect(reports).toEqual([
    `the credentials read before are used on: credentials_file: ${path} has neither AZURE_STORAGE_KEY=... nor ` +
      "AZURE_STORAGE_SAS_TOKEN=... in a line: write one of them",
  ]);
});

test("a file that is absent, or malformed, is an error that names it", async () => {
  const ofFile = { ...none, credentialsFile: path };
  expect(await problemWith(ofFile, {}, report)).toBe(`credentials_file: ${path} is not there: check the path`);
  writeFileSync(path, "AZURE_STORAGE_KEY=hunter-two\n");
  const shown = await problemWith(ofFile, {}, report);
  expect(shown).toStartWith(`credentials_file: ${path}: AZURE_STORAGE_KEY is no key`);
  expect(shown).not.toContain("hunter");
});
