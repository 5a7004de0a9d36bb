import { expect, test } from "bun:test";
import { ConfigError } from "../../../src/config/config-error.ts";
import { parseConfig } from "../../../src/config/parse.ts";

/** The lines of the message about a configuration that must be wrong, or "good". */
const problemsOf = (text: string): string[] => {
  try {
    parseConfig(text, "voe.toml");
  } catch (error) {
    if (error instanceof ConfigError) return error.message.split("\n");
    throw error;
  }
  return ["good"];
};

const FILE_TARGET = '[[target]]\nshelf = 1\nslot = 0\nbackend = "file"\npath = "/a"\n';

/** A good target with one more line, which is line 6. */
const inTarget = (line: string): string[] => problemsOf(`${FILE_TARGET}${line}\n`);
/** A good file, with `lines` of [server] from line 2. */
const inServer = (lines: string): string[] => problemsOf(`[server]\n${lines}\n${FILE_TARGET}`);
const inNbd = (lines: string): string[] => problemsOf(`[nbd]\n${lines}\n${FILE_TARGET}`);
/** An archive with `lines` of [target.cas] from line 6. */
const inCas = (lines: string): string[] =>
  problemsOf(`[[target]]\nshelf = 1\nslot = 0\nbackend = "cas"\n[target.cas]\n${lines}\n`);
/** An archive with `lines` of its blob store from line 6. */
const inStore = (lines: string): string[] =>
  problemsOf(
    `[[target]]\nshelf = 1\nslot = 0\nbackend = "cas"\ncas.size = "1GiB"\n[target.cas.blob_store]\n${lines}\n`,
  );

test.each([
  [
    "shelf = 65535",
    "voe.toml:2: target.shelf: 65535 is out of range; write an integer from 0 to 65534 (65535 is every shelf)",
  ],
  ["shelf = -1", "voe.toml:2: target.shelf: -1 is out of range"],
  ["shelf = 99999999999999999999", "voe.toml:2: target.shelf: 99999999999999999999 is out of range"],
  ["shelf = 1.0", "voe.toml:2: target.shelf: is a float; write an integer from 0 to 65534"],
  ["shelf = '1'", "voe.toml:2: target.shelf: is a string; write an integer"],
  ["shelf = true", "voe.toml:2: target.shelf: is a boolean; write an integer"],
  ["shelf = 2020-01-01", "voe.toml:2: target.shelf: is a date; write an integer"],
  ["shelf = [1]", "voe.toml:2: target.shelf: is a list; write an integer"],
  ["shelf.a = 1", "voe.toml:2: target.shelf: is a table; write an integer"],
])("%s is refused as an address", (line, message) => {
  const problems = problemsOf(`[[target]]\n${line}\nslot = 0\nbackend = "file"\npath = "/a"\n`);
  expect(problems).toHaveLength(1);
  expect(problems[0]).toStartWith(message);
});

