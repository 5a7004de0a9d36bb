import { expect, test } from "bun:test";
import type { BackendConfig, Config } from "../../../src/config/config.ts";
import { ConfigError } from "../../../src/config/config-error.ts";
import { parseConfig } from "../../../src/config/parse.ts";
import { Secret } from "../../../src/config/secret.ts";

const parse = (text: string): Config => parseConfig(text, "voe.toml");

const backendOf = (text: string): BackendConfig | undefined =>
  parse(`[[target]]\nshelf = 1\nslot = 0\n${text}`).targets[0]?.backend;

const storeOf = (text: string): unknown => {
  const backend = backendOf(`backend = "cas"\n[target.cas]\nsize = "1GiB"\n[target.cas.blob_store]\n${text}`);
  return backend?.kind === "cas" ? backend.blobStore : undefined;
};

test("the configuration of the manual is read in full", () => {
  const config = parse(`
[server]
interface = "eth0"
log_level = "debug"
state_dir = "/srv/state"
control_socket = "/srv/voe.sock"
cache_size = "64MiB"
journal_size = "1GiB"
http = "127.0.0.1:9464"
[nbd]
bind = "127.0.0.1:10809"
allow = ["127.0.0.0/8"]
tls = "off"
[[target]]
shelf = 1
slot = 0
backend = "cas"
config_string = "archive"
read_only = true
allow_macs = ["52-54-00-AB-CD-EF", "52:54:00:ab:cd:ef", "02:00:00:00:00:01"]
sync = "1s"
[target.cas]
block_size = 8192
size = "8GiB"
volume = "work"
hash = "sha256"
compression = "none"
snapshot_every = "1h"
[target.cas.blob_store]
type = "file"
path = "/data/blobs"
`);
  expect(config).toEqual({
    server: {
      interfaces: ["eth0"],
      logLevel: "debug",
      stateDir: "/srv/state",
      controlSocket: "/srv/voe.sock",
      cacheBytes: 64 * 2 ** 20,
      journalBytes: 2 ** 30,
      http: { host: "127.0.0.1", port: 9464 },
    },
    nbd: {
      bind: { host: "127.0.0.1", port: 10809 },
      socket: undefined,
      maxConnections: 100,
      allow: [{ address: "127.0.0.0", prefixLength: 8, family: "ipv4" }],
      tls: undefined,
    },
    targets: [
      {
        shelf: 1,
        slot: 0,
        configString: "archive",
        readOnly: true,
        allowMacs: ["52:54:00:ab:cd:ef", "02:00:00:00:00:01"],
        allowClients: [],
        sync: { kind: "interval", intervalMs: 1000 },
        backend: {
          kind: "cas",
          volume: "work",
          blockSizeBytes: 8192,
          sizeBytes: 8 * 2 ** 30,
          hash: "sha256",
          compression: "none",
          snapshotEveryMs: 3_600_000,
          blobStore: { type: "file", path: "/data/blobs" },
        },
      },
    ],
  });
});

test("what is left out has the documented default", () => {
  const config = parse(`
[[target]]
shelf = 0
slot = 254
backend = "cas"
cas = { size = 512, blob_store = { type = "file", path = "blobs" } }
`);
  expect(config).toEqual({
    server: {
      interfaces: [],
      logLevel: "info",
      stateDir: "/var/lib/voe",
      controlSocket: "/run/voe/voe.sock",
      cacheBytes: 512 * 2 ** 20,
      journalBytes: 2 * 2 ** 30,
      http: undefined,
    },
    nbd: undefined,
    targets: [
      {
        shelf: 0,
        slot: 254,
        configString: "",
        readOnly: false,
        allowMacs: [],
        allowClients: [],
        sync: { kind: "always" },
        backend: {
          kind: "cas",
          volume: "e0.254",
          blockSizeBytes: 4096,
          sizeBytes: 512,
          hash: "blake3",
          compression: "lz4",
          snapshotEveryMs: undefined,
          blobStore: { type: "file", path: "blobs" },
        },
      },
    ],
  });
});

test("several interfaces are kept in their order", () => {
  const config = parse('server.interfaces = ["eth1", "eth0.5"]\n[[target]]\nshelf=1\nslot=0\nbackend="file"\npath="a"');
  expect(config.server.interfaces).toEqual(["eth1", "eth0.5"]);
});

test.each([
  ['backend = "file"\npath = "/a"\nsize = "1GiB"'],
  ['backend = "file"\n[target.file]\npath = "/a"\nsize = 1073741824'],
  ['backend = "file"\nsize = "1024MiB"\n[target.file]\npath = "/a"'],
  ['backend = "file"\nfile.path = "/a"\nfile.size = 0x4000_0000'],
])("every spelling of a file backend gives the same: %j", (text) => {
  expect(backendOf(text)).toEqual({ kind: "file", path: "/a", sizeBytes: 2 ** 30 });
});

