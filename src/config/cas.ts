import type { TomlValue } from "smol-toml";
import { asBlobStoreTable, readBlobStore } from "./blob-store.ts";
import { BLOB_STORE_TYPES, type BlobStoreConfig, type CasBackendConfig, COMPRESSIONS, HASHES } from "./config.ts";
import {
  asInteger,
  asOneOf,
  asTable,
  choice,
  fail,
  failType,
  inside,
  isWrong,
  type Place,
  quote,
  type Reader,
  requireKey,
  type Table,
} from "./reader.ts";
import { asDiskSize, asDuration, asName, asPath, asSectorCount } from "./values.ts";

const BLOCK_SIZE_DEFAULT_BYTES = 4096;

const asBlockSize: Reader<number> = (value, place) => {
  const bytes = typeof value === "string" ? asDiskSize(value, place) : asInteger(512, 65536)(value, place);
  if (bytes === undefined || (bytes >= 512 && bytes <= 65536 && Number.isInteger(Math.log2(bytes)))) return bytes;
  return fail(place, `${bytes} is not a power of two from 512 to 65536; write for example 4096`);
};

/** A table, or in the short spelling its type alone. */
const asBlobStore = (value: TomlValue, place: Place): ReturnType<typeof asBlobStoreTable> | "file" => {
  if (typeof value !== "string") {
    return typeof value === "object" && !Array.isArray(value)
      ? asBlobStoreTable(value, place)
      : failType(place, value, `a table [target.cas.blob_store], or "file" with path beside it`);
  }
  if (value === "file") return value;
  return (BLOB_STORE_TYPES as readonly string[]).includes(value)
    ? fail(place, `"${value}" needs more than a path; write a table [target.cas.blob_store] with type = "${value}"`)
    : fail(place, `${quote(value)} is not known; write a table [target.cas.blob_store] with type = ${TYPES}`);
};

const TYPES = choice(BLOB_STORE_TYPES.map(quote));

const VOLUME_MOST_BYTES = 255;

const asVolume: Reader<string> = (value, place) => {
  const name = asName(value, place);
  if (name === undefined || Buffer.byteLength(name) <= VOLUME_MOST_BYTES) return name;
  return fail(place, `is ${Buffer.byteLength(name)} bytes long; shorten it to ${VOLUME_MOST_BYTES} at most`);
};

export const casKeys = {
  volume: asVolume,
  block_size: asBlockSize,
  size: asDiskSize,
  total_sectors: asSectorCount,
  hash: asOneOf(HASHES),
  compression: asOneOf(COMPRESSIONS),
  snapshot_every: asDuration("1s", "24d"),
  blob_store: asBlobStore,
  path: asPath,
};

type CasTable = Table<typeof casKeys>;

export const asCasTable = asTable(casKeys);

const readSize = (table: CasTable): number | undefined => {
  const { values, place } = table;
  if (table.has("size") && table.has("total_sectors")) {
    return fail(inside(place, "total_sectors"), "is there beside size; keep one of the two");
  }
  if (table.has("total_sectors")) return values.total_sectors;
  return requireKey(table, "size", 'write the size of the disk, for example size = "8GiB"');
};

const readStore = (table: CasTable, stateDir: string): BlobStoreConfig | undefined => {
  const { place } = table;
  const store = requireKey(table, "blob_store", `write a table [target.cas.blob_store] with type = ${TYPES}`);
  if (store === "file") {
    const path = requireKey(table, "path", "write the directory that holds the blobs");
    return path === undefined ? undefined : { type: "file", path };
  }
  if (table.has("path") && table.has("blob_store") && !isWrong(table, "blob_store")) {
    fail(inside(place, "path"), 'goes with blob_store = "file"; move it into [target.cas.blob_store]');
  }
  return store && readBlobStore(store, stateDir);
};

/** [target.cas]; `address` names the volume unless the table does. */
export const readCas = (table: CasTable, stateDir: string, address: string): CasBackendConfig | undefined => {
  const { values } = table;
  const sizeBytes = readSize(table);
  const blobStore = readStore(table, stateDir);
  if (sizeBytes === undefined || blobStore === undefined) return undefined;
  return {
    kind: "cas",
    volume: values.volume ?? address,
    blockSizeBytes: values.block_size ?? BLOCK_SIZE_DEFAULT_BYTES,
    sizeBytes,
    hash: values.hash ?? "blake3",
    compression: values.compression ?? "lz4",
    snapshotEveryMs: values.snapshot_every,
    blobStore,
  };
};
