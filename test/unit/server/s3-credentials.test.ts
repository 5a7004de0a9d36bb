import { afterEach, beforeEach, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Secret } from "../../../src/config/secret.ts";
import { s3Credentials } from "../../../src/server/s3-credentials.ts";

let directory: string;
let path: string;
let reports: string[];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "voe-credentials-"));
  path = join(directory, "credentials");
  reports = [];
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));
const report = (_: string, message: string): void => void reports.push(message);
const none = { type: "s3", credentials: undefined, credentialsFile: undefined } as const;
const ofFile = (profile = "default") => ({ ...none, credentialsFile: { path, profile } });
const write = (text: string, mode = 0o600): void => {
  writeFileSync(path, text);
  chmodSync(path, mode);
};

test("credentials of the configuration come before those of the environment", () => {
  const credentials = { accessKeyId: "id", secretAccessKey: new Secret("a"), sessionToken: new Secret("b") };
  const environment = { AWS_ACCESS_KEY_ID: "other", AWS_SECRET_ACCESS_KEY: "other" };
  expect(s3Credentials({ ...none, credentials }, environment, report)()).toEqual({
    accessKeyId: "id",
    secretAccessKey: "a",
    sessionToken: "b",
  });
});

test("the environment gives a key and its secret, and a session token where there is one", () => {
  const aws = { AWS_ACCESS_KEY_ID: "id", AWS_SECRET_ACCESS_KEY: "secret" };
  const found = { accessKeyId: "id", secretAccessKey: "secret", sessionToken: undefined };
  expect(s3Credentials(none, aws, report)()).toEqual(found);
  expect(s3Credentials(none, { ...aws, AWS_SESSION_TOKEN: "" }, report)()).toEqual(found);
  expect(s3Credentials(none, { ...aws, AWS_SESSION_TOKEN: "t" }, report)()).toEqual({ ...found, sessionToken: "t" });
});

test("Backblaze's names count for a B2 store, and come first there", () => {
  const environment = {
    AWS_ACCESS_KEY_ID: "id",
    AWS_SECRET_ACCESS_KEY: "secret",
    B2_APPLICATION_KEY_ID: "b2",
    B2_APPLICATION_KEY: "b2 secret",
  };
  const b2 = { ...none, type: "b2" } as const;
  expect(s3Credentials(b2, environment, report)().accessKeyId).toBe("b2");
  expect(s3Credentials(none, environment, report)().accessKeyId).toBe("id");
  expect(s3Credentials(b2, { AWS_ACCESS_KEY_ID: "id", AWS_SECRET_ACCESS_KEY: "s" }, report)().accessKeyId).toBe("id");
});

test("no credentials, or half of them, are an error that says what to set", () => {
  expect(() => s3Credentials(none, {}, report)).toThrow(
    'blob_store.type = "s3" has no credentials: write access_key_id and secret_access_key, or credentials_file, or set ' +
      "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment of voe",
  );
  expect(() => s3Credentials({ ...none, type: "b2" }, {}, report)).toThrow(
    "B2_APPLICATION_KEY_ID and B2_APPLICATION_KEY",
  );
  expect(() => s3Credentials(none, { AWS_ACCESS_KEY_ID: "id" }, report)).toThrow(
    "AWS_ACCESS_KEY_ID is in the environment of voe without AWS_SECRET_ACCESS_KEY",
  );
  expect(() => s3Credentials(none, { AWS_SECRET_ACCESS_KEY: "hunter2" }, report)).toThrow(
    /^AWS_SECRET_ACCESS_KEY is in the environment of voe without AWS_ACCESS_KEY_ID: set both$/,
  );
});

test("a file as Amazon's tools write it is read, of the profile that is named", () => {
  write(`# comment
[default]
aws_access_key_id = one
aws_secret_access_key=abc/+=
; another
region = eu-central-1

[ voe ]
AWS_ACCESS_KEY_ID = two
aws_secret_access_key = def
aws_session_token = ghi
`);
  expect(s3Credentials(ofFile(), {}, report)()).toEqual({
    accessKeyId: "one",
    secretAccessKey: "abc/+=",
    sessionToken: undefined,
  });
  expect(s3Credentials(ofFile("voe"), {}, report)()).toEqual({
    accessKeyId: "two",
    secretAccessKey: "def",
    sessionToken: "ghi",
  });
  expect(reports).toEqual([]);
});

test("a file that is not there, or lacks what is needed, is an error that names it", () => {
  expect(() => s3Credentials(ofFile(), {}, report)).toThrow(`credentials_file: ${path} is not there: check the path`);
  write("[default]\naws_secret_access_key = hunter2\n");
  expect(() => s3Credentials(ofFile("voe"), {}, report)).toThrow(`${path} has no profile [voe]`);
  expect(() => s3Credentials(ofFile(), {}, report)).toThrow("has no aws_access_key_id in profile [default]");
  expect(() => s3Credentials(ofFile(), {}, report)).not.toThrow("hunter2");
});

test("a file that everybody can read is warned about", () => {
  write("[default]\naws_access_key_id = one\naws_secret_access_key = abc\n", 0o644);
  s3Credentials(ofFile(), {}, report);
  expect(reports).toEqual([`${path} holds secrets and every user of this host can read it: chmod o-rwx ${path}`]);
});

test("a file that changes is read again, and what was read before is used on where that fails", () => {
  write("[default]\naws_access_key_id = one\naws_secret_access_key = abc\n");
  const credentials = s3Credentials(ofFile(), {}, report);
  expect(credentials().accessKeyId).toBe("one");
  write("[default]\naws_access_key_id = another\naws_secret_access_key = abc\n");
  expect(credentials().accessKeyId).toBe("another");
  rmSync(path);
  expect(credentials().accessKeyId).toBe("another");
  expect(credentials().accessKeyId).toBe("another");
  expect(reports).toHaveLength(1);
  expect(reports[0]).toContain("the credentials read before are used on: credentials_file");
  write("[default]\naws_access_key_id = third\naws_secret_access_key = abc\n");
  expect(credentials().accessKeyId).toBe("third");
});
