import { join } from "node:path";
import { parseListenAddress } from "../base/listen-address.ts";
import { BLOB_STORE_TYPES, S3_STYLES, type BlobStoreConfig, type RemoteConfig } from "./config.ts";
import {
  asOneOf,
  asParsed,
  asTable,
  asText,
  choice,
  fail,
  failType,
  inside,
  quote,
  requireKey,
  type Reader,
  type Table,
} from "./reader.ts";
import { readS3Store } from "./s3-store.ts";
import { asBoundedSize, asByteCount, asEndpoint, asName, asPath, asSecret } from "./values.ts";

const CACHE_DEFAULT_BYTES = 8 * 2 ** 30;

/** A name that becomes part of the store's host name. */
const asHostPart = asParsed("a name in quotes", (text) => {
  if (!/^[a-z0-9_-]+$/i.test(text)) throw new RangeError("is not such a name; write letters, digits and hyphens");
  return text;
});

const asBucket: Reader<string> = (value, place) => {
  const name = asName(value, place);
  if (name === undefined || !name.includes("/")) return name;
  return fail(place, `${quote(name)} has a slash; write the bucket's name alone, and what follows it as prefix`);
};

/** What comes before every key. URLs have no parts "." and "..", and lose them. */
const asPrefix: Reader<string> = (value, place) => {
  const prefix = asText(value, place);
  if (prefix === undefined || prefix === "") return prefix;
  const parts = prefix.split("/");
  const bad = parts.some((part, index) => part === "." || part === ".." || (part === "" && index < parts.length - 1));
  return bad ? fail(place, `${quote(prefix)} has an empty part, "." or ".."; write for example "host1/"`) : prefix;
};

/** Memory is bounded by it: each upload holds a pack of 16 MiB. */
const TRANSFERS_MOST = 64;
const TRANSFERS_DEFAULT = 4;

const asTransferCount: Reader<number> = (value, place) => {
  const wanted = `how many uploads may be under way at once, an integer from 1 to ${TRANSFERS_MOST}`;
  if (typeof value !== "bigint") return failType(place, value, wanted);
  return value >= 1 && value <= TRANSFERS_MOST
    ? Number(value)
    : fail(place, `${value} is out of range; write ${wanted}`);
};

/** Bytes a second: below 64 KiB a pack would be on its way for longer than stores and networks bear. */
const asRate = asBoundedSize("64KiB", "1TiB");

export const blobStoreKeys = {
  type: asOneOf(BLOB_STORE_TYPES),
  path: asPath,
  bucket: asBucket,
  prefix: asPrefix,
  region: asHostPart,
  endpoint: asEndpoint,
  access_key_id: asName,
  secret_access_key: asSecret,
  session_token: asSecret,
  credentials_file: asPath,
  profile: asName,
  style: asOneOf(S3_STYLES),
  ca: asPath,
  account: asHostPart,
  container: asName,
  account_key: asSecret,
  sas: asSecret,
  address: asParsed('HOST:PORT in quotes, for example "127.0.0.1:3000"', (text) => {
    parseListenAddress(text);
    return `http://${text}`;
  }),
  token: asSecret,
  token_file: asPath,
  cache_path: asPath,
  cache_size: asByteCount,
  transfers: asTransferCount,
  upload_limit: asRate,
  download_limit: asRate,
};

type Keys = typeof blobStoreKeys;
export type StoreTable = Table<Keys>;

export const asBlobStoreTable = asTable(blobStoreKeys);

const REMOTE_KEYS = ["ca", "cache_path", "cache_size", "transfers", "upload_limit", "download_limit"] as const;
const S3_KEYS = [
  "bucket",
  "prefix",
  "region",
  "endpoint",
  "style",
  "access_key_id",
  "secret_access_key",
  "session_token",
  "credentials_file",
  "profile",
  ...REMOTE_KEYS,
] as const;

const KEYS_OF_TYPE: Record<BlobStoreConfig["type"], readonly (keyof Keys)[]> = {
  file: ["path"],
  s3: S3_KEYS,
  b2: S3_KEYS,
  azure: ["account", "container", "prefix", "endpoint", "account_key", "sas", "credentials_file", ...REMOTE_KEYS],
  cas: ["endpoint", "address", "token", "token_file", ...REMOTE_KEYS],
};

const failForeignKeys = (table: StoreTable, type: BlobStoreConfig["type"]): void => {
  for (const key of Object.keys(table.values) as (keyof Keys)[]) {
    if (key === "type" || KEYS_OF_TYPE[type].includes(key)) continue;
    const types = BLOB_STORE_TYPES.filter((other) => KEYS_OF_TYPE[other].includes(key)).map(quote);
    fail(inside(table.place, key), `has no meaning with type = "${type}"; remove it, or set type = ${choice(types)}`);
  }
};

const readRemote = ({ values }: StoreTable, stateDir: string): RemoteConfig => ({
  ca: values.ca,
  cache: {
    path: values.cache_path ?? join(stateDir, "cache"),
    sizeBytes: values.cache_size ?? CACHE_DEFAULT_BYTES,
  },
  transfers: {
    atOnce: values.transfers ?? TRANSFERS_DEFAULT,
    uploadBytesPerSecond: values.upload_limit,
    downloadBytesPerSecond: values.download_limit,
  },
});

const readAzure = (table: StoreTable, stateDir: string): BlobStoreConfig | undefined => {
  const { values, place } = table;
  const account = requireKey(table, "account", "write the name of the storage account");
  const container = requireKey(table, "container", "write the name of the container");
  const [kept, ...others] = (["account_key", "sas", "credentials_file"] as const).filter((key) => table.has(key));
  for (const key of others) fail(inside(place, key), `is there beside ${kept}; keep one of the two`);
  if (account === undefined || container === undefined) return undefined;
  return {
    type: "azure",
    account,
    container,
    prefix: values.prefix ?? "",
    endpoint: values.endpoint ?? `https://${account}.blob.core.windows.net`,
    accountKey: values.account_key,
    sas: values.sas,
    credentialsFile: values.credentials_file,
    ...readRemote(table, stateDir),
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
  if (table.has("token") && table.has("token_file")) {
    fail(inside(place, "token_file"), "is there beside token; keep one of the two");
  }
  return { type: "cas", endpoint, token: values.token, tokenFile: values.token_file, ...readRemote(table, stateDir) };
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
  if (type === "cas") return readCasStore(table, stateDir);
  const store = readS3Store(table, type);
  return store === undefined ? undefined : { ...store, ...readRemote(table, stateDir) };
};
