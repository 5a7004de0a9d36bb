/** NBD: listeners on TCP and on a unix socket, and the connections that come through them. */
import type { Socket, SocketHandler } from "bun";
import { formatListenAddress } from "../../base/listen-address.ts";
import type { NbdConfig } from "../../config/config.ts";
import type { NbdConnectionStatus, NbdStatus } from "../../control/status.ts";
import type { ServedTarget } from "../served-target.ts";
import type { TargetFace } from "../target-set.ts";
import { createBufferPool } from "./buffer-pool.ts";
import { connectionSocket } from "./bun-socket.ts";
import { addressFilter, plainAddress } from "./client-address.ts";
import { Connection } from "./connection.ts";
import { exportTable, nbdTarget, type NbdTarget } from "./exports.ts";
import { listenTcp, listenUnix, type Listener } from "./listener.ts";
import { createReceiveLoop } from "./receive-loop.ts";
import type { ReplyQueue } from "./reply-queue.ts";
import { clientNameOf, loadTls, upgrade } from "./tls.ts";

/** What a client has for the handshake, TLS's among it. */
const HANDSHAKE_MS = 10_000;
/** Memory for the data of all clients' large requests. */
const BUFFERS_MOST_BYTES = 512 * 2 ** 20;
/** How long a client may hold memory that others wait for without anything moving. */
const STUCK_MS = 10_000;
const STUCK_CHECK_MS = 1000;
/** How long clients are told of a shutdown before their connections end. */
const FAREWELL_MS = 250;
/** A connection that has failed without a word is found within minutes: 60 s, and the kernel's probes. */
const KEEPALIVE_MS = 60_000;

export interface NbdServer extends TargetFace {
  /** Where TCP is listened, with the port that the kernel chose; undefined: nowhere. */
  readonly address: { readonly host: string; readonly port: number } | undefined;
  readonly socketPath: string | undefined;
  /** Ends the connections to a target: what is in flight is answered, and what comes after it with ESHUTDOWN. */
  removeTarget(target: ServedTarget): void;
  status(): NbdStatus;
  /** Ends all connections in the same way, and waits for that, but no longer than this. */
  close(timeoutMs: number): Promise<void>;
}

/** Where a connection came in, and since when it has been without progress. */
interface Guest {
  readonly connection: Connection;
  readonly isLocal: boolean;
  readonly sinceMs: number;
  readonly deadline: Timer;
  progress: number;
  progressMs: number;
}

