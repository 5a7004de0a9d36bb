import type { StoreTable } from "./blob-store.ts";
import type { RemoteConfig, S3CredentialsConfig, S3StoreConfig } from "./config.ts";
import { fail, inside, requireKey } from "./reader.ts";

/** The environment is what is left where a key is absent: where it is there and wrong, that was reported. */
const readCredentials = (table: StoreTable): S3CredentialsConfig | undefined => {
  const { values, place } = table;
  for (const [one, other] of [
    ["access_key_id", "secret_access_key"],
    ["secret_access_key", "access_key_id"],
  ] as const) {
    if (!table.has(one) || table.has(other)) continue;
    fail(inside(place, one), `is there without ${other}; write both, or neither to take them from the environment`);
  }
  if (table.has("session_token") && !table.has("access_key_id")) {
    fail(
      inside(place, "session_token"),
      "is there without access_key_id; it is of temporary credentials, write them too",
    );
  }
  if (table.has("credentials_file") && table.has("access_key_id")) {
    fail(inside(place, "credentials_file"), "is there beside access_key_id; keep one of the two");
  }
  if (table.has("profile") && !table.has("credentials_file")) {
    fail(
      inside(place, "profile"),
      "is there without credentials_file, of which it names a part; write both, or neither",
    );
  }
  const { access_key_id: accessKeyId, secret_access_key: secretAccessKey, session_token: sessionToken } = values;
  if (accessKeyId === undefined || secretAccessKey === undefined) return undefined;
  return { accessKeyId, secretAccessKey, sessionToken };
};

/** What [target.cas.blob_store] says of a store that speaks S3, besides what all stores that are far away have. */
export const readS3Store = (
  table: StoreTable,
  type: "s3" | "b2",
): Omit<S3StoreConfig, keyof RemoteConfig> | undefined => {
  const bucket = requireKey(table, "bucket", "write the name of the bucket");
  if (type === "b2") requireKey(table, "region", 'write the region of the bucket, for example "us-west-004"');
  const credentials = readCredentials(table);
  const { region = "us-east-1", endpoint, prefix, style, credentials_file: path, profile } = table.values;
  if (bucket === undefined) return undefined;
  const host = type === "b2" ? "backblazeb2.com" : region.startsWith("cn-") ? "amazonaws.com.cn" : "amazonaws.com";
  return {
    type,
    bucket,
    prefix: prefix ?? "",
    region,
    endpoint: endpoint ?? `https://s3.${region}.${host}`,
    style: style ?? "auto",
    credentials,
    credentialsFile: path === undefined ? undefined : { path, profile: profile ?? "default" },
  };
};
