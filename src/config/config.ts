import type { Cidr } from "../base/cidr.ts";
import type { ListenAddress } from "../base/listen-address.ts";
import type { Secret } from "./secret.ts";

/** What a configuration file says, checked, with defaults filled in. Frozen to the last list. Paths are as written. */
export interface Config {
  readonly server: ServerConfig;
  /** Absent: NBD is off. */
  readonly nbd: NbdConfig | undefined;
  /** At least one; no two with one address. */
  readonly targets: readonly TargetConfig[];
}

export const LOG_LEVELS = ["error", "warn", "info", "debug"] as const;

export interface ServerConfig {
  /** Interfaces that AoE is served on; empty: AoE is off. */
  readonly interfaces: readonly string[];
  readonly logLevel: (typeof LOG_LEVELS)[number];
  readonly stateDir: string;
  readonly controlSocket: string;
  /** Memory for what archives read and write again, in bytes, for each store. */
  readonly cacheBytes: number;
  /** The most that the journal of an archive store takes on disk, in bytes. */
  readonly journalBytes: number;
  /** Status page, metrics and API; absent: off. */
  readonly http: ListenAddress | undefined;
}

export interface NbdConfig {
  /** At least one of the two is there. */
  readonly bind: ListenAddress | undefined;
  /** Path of a unix socket. */
  readonly socket: string | undefined;
  readonly maxConnections: number;
  /** Where clients may come from; empty: anywhere that reaches `bind`. */
  readonly allow: readonly Cidr[];
  /** Absent: TLS is off. */
  readonly tls: TlsConfig | undefined;
}

/** PEM files. */
export interface TlsConfig {
  readonly cert: string;
  readonly key: string;
  readonly clientCa: string;
}

export interface TargetConfig {
  readonly shelf: number;
  readonly slot: number;
  /** At most 1024 bytes of UTF-8. */
  readonly configString: string;
  readonly readOnly: boolean;
  /** Lower-case "aa:bb:cc:dd:ee:ff", each once; empty: everyone on the wire. */
  readonly allowMacs: readonly string[];
  /** Common names of the certificates that NBD clients need one of; empty: everyone who may connect. */
  readonly allowClients: readonly string[];
  readonly sync: SyncConfig;
  readonly backend: BackendConfig;
  /** Where it is no target of the configuration: what a running server was asked to serve beside those. */
  readonly exposed?: ExposedConfig;
}

export interface ExposedConfig {
  /** A read-only target of the snapshot, or a disk of its own that began as it. */
  readonly kind: "snapshot" | "clone";
  /** The target that the snapshot is of, for people. */
  readonly origin: string;
  readonly snapshotId: string;
}

/** When a write is answered: once it survives power loss, or at once with a sync in the background, or with none. */
export type SyncConfig =
  { readonly kind: "always" } | { readonly kind: "interval"; readonly intervalMs: number } | { readonly kind: "none" };

export type BackendConfig = FileBackendConfig | DeviceBackendConfig | CasBackendConfig;

interface FileBackendConfig {
  readonly kind: "file";
  readonly path: string;
  /** Created sparse at this size where absent, grown to it where smaller; undefined: the file exists and stays as it is. */
  readonly sizeBytes: number | undefined;
}

interface DeviceBackendConfig {
  readonly kind: "device";
  readonly path: string;
  /** Past the page cache (O_DIRECT). */
  readonly direct: boolean;
}

export const HASHES = ["blake3", "sha256"] as const;
export const COMPRESSIONS = ["lz4", "none"] as const;

export interface CasBackendConfig {
  readonly kind: "cas";
  /** Name of the volume in its store, 1 to 255 bytes; no two targets have the same of one store. */
  readonly volume: string;
  /** A power of two from 512 to 65536. */
  readonly blockSizeBytes: number;
  readonly sizeBytes: number;
  readonly hash: (typeof HASHES)[number];
  readonly compression: (typeof COMPRESSIONS)[number];
  /** Fits a timer. Absent: snapshots are made only when asked for. */
  readonly snapshotEveryMs: number | undefined;
  readonly blobStore: BlobStoreConfig;
}

export const BLOB_STORE_TYPES = ["file", "s3", "azure", "b2", "cas"] as const;

export type BlobStoreConfig = FileStoreConfig | S3StoreConfig | AzureStoreConfig | CasStoreConfig;

interface FileStoreConfig {
  readonly type: "file";
  readonly path: string;
}

/** Local packs of a store that is far away. */
export interface CacheConfig {
  readonly path: string;
  readonly sizeBytes: number;
}

/** What may be on its way to and from a store that is far away. */
export interface TransferConfig {
  /** Uploads at a time, from 1 to 64; of downloads there may be twice as many. */
  readonly atOnce: number;
  /** Bytes a second; undefined: as many as there are. */
  readonly uploadBytesPerSecond: number | undefined;
  readonly downloadBytesPerSecond: number | undefined;
}

/** What all stores that are far away have. */
export interface RemoteConfig {
  /** PEM file of the authorities that sign the server's certificate; undefined: the usual ones. */
  readonly ca: string | undefined;
  readonly cache: CacheConfig;
  readonly transfers: TransferConfig;
}

export const S3_STYLES = ["auto", "path", "virtual-host"] as const;

/** Amazon S3, whatever speaks its protocol, and Backblaze B2, which does so without conditional writes. */
export interface S3StoreConfig extends RemoteConfig {
  readonly type: "s3" | "b2";
  readonly bucket: string;
  /** Before every key; may be empty. */
  readonly prefix: string;
  readonly region: string;
  /** Without a slash at the end. */
  readonly endpoint: string;
  /** Where the bucket's name goes: auto is the host's name at Amazon and Backblaze, and the path elsewhere. */
  readonly style: (typeof S3_STYLES)[number];
  /** At most one of the two is there; neither: they come from the environment. */
  readonly credentials: S3CredentialsConfig | undefined;
  readonly credentialsFile: { readonly path: string; readonly profile: string } | undefined;
}

export interface S3CredentialsConfig {
  readonly accessKeyId: string;
  readonly secretAccessKey: Secret;
  /** Of temporary credentials. */
  readonly sessionToken: Secret | undefined;
}

export interface AzureStoreConfig extends RemoteConfig {
  readonly type: "azure";
  readonly account: string;
  readonly container: string;
  /** Before every blob name; may be empty. */
  readonly prefix: string;
  /** Without a slash at the end. */
  readonly endpoint: string;
  /** At most one of the three is there; none: the credential comes from the environment. */
  readonly accountKey: Secret | undefined;
  readonly sas: Secret | undefined;
  /** A path. */
  readonly credentialsFile: string | undefined;
}

/** The network store that `voe cas-server` is. */
interface CasStoreConfig extends RemoteConfig {
  readonly type: "cas";
  /** Without a slash at the end. */
  readonly endpoint: string;
  /** At most one of the two is there; neither: it comes from the environment, or the server asks for none. */
  readonly token: Secret | undefined;
  readonly tokenFile: string | undefined;
}