test.each([
  ['config_string = "' + "é".repeat(513) + '"', "config_string: is 1026 bytes long; shorten it to 1024 at most"],
  ["config_string = 1", "config_string: is an integer; write a string in quotes"],
  ['read_only = "yes"', "read_only: is a string; write true or false"],
  ['allow_macs = "52:54:00:00:00:01"', "allow_macs: is a string; write a list"],
  ['allow_macs = ["52:54"]', 'allow_macs: "52:54" is not a MAC address; write for example "52:54:00:12:34:56"'],
  ["allow_macs = [1]", "allow_macs: is an integer; write a MAC address in quotes"],
  [
    `allow_macs = [${Array.from({ length: 256 }, (_, index) => `"02:00:00:00:00:${index.toString(16).padStart(2, "0")}"`).join()}]`,
    "allow_macs: has 256 addresses; keep 255 at most",
  ],
  ['sync = "sometimes"', 'sync: "sometimes" is not known; write "always", "none", or a duration such as "1s"'],
  ['sync = "0s"', 'sync: 0ms is out of range; write a duration from "1ms" to "1d"'],
  ['sync = "2d"', 'sync: 2d is out of range; write a duration from "1ms" to "1d"'],
  ['sync = "1 second"', 'sync: "1 second" is not a duration'],
  ["sync = 1", 'sync: is an integer; write "always", "none", or a duration'],
  ["size = 1000", "size: 1000 bytes is not a multiple of 512; write 512 or 1024"],
  ["size = 100", "size: 100 bytes is not a multiple of 512; write 512"],
  ["size = 0", "size: 0 is out of range"],
  ['size = "0GiB"', 'size: is nothing; write a size such as "8GiB"'],
  ["size = 9007199254740992", "size: 9007199254740992 is out of range"],
  ['size = "8G"', 'size: "8G" has the unit G, which is not one of KiB, MiB, GiB, TiB; write for example "8GiB"'],
  ["size = true", "size: is a boolean; write bytes as an integer, or a string"],
  ["direct = true", 'direct: has no meaning with backend = "file"; remove it, or set backend = "device"'],
  ["device = {}", 'device: has no meaning with backend = "file"; remove it, or set backend = "device"'],
  ["cas = {}", 'cas: has no meaning with backend = "file"; remove it, or set backend = "cas"'],
  ['file = "/b"', "file: is a string; write a table, [target.file]"],
  ['file.path = "/b"', "file.path: is in line 5 too; keep one of the two"],
  ["slto = 1", 'slto: unknown key; the nearest known key is "slot"; correct or remove it'],
  ["Shelf = 1", 'Shelf: unknown key; the nearest known key is "shelf"'],
  ["compression = 'lz4'", 'unknown key; the nearest known key is "compression" in [target.cas]; move or remove it'],
  ['"a\\nb" = 1', String.raw`target."a\nb": unknown key; the nearest known key is`],
  ["constructor = 1", "constructor: unknown key"],
  ["__proto__ = 1", "__proto__: unknown key"],
  ["hasOwnProperty = 1", "hasOwnProperty: unknown key"],
])("in a target, %s is refused", (line, message) => {
  const problems = inTarget(line);
  expect(problems).toHaveLength(1);
  expect(problems[0]).toStartWith("voe.toml:6: target.");
  expect(problems[0]).toContain(message);
});

test("an element of a list is reported in its own line", () => {
  expect(inTarget('allow_macs = [\n"52:54:00:00:00:01",\n"x",\n"y"]').map((problem) => problem.slice(0, 30))).toEqual([
    "voe.toml:8: target.allow_macs:",
    "voe.toml:9: target.allow_macs:",
  ]);
});

test("what must be there and is not is reported at its table, with what to write", () => {
  expect(problemsOf("\n[[target]]\n")).toEqual([
    "voe.toml:2: target.shelf: is missing; write the first number of the target's address, for example shelf = 1",
    "voe.toml:2: target.slot: is missing; write the second number of the target's address, for example slot = 0",
    'voe.toml:2: target.backend: is missing; write backend = "cas", "file" or "device"',
  ]);
  expect(problemsOf('[[target]]\nshelf=1\nslot=0\nbackend="file"')[0]).toBe(
    "voe.toml:1: target.path: is missing; write the path of the file to serve",
  );
  expect(problemsOf('[[target]]\nshelf=1\nslot=0\nbackend="device"\n[target.device]')[0]).toStartWith(
    "voe.toml:1: target.path: is missing; write the path of the device to serve",
  );
  expect(problemsOf('[[target]]\nshelf=1\nslot=0\nbackend="cas"')).toEqual([
    "voe.toml:1: target.cas: is missing; write a table [target.cas] with size and blob_store",
  ]);
});

test("a backend that does not exist is refused", () => {
  expect(problemsOf('[[target]]\nshelf=1\nslot=0\nbackend="disk"')).toEqual([
    'voe.toml:4: target.backend: "disk" is not known; write "cas", "file" or "device"',
  ]);
});

