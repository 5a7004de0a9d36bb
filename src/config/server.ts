import { parseListenAddress } from "../base/listen-address.ts";
import { LOG_LEVELS, type ServerConfig } from "./config.ts";
import { asListOf, asOneOf, asParsed, asTable, fail, inside, quote, type Table } from "./reader.ts";
import { asBoundedSize, asPath, asSocketPath } from "./values.ts";

/** IFNAMSIZ of Linux, less the zero byte at the end. */
const INTERFACE_NAME_MAX_BYTES = 15;
export const CACHE_DEFAULT_BYTES = 512 * 2 ** 20;
export const JOURNAL_DEFAULT_BYTES = 2 * 2 ** 30;

const asInterface = asParsed('the name of a network interface, for example "eth0"', (name) => {
  if (!/^[!-.0-~]+$/.test(name) || name === "." || name === ".." || name.length > INTERFACE_NAME_MAX_BYTES) {
    throw new RangeError('is not the name of a network interface; write one that "ip link" lists, for example "eth0"');
  }
  return name;
});

export const asListenAddress = asParsed('HOST:PORT in quotes, for example "127.0.0.1:9464"', parseListenAddress);

export const serverKeys = {
  interface: asInterface,
  interfaces: asListOf(asInterface),
  log_level: asOneOf(LOG_LEVELS),
  state_dir: asPath,
  control_socket: asSocketPath,
  cache_size: asBoundedSize("16MiB", "1TiB"),
  journal_size: asBoundedSize("64MiB", "1TiB"),
  http: asListenAddress,
};

export const asServerTable = asTable(serverKeys);

/** [server], which may be absent. */
export const readServer = (table: Table<typeof serverKeys> | undefined): ServerConfig => {
  const values = table?.values ?? {};
  const interfaces = values.interfaces ?? (values.interface === undefined ? [] : [values.interface]);
  if (table?.has("interface") && table.has("interfaces")) {
    fail(inside(table.place, "interface"), "is there beside interfaces; keep one of the two");
  }
  for (const [index, name] of interfaces.entries()) {
    if (interfaces.indexOf(name) === index || table === undefined) continue;
    fail(inside(inside(table.place, "interfaces"), index), `${quote(name)} is there twice; remove one`);
  }
  return {
    interfaces,
    logLevel: values.log_level ?? "info",
    stateDir: values.state_dir ?? "/var/lib/voe",
    controlSocket: values.control_socket ?? "/run/voe/voe.sock",
    cacheBytes: values.cache_size ?? CACHE_DEFAULT_BYTES,
    journalBytes: values.journal_size ?? JOURNAL_DEFAULT_BYTES,
    http: values.http,
  };
};
