/** Where the credentials of an S3 store come from: the configuration, a file as Amazon's tools have it, the environment. */
import type { S3Credentials } from "../blob/s3/s3-service.ts";
import type { S3StoreConfig } from "../config/config.ts";
import { followedFile, readNamedFile } from "./secret-file.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * What gives the credentials of a store, asked for each request: a file that has changed is read again, so that temporary
 * ones can be renewed. Throws where there are none, with what to do. No message has a secret in it.
 */
export function s3Credentials(
  { type, credentials, credentialsFile }: Pick<S3StoreConfig, "type" | "credentials" | "credentialsFile">,
  environment: Environment,
  report: (key: string, message: string) => void,
): () => S3Credentials {
  if (credentials !== undefined) {
    const { accessKeyId, secretAccessKey, sessionToken } = credentials;
    const found = {
      accessKeyId,
      secretAccessKey: secretAccessKey.reveal(),
      sessionToken: sessionToken?.reveal(),
    };
    return () => found;
  }
  if (credentialsFile !== undefined) {
    const { path, profile } = credentialsFile;
    return followedFile(path, () => readProfile(path, profile), report);
  }
  const found = fromEnvironment(type, environment);
  return () => found;
}

function fromEnvironment(type: "s3" | "b2", environment: Environment): S3Credentials {
  const pairs: [id: string, secret: string, token?: string][] = [
    ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"],
  ];
  if (type === "b2") pairs.unshift(["B2_APPLICATION_KEY_ID", "B2_APPLICATION_KEY"]);
  for (const [id, secret, token] of pairs) {
    const accessKeyId = environment[id] || undefined;
    const secretAccessKey = environment[secret] || undefined;
    if (accessKeyId === undefined && secretAccessKey === undefined) continue;
    if (accessKeyId === undefined || secretAccessKey === undefined) {
      const [there, absent] = accessKeyId === undefined ? [secret, id] : [id, secret];
      throw new Error(`${there} is in the environment of voe without ${absent}: set both`);
    }
    return {
      accessKeyId,
      secretAccessKey,
      sessionToken: token === undefined ? undefined : environment[token] || undefined,
    };
  }
  const names = pairs.map(([id, secret]) => `${id} and ${secret}`).join(", or ");
  throw new Error(
    `blob_store.type = "${type}" has no credentials: write access_key_id and secret_access_key, or credentials_file, or ` +
      `set ${names} in the environment of voe`,
  );
}

function readProfile(path: string, profile: string): S3Credentials {
  const settings = parseProfile(readNamedFile("credentials_file", path), profile);
  const advice = "it has to be as Amazon's tools write ~/.aws/credentials";
  if (settings === undefined) throw new Error(`credentials_file: ${path} has no profile [${profile}]: ${advice}`);
  const accessKeyId = settings.get("aws_access_key_id");
  const secretAccessKey = settings.get("aws_secret_access_key");
  if (accessKeyId === undefined || secretAccessKey === undefined) {
    const absent = accessKeyId === undefined ? "aws_access_key_id" : "aws_secret_access_key";
    throw new Error(`credentials_file: ${path} has no ${absent} in profile [${profile}]: ${advice}`);
  }
  return { accessKeyId, secretAccessKey, sessionToken: settings.get("aws_session_token") };
}

/** The settings of one profile of a file in Amazon's format (AWS SDKs and Tools reference, "Shared config files"). */
function parseProfile(text: string, profile: string): Map<string, string> | undefined {
  let settings: Map<string, string> | undefined;
  let isInside = false;
  for (const line of text.split(/\r?\n/)) {
    const section = /^\s*\[\s*(.*?)\s*\]/.exec(line)?.[1];
    if (section !== undefined) {
      isInside = section === profile;
      if (isInside) settings ??= new Map();
      continue;
    }
    const [, name, value] = /^\s*([a-z_]+)\s*=\s*(\S.*?)\s*$/i.exec(line) ?? [];
    if (isInside && name !== undefined && value !== undefined) settings?.set(name.toLowerCase(), value);
  }
  return settings;
}