test("a file without a target is refused", () => {
  for (const text of ["", "# nothing", "target = []"]) {
    expect(problemsOf(text)).toEqual([
      "voe.toml:1: target: there is none, so there is no disk to serve; add a table [[target]]",
    ]);
  }
});

test("a target in single brackets is told to have two", () => {
  expect(problemsOf("\n[target]\nshelf = 1")).toEqual([
    "voe.toml:2: target: is a table; write [[target]] with two brackets, once for every disk",
  ]);
});

test("two targets with one address are refused with the lines of both", () => {
  const text = `${FILE_TARGET}\n# the second\n[[target]]\nshelf = 1\nslot = 0\nbackend = "file"\npath = "/b"\n`;
  expect(problemsOf(text)).toEqual([
    "voe.toml:9: target.shelf: the target in line 8 has the address e1.0, which the target in line 1 has already; " +
      "change the shelf or the slot of one",
  ]);
});

test("two targets on one file are refused, however its path is spelled", () => {
  const text = `${FILE_TARGET}[[target]]\nshelf = 1\nslot = 1\nbackend = "device"\n[target.device]\npath = "/b/.././a"\n`;
  expect(problemsOf(text)).toEqual([
    'voe.toml:11: target.device.path: "/b/.././a" is the path in line 5 too; two targets would overwrite each other: change one',
  ]);
});

test.each([
  ['log_level = "loud"', 'log_level: "loud" is not known; write "error", "warn", "info" or "debug"'],
  ['interface = ""', 'interface: "" is not the name of a network interface'],
  ['interface = "a/b"', 'interface: "a/b" is not the name of a network interface'],
  ['interface = "sixteen-letters-"', 'interface: "sixteen-letters-" is not the name of a network interface'],
  ['interface = ["eth0"]', "interface: is a list; write the name of a network interface"],
  ['interfaces = "eth0"', "interfaces: is a string; write a list in brackets"],
  ['interfaces = ["eth0", "eth1", "eth0"]', 'interfaces: "eth0" is there twice; remove one'],
  ['state_dir = ""', "state_dir: is empty; write a path"],
  ['state_dir = "a\\u0000b"', "state_dir: has a zero byte in it"],
  [`control_socket = "/${"x".repeat(107)}"`, "is over 107 bytes, more than a socket's path may have; shorten it"],
  ['http = "9464"', 'http: "9464" is not HOST:PORT; write for example'],
  ["http = 9464", "http: is an integer; write HOST:PORT in quotes"],
  ['intreface = "eth0"', 'intreface: unknown key; the nearest known key is "interface"; correct or remove it'],
])("in [server], %s is refused", (line, message) => {
  const problems = inServer(line);
  expect(problems).toHaveLength(1);
  expect(problems[0]).toStartWith("voe.toml:2: server.");
  expect(problems[0]).toContain(message);
});

test("one interface and several at once are refused", () => {
  expect(inServer('interfaces = ["eth0"]\ninterface = "eth0"')).toEqual([
    "voe.toml:3: server.interface: is there beside interfaces; keep one of the two",
  ]);
});

test.each(["0.0.0.0:10809", "[::]:10809", "192.168.1.1:10809", "example.com:10809"])(
  "NBD on %s without allow or TLS is refused",
  (bind) => {
    for (const more of ["", "allow = []", 'tls = "off"']) {
      expect(inNbd(`bind = "${bind}"\n${more}`)).toEqual([
        `voe.toml:2: nbd.bind: ${bind} is open to everyone who can reach it; list who may connect in allow, for ` +
          'example allow = ["192.168.1.0/24"], set tls = "required", or bind to 127.0.0.1',
      ]);
    }
  },
);

