/** Stores that are far away, as the configuration names them. */
import { openAzureStore } from "../blob/azure/azure-store.ts";
import type { BlobStore } from "../blob/blob-store.ts";
import { openCasStore } from "../blob/cas/cas-store.ts";
import { openS3Store } from "../blob/s3/s3-store.ts";
import type { BlobStoreConfig } from "../config/config.ts";
import { azureCredential } from "./azure-credential.ts";
import { s3Credentials } from "./s3-credentials.ts";
import { exposureOf, readNamedFile } from "./secret-file.ts";

export type RemoteStoreConfig = Exclude<BlobStoreConfig, { type: "file" }>;

export interface RemoteStoreOptions {
  /** Whether the store may be created where there is nothing yet. */
  readonly create: boolean;
  /** Nothing is written, not even to find out what the store can: credentials that may only read are enough. */
  readonly readOnly?: boolean;
  /** Takes warnings. */
  readonly report: (key: string, message: string) => void;
}

/** Rejects with what to check where credentials, bucket, region or endpoint are wrong; nothing is changed then. */
export async function openRemoteStore(
  config: RemoteStoreConfig,
  { create, readOnly, report }: RemoteStoreOptions,
): Promise<BlobStore> {
  const ca = readAuthorities(config.ca);
  const conditionalWrites = config.type !== "b2" && readOnly !== true;
  switch (config.type) {
    case "s3":
    case "b2":
      return openS3Store({
        ...config,
        ca,
        create,
        credentials: s3Credentials(config, process.env, report),
        conditionalWrites,
      });
    case "azure":
      return openAzureStore({
        ...config,
        ca,
        create,
        credential: azureCredential(config, process.env, report),
        conditionalWrites,
      });
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

function casToken(
  { token, tokenFile }: RemoteStoreConfig & { type: "cas" },
  report: RemoteStoreOptions["report"],
): string | undefined {
  if (tokenFile === undefined) return token?.reveal() ?? process.env["VOE_CAS_TOKEN"];
  const exposure = exposureOf(tokenFile);
  if (exposure !== undefined) report("token_file", exposure);
  return readNamedFile("token_file", tokenFile).trim();
}