test("a file without a size keeps its own", () => {
  expect(backendOf('backend = "file"\npath = "/a"')).toEqual({ kind: "file", path: "/a", sizeBytes: undefined });
});

test.each([
  ['backend = "device"\npath = "/dev/sdb"\ndirect = true'],
  ['backend = "device"\n[target.device]\npath = "/dev/sdb"\ndirect = true'],
])("every spelling of a device backend gives the same: %j", (text) => {
  expect(backendOf(text)).toEqual({ kind: "device", path: "/dev/sdb", direct: true });
});

test("a device goes through the page cache unless direct is set", () => {
  expect(backendOf('backend = "device"\npath = "/dev/sdb"')).toEqual({
    kind: "device",
    path: "/dev/sdb",
    direct: false,
  });
});

test("the short spelling of a file store and a size in sectors give the same archive as the long ones", () => {
  const short = 'backend = "cas"\n[target.cas]\ntotal_sectors = 2097152\nblob_store = "file"\npath = "/b"';
  const long = 'backend = "cas"\n[target.cas]\nsize = "1GiB"\n[target.cas.blob_store]\ntype = "file"\npath = "/b"';
  expect(backendOf(short)).toEqual(backendOf(long) as BackendConfig);
});

test.each([
  ['"always"', { kind: "always" }],
  ['"none"', { kind: "none" }],
  ['"250ms"', { kind: "interval", intervalMs: 250 }],
  ['"1d"', { kind: "interval", intervalMs: 86_400_000 }],
])("sync = %s", (text, sync) => {
  const config = parse(`[[target]]\nshelf=1\nslot=0\nbackend="file"\npath="/a"\nsync = ${text}`);
  expect(config.targets[0]?.sync).toEqual(sync as never);
});

test("an S3 store has Amazon's endpoint, credentials of the environment and a cache in state_dir by default", () => {
  expect(storeOf('type = "s3"\nbucket = "b"')).toEqual({
    type: "s3",
    bucket: "b",
    prefix: "",
    region: "us-east-1",
    endpoint: "https://s3.us-east-1.amazonaws.com",
    style: "auto",
    credentials: undefined,
    credentialsFile: undefined,
    ca: undefined,
    cache: { path: "/var/lib/voe/cache", sizeBytes: 8 * 2 ** 30 },
    transfers: { atOnce: 4, uploadBytesPerSecond: undefined, downloadBytesPerSecond: undefined },
  });
});

test("an S3 store takes what it is given", () => {
  const store = storeOf(`type = "s3"
bucket = "b"
prefix = "p/"
region = "eu-central-1"
endpoint = "http://127.0.0.1:7480/"
access_key_id = "id"
secret_access_key = "s3cr3t"
session_token = "t0ken"
style = "virtual-host"
ca = "/etc/ca.pem"
cache_path = "/cache"
cache_size = "1000KiB"
transfers = 8
upload_limit = "10MiB"
download_limit = 100000`);
  expect(store).toMatchObject({
    prefix: "p/",
    region: "eu-central-1",
    endpoint: "http://127.0.0.1:7480",
    style: "virtual-host",
    credentials: { accessKeyId: "id" },
    ca: "/etc/ca.pem",
    cache: { path: "/cache", sizeBytes: 1_024_000 },
    transfers: { atOnce: 8, uploadBytesPerSecond: 10 * 2 ** 20, downloadBytesPerSecond: 100_000 },
  });
  const { credentials } = store as { credentials: { secretAccessKey: Secret; sessionToken: Secret } };
  expect(credentials.secretAccessKey).toBeInstanceOf(Secret);
  expect(credentials.secretAccessKey.reveal()).toBe("s3cr3t");
  expect(credentials.sessionToken).toBeInstanceOf(Secret);
  expect(credentials.sessionToken.reveal()).toBe("t0ken");
});

test("an S3 store's credentials may be in a file, in its default profile unless another one is named", () => {
  expect(storeOf('type = "s3"\nbucket = "b"\ncredentials_file = "/etc/keys"')).toMatchObject({
    credentials: undefined,
    credentialsFile: { path: "/etc/keys", profile: "default" },
  });
  expect(storeOf('type = "b2"\nregion = "r"\nbucket = "b"\ncredentials_file = "k"\nprofile = "voe"')).toMatchObject({
    credentialsFile: { path: "k", profile: "voe" },
  });
});

test("Amazon's endpoint in China has another name", () => {
  expect(storeOf('type = "s3"\nbucket = "b"\nregion = "cn-north-1"')).toMatchObject({
    endpoint: "https://s3.cn-north-1.amazonaws.com.cn",
  });
});

test("a B2 store has the endpoint of its region", () => {
  expect(storeOf('type = "b2"\nbucket = "b"\nregion = "us-west-004"')).toMatchObject({
    type: "b2",
    endpoint: "https://s3.us-west-004.backblazeb2.com",
  });
});