test("a wrong allow or tls is reported as that, and not as an open door as well", () => {
  expect(inNbd('bind = "0.0.0.0:1"\nallow = ["lan"]')).toEqual([
    'voe.toml:3: nbd.allow: "lan" is not an address range; write for example "192.168.1.0/24" or "fd00::/8"',
  ]);
  expect(inNbd('bind = "0.0.0.0:1"\ntls = "on"')).toEqual([
    'voe.toml:3: nbd.tls: "on" is not known; write "off" or "required"',
  ]);
});

test("TLS without its files is refused, file by file", () => {
  expect(inNbd('bind = "127.0.0.1:1"\ntls = "required"\nkey = "k.pem"').map((problem) => problem.slice(0, 38))).toEqual(
    ["voe.toml:1: nbd.cert: is missing; tls ", "voe.toml:1: nbd.client_ca: is missing;"],
  );
});

test("a certificate without TLS is refused, since it protects nothing", () => {
  expect(inNbd('bind = "127.0.0.1:1"\ncert = "c.pem"')).toEqual([
    'voe.toml:3: nbd.cert: has no effect while TLS is off; set tls = "required", or remove it',
  ]);
});

const STORE = 'blob_store = "file"\npath = "/b"\n';

test.each([
  ["block_size = 1000", "block_size: 1000 is not a power of two from 512 to 65536; write for example 4096"],
  ["block_size = 256", "block_size: 256 is out of range; write an integer from 512 to 65536"],
  ["block_size = 131072", "block_size: 131072 is out of range"],
  ['block_size = "128KiB"', "block_size: 131072 is not a power of two from 512 to 65536"],
  ['hash = "md5"', 'hash: "md5" is not known; write "blake3" or "sha256"'],
  ['compression = "zstd"', 'compression: "zstd" is not known; write "lz4" or "none"'],
  ['snapshot_every = "10ms"', 'snapshot_every: 10ms is out of range; write a duration from "1s" to "24d"'],
  ['snapshot_every = "30d"', 'snapshot_every: 30d is out of range; write a duration from "1s" to "24d"'],
  ["snapshot_every = 3600", 'snapshot_every: is an integer; write a duration in quotes from "1s" to "24d"'],
  ['volume = ""', "volume: is empty; write a name"],
  [`volume = "${"\u00e9".repeat(128)}"`, "volume: is 256 bytes long; shorten it to 255 at most"],
  ["volume = 1", "volume: is an integer; write a string in quotes"],
  ["total_sectors = 2", "total_sectors: is there beside size; keep one of the two"],
  ["blocksize = 4096", 'blocksize: unknown key; the nearest known key is "block_size"'],
])("in [target.cas], %s is refused", (line, message) => {
  const problems = inCas(`${line}\nsize = "1GiB"\n${STORE}`);
  expect(problems).toHaveLength(1);
  expect(problems[0]).toStartWith("voe.toml:6: target.cas.");
  expect(problems[0]).toContain(message);
});

const archive = (slot: number, lines: string): string =>
  `[[target]]\nshelf=1\nslot=${slot}\nbackend="cas"\n[target.cas]\nsize=512\n${lines}\n`;

test("two targets on one volume of a store are refused, whether its name was written or is an address", () => {
  const shared = `blob_store = { type = "file", path = "/srv/../b" }`;
  expect(problemsOf(archive(0, STORE) + archive(1, `volume = "e1.0"\n${shared}`))).toEqual([
    'voe.toml:16: target.cas.volume: the volume "e1.0" of this store is that of the target in line 5 too; two targets ' +
      "would overwrite each other: write another volume for one",
  ]);
  const named = `volume = "photos"\n`;
  expect(problemsOf(archive(0, named + STORE) + archive(1, named + shared))[0]).toContain("in line 7 too; two targets");
});

test("volumes of one name are two where the stores are two", () => {
  const elsewhere = 'volume = "e1.0"\nblob_store = { type = "file", path = "/c" }';
  expect(problemsOf(archive(0, STORE) + archive(1, elsewhere))).toEqual(["good"]);
});

