/** Stores that are far away, as the configuration names them. */
import { openAzureStore, type AzureStoreOptions } from "../blob/azure/azure-store.ts";
import type { BlobStore } from "../blob/blob-store.ts";
import { openS3Store, type S3StoreOptions } from "../blob/s3/s3-store.ts";
import type { BlobStoreConfig, S3StoreConfig } from "../config/config.ts";

export type RemoteStoreConfig = Exclude<BlobStoreConfig, { type: "file" }>;

/** Rejects with what to check where credentials, bucket, region or endpoint are wrong; nothing is changed then. */
export async function openRemoteStore(config: RemoteStoreConfig, create: boolean): Promise<BlobStore> {
  switch (config.type) {
    case "s3":
    case "b2":
      return openS3Store({
        ...config,
        create,
        style: "auto",
        credentials: s3Credentials(config),
        conditionalWrites: config.type === "s3",
      });
    case "azure": {
      const credential = azureCredential(config);
      return openAzureStore({ ...config, create, credential: () => credential });
    }
    default:
      throw new Error(`blob_store.type = "${config.type}" is not served by this version: take "file", "s3" or "azure"`);
  }
}

function s3Credentials({ type, credentials }: S3StoreConfig): S3StoreOptions["credentials"] {
  if (credentials !== undefined) {
    return { accessKeyId: credentials.accessKeyId, secretAccessKey: credentials.secretAccessKey.reveal() };
  }
  const { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN } = process.env;
  if (AWS_ACCESS_KEY_ID === undefined || AWS_SECRET_ACCESS_KEY === undefined) {
    throw new Error(
      `blob_store.type = "${type}" has no credentials: set access_key_id and secret_access_key, or AWS_ACCESS_KEY_ID and ` +
        `AWS_SECRET_ACCESS_KEY in the environment of voe`,
    );
  }
  return {
    accessKeyId: AWS_ACCESS_KEY_ID,
    secretAccessKey: AWS_SECRET_ACCESS_KEY,
    sessionToken: AWS_SESSION_TOKEN,
  };
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
