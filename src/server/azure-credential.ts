/** Where the credential of an Azure store comes from: the configuration, a file, the environment. */
import type { AzureCredential } from "../blob/azure/azure-request.ts";
import type { AzureStoreConfig } from "../config/config.ts";
import { followedFile, readNamedFile } from "./secret-file.ts";

type Variables = Readonly<Record<string, string | undefined>>;

const KEY = "AZURE_STORAGE_KEY";
const SAS = "AZURE_STORAGE_SAS_TOKEN";

/**
 * What gives the credential of a store, asked for each request: a file that has changed is read again, so that a shared
 * access signature can be renewed. Throws where there is none or it is malformed, with what to do. No message has a
 * secret in it.
 */
export function azureCredential(
  { accountKey, sas, credentialsFile }: Pick<AzureStoreConfig, "accountKey" | "sas" | "credentialsFile">,
  environment: Variables,
  report: (key: string, message: string) => void,
): () => AzureCredential {
  if (credentialsFile !== undefined) {
    return followedFile(credentialsFile, () => readCredential(credentialsFile), report);
  }
  const found =
    credentialFrom({ account_key: accountKey?.reveal(), sas: sas?.reveal() }, "account_key", "sas") ??
    credentialFrom(environment, KEY, SAS);
  if (found !== undefined) return () => found;
  throw new Error(
    'blob_store.type = "azure" has no credential: write account_key, sas or credentials_file, or set ' +
      `${KEY} or ${SAS} in the environment of voe`,
  );
}

/** The key, or else the SAS, of variables with these names; undefined where there is neither. */
function credentialFrom(variables: Variables, key: string, sas: string): AzureCredential | undefined {
  const accountKey = variables[key]?.trim() || undefined;
  if (accountKey !== undefined) {
    if (/^[A-Za-z0-9+/]+={0,2}$/.test(accountKey) && accountKey.length % 4 === 0) return { accountKey };
    throw new Error(`${key} is no key of a storage account, which is in base64: copy all of it`);
  }
  const signature = variables[sas]?.trim() || undefined;
  if (signature === undefined) return undefined;
  // The portal shows a SAS as part of a URL, too.
  const query = signature.slice(signature.indexOf("?") + 1);
  if (new URLSearchParams(query).has("sig")) return { sas: query };
  throw new Error(`${sas} is no shared access signature, it has no part "sig=": copy all of it, from "sv=" or "?" on`);
}

/** Lines `NAME=VALUE`, as systemd's EnvironmentFile has them. */
function readCredential(path: string): AzureCredential {
  const variables: Record<string, string> = {};
  for (const line of readNamedFile("credentials_file", path).split(/\r?\n/)) {
    const [, name, quoted, plain] = /^\s*([A-Z_]+)\s*=\s*(?:"(.*)"|(.*?))\s*$/.exec(line) ?? [];
    if (name !== undefined) variables[name] = quoted ?? plain ?? "";
  }
  let found: AzureCredential | undefined;
  try {
    found = credentialFrom(variables, KEY, SAS);
  } catch (error) {
    throw new Error(`credentials_file: ${path}: ${(error as Error).message}`, { cause: error });
  }
  if (found !== undefined) return found;
  throw new Error(`credentials_file: ${path} has neither ${KEY}=... nor ${SAS}=... in a line: write one of them`);
}