test("an archive's size in sectors has bounds", () => {
  expect(inCas(`total_sectors = 0\n${STORE}`)[0]).toContain("total_sectors: 0 is out of range");
  expect(inCas(`total_sectors = "1GiB"\n${STORE}`)[0]).toContain("is a string; write the number of 512-byte sectors");
  expect(inCas(`total_sectors = 17592186044416\n${STORE}`)[0]).toContain("17592186044416 is out of range");
  expect(inCas(`total_sectors = 17592186044415\n${STORE}`)).toEqual(["good"]);
});

test("an archive without size or store is refused", () => {
  expect(inCas("")).toEqual([
    'voe.toml:5: target.cas.size: is missing; write the size of the disk, for example size = "8GiB"',
    "voe.toml:5: target.cas.blob_store: is missing; write a table [target.cas.blob_store] with type = " +
      '"file", "s3", "azure", "b2" or "cas"',
  ]);
});

const inShortCas = (lines: string): string | undefined => inCas(`size = 512\n${lines}`)[0];

test("the short spelling of a store is for files, with a path", () => {
  expect(inShortCas('blob_store = "file"')).toBe(
    "voe.toml:5: target.cas.path: is missing; write the directory that holds the blobs",
  );
  expect(inShortCas('blob_store = "s3"')).toBe(
    'voe.toml:7: target.cas.blob_store: "s3" needs more than a path; write a table [target.cas.blob_store] with type = "s3"',
  );
  expect(inShortCas('blob_store = "tape"')).toStartWith(
    'voe.toml:7: target.cas.blob_store: "tape" is not known; write a table',
  );
  expect(inShortCas("blob_store = 1")).toStartWith("voe.toml:7: target.cas.blob_store: is an integer; write a table");
  expect(inShortCas('path = "/b"\nblob_store = { type = "file", path = "/b" }')).toBe(
    'voe.toml:7: target.cas.path: goes with blob_store = "file"; move it into [target.cas.blob_store]',
  );
});

test("path and size of an archive under [[target]] are told where they go", () => {
  const text = `[[target]]\nshelf=1\nslot=0\nbackend="cas"\npath="/b"\nsize=512\n[target.cas]\nsize=512\n${STORE}`;
  expect(problemsOf(text)).toEqual([
    'voe.toml:5: target.path: has no meaning here with backend = "cas"; move it into [target.cas.blob_store]',
    'voe.toml:6: target.size: has no meaning here with backend = "cas"; move it into [target.cas]',
  ]);
});

test("a device has its own size", () => {
  expect(problemsOf('[[target]]\nshelf=1\nslot=0\nbackend="device"\npath="/dev/sdb"\nsize=512')).toEqual([
    'voe.toml:6: target.size: has no meaning with backend = "device"; remove it, or set backend = "file"',
  ]);
});

