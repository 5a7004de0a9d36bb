/** Stores that are far away, as the configuration names them. */
import { openAzureStore, type AzureStoreOptions } from "../blob/azure/azure-store.ts";
import type { BlobStore } from "../blob/blob-store.ts";
import { openCasStore } from "../blob/cas/cas-store.ts";
import { openS3Store } from "../blob/s3/s3-store.ts";
import type { BlobStoreConfig } from "../config/config.ts";
import { s3Credentials } from "./s3-credentials.ts";
import { exposureOf, readNamedFile } from "./secret-file.ts";

export type RemoteStoreConfig = Exclude<BlobStoreConfig, { type: "file" }>;

export interface RemoteStoreOptions {
  /** Whether the store may be created where there is nothing yet. */
  readonly create: boolean;
  /** Takes warnings. */
  readonly report: (key: string, message: string) => void;
}

/** Rejects with what to check where credentials, bucket, region or endpoint are wrong; nothing is changed then. */
export async function openRemoteStore(
  config: RemoteStoreConfig,
  { create, report }: RemoteStoreOptions,
): Promise<BlobStore> {
  const ca = readAuthorities(config.ca);
  switch (config.type) {
    case "s3":
    case "b2":
      return openS3Store({
        ...config,
        ca,
        create,
        credentials: s3Credentials(config, process.env, report),
        conditionalWrites: config.type === "s3",
      });
    case "azure": {
      const credential = azureCredential(config);
      return openAzureStore({ ...config, ca, create, credential: () => credential });
    }
    default:
      return openCasStore({ endpoint: config.endpoint, ca, token: casToken(config, report) });
  }
}

/** The authorities that are trusted, as PEM text. */
function readAuthorities(path: string | undefined): string | undefined {
  if (path === undefined) return undefined;
  const pem = readNamedFile("ca", path);
  if (pem.includes("-----BEGIN CERTIFICATE-----")) return pem;
  throw new Error(
    `ca: ${path} has no certificate in PEM form (-----BEGIN CERTIFICATE-----): convert it, or name another`,
  );
}

function azureCredential(config: RemoteStoreConfig & { type: "azure" }): ReturnType<AzureStoreOptions["credential"]> {
  const accountKey = config.accountKey?.reveal();
  const sas = config.sas?.reveal();
  const { AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN } = process.env;
  if (accountKey !== undefined) return { accountKey };
  if (sas !== undefined) return { sas };
  if (AZURE_STORAGE_KEY !== undefined) return { accountKey: AZURE_STORAGE_KEY };
  if (AZURE_STORAGE_SAS_TOKEN !== undefined) return { sas: AZURE_STORAGE_SAS_TOKEN };
  throw new Error(
    'blob_store.type = "azure" has no credentials: set account_key or sas, or AZURE_STORAGE_KEY or ' +
      "AZURE_STORAGE_SAS_TOKEN in the environment of voe",
  );
}

function casToken(
  { token, tokenFile }: RemoteStoreConfig & { type: "cas" },
  report: RemoteStoreOptions["report"],
): string | undefined {
  if (tokenFile === undefined) return token?.reveal() ?? process.env["VOE_CAS_TOKEN"];
  const exposure = exposureOf(tokenFile);
  if (exposure !== undefined) report("token_file", exposure);
  return readNamedFile("token_file", tokenFile).trim();
}