test("an Azure store has the endpoint of its account", () => {
  const store = storeOf('type = "azure"\naccount = "acc"\ncontainer = "c"\nsas = "sv=1"');
  expect(store).toMatchObject({
    type: "azure",
    endpoint: "https://acc.blob.core.windows.net",
    accountKey: undefined,
  });
  expect((store as { sas: Secret }).sas.reveal()).toBe("sv=1");
  expect(storeOf('type = "azure"\naccount = "acc"\ncontainer = "c"\ncredentials_file = "/etc/a"')).toMatchObject({
    sas: undefined,
    credentialsFile: "/etc/a",
  });
});

test("a network store is given by endpoint or by address", () => {
  expect(storeOf('type = "cas"\naddress = "127.0.0.1:3000"')).toMatchObject({ endpoint: "http://127.0.0.1:3000" });
  const store = storeOf('type = "cas"\nendpoint = "https://store:3000"\ntoken = "t0ken"');
  expect(store).toMatchObject({ type: "cas", endpoint: "https://store:3000" });
  expect((store as { token: Secret }).token.reveal()).toBe("t0ken");
  expect(storeOf('type = "cas"\naddress = "[::1]:3000"\ntoken_file = "cas.token"')).toMatchObject({
    endpoint: "http://[::1]:3000",
    token: undefined,
    tokenFile: "cas.token",
  });
});

test("a cache is in the state_dir that the file names, wherever that stands", () => {
  const config = parse(`
target = [{ shelf = 1, slot = 0, backend = "cas", cas = { size = 512, blob_store = { type = "s3", bucket = "b" } } }]
[server]
state_dir = "/elsewhere"
`);
  expect(config.targets[0]?.backend).toMatchObject({ blobStore: { cache: { path: "/elsewhere/cache" } } });
});

test("two archives may share a store", () => {
  const target = '[[target]]\nshelf=1\nslot=0\nbackend="cas"\ncas={size=512,blob_store="file",path="/b"}\n';
  expect(parse(target + target.replace("slot=0", "slot=1")).targets).toHaveLength(2);
});

test("TLS that is required takes its files, and opens a public bind", () => {
  const config = parse(`
[nbd]
bind = "0.0.0.0:10809"
tls = "required"
cert = "c.pem"
key = "k.pem"
client_ca = "ca.pem"
[[target]]
shelf = 1
slot = 0
backend = "file"
path = "a"
`);
  expect(config.nbd?.tls).toEqual({ cert: "c.pem", key: "k.pem", clientCa: "ca.pem" });
});

test("a public bind is accepted with a list of who may connect", () => {
  const target = '[[target]]\nshelf=1\nslot=0\nbackend="file"\npath="a"';
  const config = parse(`[nbd]\nbind = "[::]:10809"\nallow = ["fd00::/8", "10.0.0.1"]\n${target}`);
  expect(config.nbd?.allow.map(({ prefixLength }) => prefixLength)).toEqual([8, 32]);
});

test("the configuration cannot be changed, at any depth", () => {
  const config = parse('[[target]]\nshelf=1\nslot=0\nbackend="cas"\ncas={size=512,blob_store={type="s3",bucket="b"}}');
  const visit = (value: unknown): void => {
    if (typeof value !== "object" || value === null) return;
    expect(Object.isFrozen(value)).toBe(true);
    Object.values(value).forEach(visit);
  };
  visit(config);
  expect(() => (config.targets as unknown[]).push(1)).toThrow(TypeError);
});

test("secrets do not show in the configuration's text or JSON", () => {
  const config = parse(
    '[[target]]\nshelf=1\nslot=0\nbackend="cas"\ncas={size=512,blob_store={type="cas",address="a:1",token="hunter2"}}',
  );
  expect(JSON.stringify(config)).toContain('"token":"[secret]"');
  expect(JSON.stringify(config) + Bun.inspect(config)).not.toContain("hunter2");
});

test("an error shows no secret, whatever is wrong in its line or about it", () => {
  const start =
    '[[target]]\nshelf=1\nslot=0\nbackend="cas"\ncas.size=512\n[target.cas.blob_store]\ntype="s3"\nbucket="b"\n';
  for (const line of [
    "secret_access_key = hunter2",
    'secret_access_key = "hunter2',
    'secret_access_key = "hunter2\\q"',
    'secret_access_key = "hunter2" "',
    'secret_access_key = ["hunter2"]',
    'secret_acces_key = "hunter2"',
    'secret_access_key = "hunter2"',
    'token = "hunter2"',
    'endpoint = "https://user:hunter2@example.com"',
    'endpoint = "https://example.com?sig=hunter2"',
    'endpoint = "hunter2"',
  ]) {
    let shown: unknown;
    try {
      parse(start + line);
    } catch (error) {
      shown = error;
    }
    expect(shown).toBeInstanceOf(ConfigError);
    expect(JSON.stringify(shown) + (shown as Error).message + String((shown as Error).cause)).not.toContain("hunter2");
  }
});