test.each([
  ["", 'voe.toml:6: target.cas.blob_store.type: is missing; write type = "file", "s3", "azure", "b2" or "cas"'],
  ['type = "S3"', 'voe.toml:7: target.cas.blob_store.type: "S3" is not known'],
  ['type = "file"', "voe.toml:6: target.cas.blob_store.path: is missing; write the directory that holds the blobs"],
  ['type = "s3"', "voe.toml:6: target.cas.blob_store.bucket: is missing; write the name of the bucket"],
  ['type = "s3"\nbucket = ""', "voe.toml:8: target.cas.blob_store.bucket: is empty; write a name"],
  ['type = "s3"\nbucket = "b"\nregion = "a b"', 'voe.toml:9: target.cas.blob_store.region: "a b" is not such a name'],
  ['type = "b2"\nbucket = "b"', "voe.toml:6: target.cas.blob_store.region: is missing; write the region of the bucket"],
  ['type = "azure"\ncontainer = "c"', "voe.toml:6: target.cas.blob_store.account: is missing"],
  ['type = "azure"\naccount = "a"', "voe.toml:6: target.cas.blob_store.container: is missing"],
  ['type = "cas"', "voe.toml:6: target.cas.blob_store.endpoint: is missing; write where the server is"],
  ['type = "cas"\naddress = "a"', 'voe.toml:8: target.cas.blob_store.address: "a" is not HOST:PORT'],
  [
    'type = "cas"\naddress = "a:1"\nendpoint = "http://a:1"',
    "voe.toml:8: target.cas.blob_store.address: is there beside endpoint; keep one of the two",
  ],
  [
    'type = "azure"\naccount = "a"\ncontainer = "c"\nsas = "x"\naccount_key = "y"',
    "voe.toml:10: target.cas.blob_store.sas: is there beside account_key; keep one of the two",
  ],
  [
    'type = "azure"\naccount = "a"\ncontainer = "c"\nsas = "x"\ncredentials_file = "/y"',
    "voe.toml:11: target.cas.blob_store.credentials_file: is there beside sas; keep one of the two",
  ],
  [
    'type = "s3"\nbucket = "b"\naccess_key_id = "id"',
    "voe.toml:9: target.cas.blob_store.access_key_id: is there without secret_access_key; write both, or neither to take",
  ],
  [
    'type = "s3"\nbucket = "b"\nsecret_access_key = "x"',
    "voe.toml:9: target.cas.blob_store.secret_access_key: is there without access_key_id; write both",
  ],
  [
    'type = "s3"\nbucket = "b"\nsecret_access_key = ""\naccess_key_id="i"',
    "secret_access_key: is empty; write the secret",
  ],
  [
    'type = "s3"\nbucket = "b"\nsession_token = "x"',
    "voe.toml:9: target.cas.blob_store.session_token: is there without access_key_id; it is of temporary credentials",
  ],
  [
    'type = "s3"\nbucket = "b"\naccess_key_id = "i"\nsecret_access_key = "x"\ncredentials_file = "f"',
    "voe.toml:11: target.cas.blob_store.credentials_file: is there beside access_key_id; keep one of the two",
  ],
  [
    'type = "s3"\nbucket = "b"\nprofile = "voe"',
    "voe.toml:9: target.cas.blob_store.profile: is there without credentials_file",
  ],
  [
    'type = "cas"\naddress = "a:1"\ntoken = "t"\ntoken_file = "f"',
    "voe.toml:10: target.cas.blob_store.token_file: is there beside token; keep one of the two",
  ],
  ['type = "s3"\nbucket = "b"\nstyle = "host"', 'style: "host" is not known; write "auto", "path" or "virtual-host"'],
  ['type = "s3"\nbucket = "b/host1"', 'bucket: "b/host1" has a slash; write the bucket\'s name alone'],
  [
    'type = "s3"\nbucket = "b"\nprefix = "/a/"',
    'prefix: "/a/" has an empty part, "." or ".."; write for example "host1/"',
  ],
  ['type = "s3"\nbucket = "b"\nprefix = "a/../b"', 'prefix: "a/../b" has an empty part, "." or ".."'],
  [
    'type = "file"\npath = "/p"\nca = "/ca.pem"',
    'ca: has no meaning with type = "file"; remove it, or set type = "s3"',
  ],
  ['type = "s3"\nbucket = "b"\nendpoint = "ftp://a"', "endpoint: is not an http or https address; write only scheme"],
  ['type = "s3"\nbucket = "b"\nendpoint = "https://a:b@c"', "endpoint: has a user or a password in it"],
  ['type = "s3"\nbucket = "b"\nendpoint = "https://a/?b"', 'endpoint: has a part after "?" or "#"'],
  ['type = "s3"\nbucket = "b"\ncache_size = "0GiB"', "cache_size: is nothing"],
  ['type = "s3"\nbucket = "b"\ntransfers = 0', "transfers: 0 is out of range; write how many uploads may be under way"],
  ['type = "s3"\nbucket = "b"\ntransfers = "4"', "transfers: is a string; write how many uploads"],
  [
    'type = "s3"\nbucket = "b"\nupload_limit = 1000',
    'upload_limit: 1000 bytes is out of range; write a size from "64KiB"',
  ],
  [
    'type = "s3"\nbucket = "b"\npath = "/p"',
    'voe.toml:9: target.cas.blob_store.path: has no meaning with type = "s3"; remove it, or set type = "file"',
  ],
  [
    'type = "file"\npath = "/p"\nbucket = "b"',
    'voe.toml:9: target.cas.blob_store.bucket: has no meaning with type = "file"; remove it, or set type = "s3" or "b2"',
  ],
  ['type = "file"\npath = "/p"\nbuket = "b"', 'buket: unknown key; the nearest known key is "bucket"'],
])("in [target.cas.blob_store], %j is refused", (lines, message) => {
  const problems = inStore(lines);
  expect(problems).toHaveLength(1);
  expect(problems[0]).toContain(message);
});