/** Opens the listeners. Rejects where one cannot be opened, or a certificate cannot be read. */
export async function openNbdServer(
  config: NbdConfig,
  initialTargets: readonly ServedTarget[],
  report: (key: string, message: string) => void,
  handshakeMs = HANDSHAKE_MS,
): Promise<NbdServer> {
  const tls = config.tls === undefined ? undefined : loadTls(config.tls);
  const isAllowed = addressFilter(config.allow);
  let targets: readonly NbdTarget[] = initialTargets.map(nbdTarget);
  const guests = new Map<Connection, Guest>();
  const connections = new WeakMap<Socket, Connection>();
  const lending = new Set<ReplyQueue>();
  const pool = createBufferPool(BUFFERS_MOST_BYTES, () =>
    queueMicrotask(() => {
      for (const connection of guests.keys()) connection.advance();
    }),
  );
  const loop = createReceiveLoop();
  let isClosing = false;
  let accepted = 0;
  let refused = 0;
  let onEmpty: (() => void) | undefined;

  const refuse = (socket: Socket, key: string, message: string): void => {
    refused++;
    report(`nbd:${key}`, message);
    socket.terminate();
  };

  const handshakeOver = (connection: Connection): void => {
    clearTimeout(guests.get(connection)?.deadline);
    if (!isServed(connection)) connection.farewell(0);
  };
  const isServed = (connection: Connection): boolean =>
    targets.some(({ nbdExport }) => nbdExport === connection.export);

  const opened = (socket: Socket, isLocal: boolean): void => {
    const host = isLocal ? "" : plainAddress(socket.remoteAddress);
    if (isClosing) {
      socket.terminate();
    } else if (!isLocal && !isAllowed(host)) {
      refuse(socket, "allow", `NBD: a connection from ${host} was refused: [nbd] allow does not have it`);
    } else if (guests.size >= config.maxConnections) {
      const bound = `there are ${guests.size} already, as many as [nbd] max_connections allows`;
      refuse(socket, "full", `NBD: a connection from ${isLocal ? "the unix socket" : host} was refused: ${bound}`);
    } else {
      welcome(socket, isLocal, isLocal ? "unix" : `${host.includes(":") ? `[${host}]` : host}:${socket.remotePort}`);
    }
  };

  const welcome = (socket: Socket, isLocal: boolean, client: string): void => {
    accepted++;
    if (!isLocal) {
      // Bun leaves Nagle's algorithm off, but says so nowhere.
      socket.setNoDelay(true);
      socket.setKeepAlive(true, KEEPALIVE_MS);
    }
    const connection = new Connection(connectionSocket(socket, false), {
      client,
      pool,
      lending,
      exports: (name) => exportTable(targets, { name, isLocal }),
      tls: tls === undefined || isLocal ? "off" : "required",
      isShuttingDown: () => isClosing,
      startTls: (upgraded) => upgrade(socket, tls!, tlsHandler(upgraded)),
      report: (message) => report(`nbd:${client}`, `NBD: ${message}`),
      onMore: (busy) => loop.follow(busy),
      onTransmission: handshakeOver,
    });
    const deadline = setTimeout(
      () => connection.drop(`its handshake took longer than ${handshakeMs / 1000} s`),
      handshakeMs,
    );
    deadline.unref();
    const nowMs = performance.now();
    guests.set(connection, { connection, isLocal, sinceMs: nowMs, deadline, progress: 0, progressMs: nowMs });
    connections.set(socket, connection);
  };

  const closed = (connection: Connection | undefined): void => {
    const guest = connection === undefined ? undefined : guests.get(connection);
    if (guest === undefined) return;
    clearTimeout(guest.deadline);
    guests.delete(guest.connection);
    loop.forget(guest.connection);
    guest.connection.closed();
    if (guests.size === 0) onEmpty?.();
  };

  /** Takes what arrived, and what arrives until it has been dealt with. */
  const received = (connection: Connection, bytes: Uint8Array): void => {
    connection.take(bytes);
    loop.follow(connection);
  };

  const plainHandler = (isLocal: boolean): SocketHandler<undefined> => ({
    open: (socket) => opened(socket, isLocal),
    data(socket, bytes) {
      const connection = connections.get(socket);
      // After STARTTLS what is encrypted comes here as well.
      if (connection !== undefined && !connection.isSecuring) received(connection, bytes);
    },
    drain: (socket) => connections.get(socket)?.advance(),
    close: (socket) => closed(connections.get(socket)),
    error(socket) {
      socket.terminate();
      closed(connections.get(socket));
    },
  });

  const tlsHandler = (connection: Connection): SocketHandler<undefined> => ({
    handshake(socket, success, error) {
      if (!success || error !== null || !socket.authorized) {
        connection.drop(`its TLS handshake failed: ${error?.message ?? "its certificate is not one of client_ca"}`);
        return;
      }
      connection.secured(connectionSocket(socket, true), clientNameOf(socket));
    },
    data(_, bytes) {
      if (connection.isSecure) received(connection, bytes);
    },
    drain: () => connection.advance(),
    close: () => closed(connection),
    error(socket) {
      socket.terminate();
      closed(connection);
    },
  });

  const listeners: Listener[] = [];
  let address: NbdServer["address"];
  try {
    if (config.bind !== undefined) {
      const listener = listenTcp(config.bind, plainHandler(false));
      listeners.push(listener);
      address = { host: config.bind.host, port: listener.port };
    }
    if (config.socket !== undefined) listeners.push(await listenUnix(config.socket, plainHandler(true)));
  } catch (error) {
    for (const listener of listeners) listener.stop();
    throw error;
  }

  const stuckCheck = setInterval(() => {
    const nowMs = performance.now();
    for (const guest of guests.values()) {
      const { connection } = guest;
      if (connection.progress !== guest.progress || !connection.holdsMemory) {
        guest.progress = connection.progress;
        guest.progressMs = nowMs;
      } else if (pool.isShort && nowMs - guest.progressMs > STUCK_MS) {
        connection.drop(`it has neither taken nor sent anything for ${STUCK_MS / 1000} s, and others need its memory`);
      }
    }
  }, STUCK_CHECK_MS);
  stuckCheck.unref();

  const connectionStatus = ({ connection, sinceMs }: Guest): NbdConnectionStatus => {
    const { transmission } = connection;
    const counters = transmission?.counters;
    return {
      client: connection.client,
      export: connection.export?.name ?? "",
      tls: connection.isSecure,
      name: connection.clientName ?? "",
      requests: counters?.requests ?? 0,
      readBytes: counters?.readBytes ?? 0,
      writtenBytes: counters?.writtenBytes ?? 0,
      inFlight: transmission?.inFlight ?? 0,
      connectedSeconds: (performance.now() - sinceMs) / 1000,
    };
  };

  return {
    address,
    socketPath: config.socket,
    addTarget(target) {
      targets = [...targets, nbdTarget(target)];
    },
    removeTarget(target) {
      targets = targets.filter((each) => each.target !== target);
      for (const { connection } of guests.values()) {
        if (connection.export !== undefined && !isServed(connection)) connection.farewell(FAREWELL_MS);
      }
    },
    // Clients are told of a size when they come; a larger one is there for who asks.
    resized() {},
    status: () => ({
      address: address === undefined ? "" : formatListenAddress(address),
      socket: config.socket ?? "",
      tls: tls === undefined ? "off" : "required",
      exports: targets.length,
      connections: [...guests.values()].map(connectionStatus),
      connectionsLimit: config.maxConnections,
      acceptedConnections: accepted,
      refusedConnections: refused,
      bufferBytes: pool.usedBytes,
    }),
    async close(timeoutMs) {
      isClosing = true;
      clearInterval(stuckCheck);
      for (const listener of listeners) listener.stop();
      for (const { connection } of guests.values()) connection.farewell(FAREWELL_MS);
      if (guests.size > 0) {
        const empty = new Promise<void>((resolve) => {
          onEmpty = resolve;
        });
        await Promise.race([empty, Bun.sleep(timeoutMs)]);
        for (const connection of guests.keys()) connection.drop("it did not end in time");
        await Promise.race([empty, Bun.sleep(FAREWELL_MS)]);
      }
      loop.close();
      pool.close();
    },
  };
}
