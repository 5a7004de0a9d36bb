import { join } from "node:path";
import { parseListenAddress } from "../base/listen-address.ts";
import { BLOB_STORE_TYPES, type BlobStoreConfig, type CacheConfig, type S3StoreConfig } from "./config.ts";
import { asOneOf, asParsed, asTable, asText, choice, fail, inside, quote, requireKey, type Table } from "./reader.ts";
import { asByteCount, asEndpoint, asName, asPath, asSecret } from "./values.ts";

const CACHE_DEFAULT_BYTES = 8 * 2 ** 30;

/** A name that becomes part of the store's host name. */
const asHostPart = asParsed("a name in quotes", (text) => {
  if (!/^[a-z0-9_-]+$/i.test(text)) throw new RangeError("is not such a name; write letters, digits and hyphens");
  return text;
});

export const blobStoreKeys = {
  type: asOneOf(BLOB_STORE_TYPES),
  path: asPath,
  bucket: asName,
  prefix: asText,
  region: asHostPart,
  endpoint: asEndpoint,
  access_key_id: asName,
  secret_access_key: asSecret,
  account: asHostPart,
  container: asName,
  account_key: asSecret,
  sas: asSecret,
  address: asParsed('HOST:PORT in quotes, for example "127.0.0.1:3000"', (text) => {
    parseListenAddress(text);
    return `http://${text}`;
  }),
  token: asSecret,
  cache_path: asPath,
  cache_size: asByteCount,
};

type Keys = typeof blobStoreKeys;
type StoreTable = Table<Keys>;

export const asBlobStoreTable = asTable(blobStoreKeys);

const CACHE_KEYS = ["cache_path", "cache_size"] as const;
const S3_KEYS = [
  "bucket",
  "prefix",
  "region",
  "endpoint",
  "access_key_id",
  "secret_access_key",
  ...CACHE_KEYS,
] as const;

const KEYS_OF_TYPE: Record<BlobStoreConfig["type"], readonly (keyof Keys)[]> = {
  file: ["path"],
  s3: S3_KEYS,
  b2: S3_KEYS,
  azure: ["account", "container", "prefix", "endpoint", "account_key", "sas", ...CACHE_KEYS],
  cas: ["endpoint", "address", "token", ...CACHE_KEYS],
};

const failForeignKeys = (table: StoreTable, type: BlobStoreConfig["type"]): void => {
  for (const key of Object.keys(table.values) as (keyof Keys)[]) {
    if (key === "type" || KEYS_OF_TYPE[type].includes(key)) continue;
    const types = BLOB_STORE_TYPES.filter((other) => KEYS_OF_TYPE[other].includes(key)).map(quote);
    fail(inside(table.place, key), `has no meaning with type = "${type}"; remove it, or set type = ${choice(types)}`);
  }
};

const readCache = ({ values }: StoreTable, stateDir: string): CacheConfig => ({
  path: values.cache_path ?? join(stateDir, "cache"),
  sizeBytes: values.cache_size ?? CACHE_DEFAULT_BYTES,
});

const readS3 = (table: StoreTable, type: "s3" | "b2", stateDir: string): S3StoreConfig | undefined => {
  const { values, place } = table;
  const bucket = requireKey(table, "bucket", "write the name of the bucket");
  if (type === "b2") requireKey(table, "region", 'write the region of the bucket, for example "us-west-004"');
  for (const [one, other] of [
    ["access_key_id", "secret_access_key"],
    ["secret_access_key", "access_key_id"],
  ] as const) {
    if (!table.has(one) || table.has(other)) continue;
    fail(inside(place, one), `is there without ${other}; write both, or neither to take them from the environment`);
  }
  const { region = "us-east-1", access_key_id: accessKeyId, secret_access_key: secretAccessKey } = values;
  if (bucket === undefined) return undefined;
  return {
    type,
    bucket,
    prefix: values.prefix ?? "",
    region,
    endpoint:
      values.endpoint ??
      (type === "b2" ? `https://s3.${region}.backblazeb2.com` : `https://s3.${region}.amazonaws.com`),
    credentials:
      accessKeyId === undefined || secretAccessKey === undefined ? undefined : { accessKeyId, secretAccessKey },
    cache: readCache(table, stateDir),
  };
};

const readAzure = (table: StoreTable, stateDir: string): BlobStoreConfig | undefined => {
  const { values, place } = table;
  const account = requireKey(table, "account", "write the name of the storage account");
  const container = requireKey(table, "container", "write the name of the container");
  if (table.has("account_key") && table.has("sas")) {
    fail(inside(place, "sas"), "is there beside account_key; keep one of the two");
  }
  if (account === undefined || container === undefined) return undefined;
  return {
    type: "azure",
    account,
    container,
    prefix: values.prefix ?? "",
    endpoint: values.endpoint ?? `https://${account}.blob.core.windows.net`,
    accountKey: values.account_key,
    sas: values.sas,
    cache: readCache(table, stateDir),
  };
};

const readCasStore = (table: StoreTable, stateDir: string): BlobStoreConfig | undefined => {
  const { values, place } = table;
  if (table.has("address") && table.has("endpoint")) {
    fail(inside(place, "address"), "is there beside endpoint; keep one of the two");
  } else if (!table.has("address")) {
    requireKey(table, "endpoint", 'write where the server is, for example endpoint = "http://127.0.0.1:3000"');
  }
  const endpoint = values.endpoint ?? values.address;
  if (endpoint === undefined) return undefined;
  return { type: "cas", endpoint, token: values.token, cache: readCache(table, stateDir) };
};

/** [target.cas.blob_store]; `stateDir` is where the cache is unless the table says otherwise. */
export const readBlobStore = (table: StoreTable, stateDir: string): BlobStoreConfig | undefined => {
  const type = requireKey(table, "type", `write type = ${choice(BLOB_STORE_TYPES.map(quote))}`);
  if (type === undefined) return undefined;
  failForeignKeys(table, type);
  if (type === "file") {
    const path = requireKey(table, "path", "write the directory that holds the blobs");
    return path === undefined ? undefined : { type, path };
  }
  if (type === "azure") return readAzure(table, stateDir);
  return type === "cas" ? readCasStore(table, stateDir) : readS3(table, type, stateDir);
};