test("unknown tables and keys at the top are refused, also as inline tables and dotted keys", () => {
  expect(problemsOf(`[sever]\nhttp = "a:1"\n${FILE_TARGET}`)).toEqual([
    'voe.toml:1: sever: unknown key; the nearest known key is "server"; correct or remove it',
  ]);
  expect(problemsOf(`server = { loglevel = "info" }\n${FILE_TARGET}`)[0]).toStartWith(
    'voe.toml:1: server.loglevel: unknown key; the nearest known key is "log_level"',
  );
  expect(problemsOf(`nbd.bnid = 1\n${FILE_TARGET}`)[0]).toStartWith("voe.toml:1: nbd.bnid: unknown key");
  expect(problemsOf(`shelf = 1\n${FILE_TARGET}`)[0]).toContain(
    'the nearest known key is "shelf" in [target]; move or remove it',
  );
  expect(problemsOf(`server = 1\nnbd = []\n${FILE_TARGET}`)).toEqual([
    "voe.toml:1: server: is an integer; write a table, [server]",
    "voe.toml:2: nbd: is a list; write a table, [nbd]",
  ]);
});

test("every problem is reported, in the order of the lines", () => {
  const problems = problemsOf(`
[[target]]
shelf = 70000
slot = 0
backend = "file"
size = 100
[nbd]
bind = "0.0.0.0:10809"
[server]
log_level = 1
[[target]]
slot = "0"
backend = "cas"
[target.cas]
blok_size = 4096
`);
  expect(problems.map((problem) => problem.split(": ").slice(0, 2).join(": "))).toEqual([
    "voe.toml:2: target.path",
    "voe.toml:3: target.shelf",
    "voe.toml:6: target.size",
    "voe.toml:8: nbd.bind",
    "voe.toml:10: server.log_level",
    "voe.toml:11: target.shelf",
    "voe.toml:12: target.slot",
    "voe.toml:14: target.cas.size",
    "voe.toml:14: target.cas.blob_store",
    "voe.toml:15: target.cas.blok_size",
  ]);
});

test("text that is not TOML is refused with line and column", () => {
  expect(problemsOf("[server]\nhttp = \n")[0]).toMatch(
    /^voe\.toml:2: is not TOML at column \d+: .+; correct that line$/,
  );
  expect(problemsOf("a = 1\na = 2\n")[0]).toStartWith("voe.toml:2: is not TOML at column");
  expect(problemsOf(`a = ${"[".repeat(100_000)}`)[0]).toContain("excessively nested");
});

test("a long value is cut short in the message", () => {
  const [problem = ""] = inTarget(`sync = "${"\u{1f600}".repeat(10_000)}"`);
  expect(problem.length).toBeLessThan(250);
  expect(problem.isWellFormed()).toBe(true);
});
