import { parseCidr } from "../base/cidr.ts";
import { formatListenAddress, isLoopback } from "../base/listen-address.ts";
import type { NbdConfig, TlsConfig } from "./config.ts";
import {
  asInteger,
  asListOf,
  asOneOf,
  asParsed,
  asTable,
  fail,
  inside,
  isWrong,
  requireKey,
  type Table,
} from "./reader.ts";
import { asListenAddress } from "./server.ts";
import { asPath, asSocketPath } from "./values.ts";

export const NBD_CONNECTIONS_DEFAULT = 100;
const TLS_FILES = ["cert", "key", "client_ca"] as const;

export const nbdKeys = {
  bind: asListenAddress,
  socket: asSocketPath,
  max_connections: asInteger(1, 10_000),
  allow: asListOf(asParsed('an address range in quotes, for example "192.168.1.0/24"', parseCidr)),
  tls: asOneOf(["off", "required"]),
  cert: asPath,
  key: asPath,
  client_ca: asPath,
};

export const asNbdTable = asTable(nbdKeys);

const readTls = (table: Table<typeof nbdKeys>): TlsConfig | undefined => {
  const { tls } = table.values;
  if (tls === "required") {
    const [cert, key, clientCa] = TLS_FILES.map((name) =>
      requireKey(table, name, `tls = "required" needs it: write the path of a PEM file, or set tls = "off"`),
    );
    if (cert !== undefined && key !== undefined && clientCa !== undefined) return { cert, key, clientCa };
  } else if (!isWrong(table, "tls")) {
    // Somebody who names a certificate believes that the connection is protected.
    for (const name of TLS_FILES) {
      if (!table.has(name)) continue;
      fail(inside(table.place, name), 'has no effect while TLS is off; set tls = "required", or remove it');
    }
  }
  return undefined;
};

/** [nbd], which may be absent, as may its `bind` and `socket`: NBD is off then. */
export const readNbd = (table: Table<typeof nbdKeys> | undefined): NbdConfig | undefined => {
  if (table === undefined) return undefined;
  const { bind, socket, allow = [], max_connections: maxConnections = NBD_CONNECTIONS_DEFAULT } = table.values;
  const tls = readTls(table);
  if (bind === undefined && socket === undefined) return undefined;
  const isGuarded = bind === undefined || allow.length > 0 || table.values.tls === "required" || isLoopback(bind);
  if (!isGuarded && !isWrong(table, "allow") && !isWrong(table, "tls")) {
    fail(
      inside(table.place, "bind"),
      `${formatListenAddress(bind)} is open to everyone who can reach it; list who may connect in allow, for example ` +
        'allow = ["192.168.1.0/24"], set tls = "required", or bind to 127.0.0.1',
    );
  }
  return { bind, socket, maxConnections, allow, tls };
};
