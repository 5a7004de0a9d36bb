/** Opens what clients connect to. Errors say what is in the way, and what to do. */
import type { SocketHandler } from "bun";
import { lstatSync, unlinkSync } from "node:fs";
import { connect } from "node:net";
import { formatListenAddress, type ListenAddress } from "../../base/listen-address.ts";

export interface Listener {
  readonly port: number;
  /** Lets nobody in any more; who is in stays. */
  stop(): void;
}

/** Listens on TCP. Throws where that cannot be. */
export function listenTcp(bind: ListenAddress, handler: SocketHandler<undefined>): Listener {
  try {
    const listener = Bun.listen({ hostname: bind.host, port: bind.port, exclusive: true, socket: handler });
    return { port: listener.port, stop: () => listener.stop() };
  } catch (error) {
    throw new Error(`cannot serve NBD on ${formatListenAddress(bind)}: ${reasonOf(error)}`, { cause: error });
  }
}

function reasonOf(error: unknown): string {
  switch ((error as { code?: string }).code) {
    case "EADDRINUSE":
      return "something else listens there. Stop it, or set [nbd] bind to another port.";
    case "EADDRNOTAVAIL":
      return "this host has no such address. Set [nbd] bind to one of its own.";
    case "EACCES":
      return "this user may not listen on that port. Set [nbd] bind to a port of 1024 or more.";
    default:
      return error instanceof Error ? error.message : String(error);
  }
}

/**
 * Listens on a unix socket that only this user and root can open. Rejects where that cannot be, or where another server
 * has it; one that was left behind is replaced.
 */
export async function listenUnix(path: string, handler: SocketHandler<undefined>): Promise<Listener> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found !== undefined) {
    if (!found.isSocket()) {
      throw new Error(`${path} is in the way of the NBD socket and is no socket. Remove it, or set [nbd] socket.`);
    }
    if (await isAlive(path)) {
      throw new Error(`another server listens on the NBD socket ${path}. Stop it, or set [nbd] socket.`);
    }
    unlinkSync(path);
  }
  // The mode has to be right from the first moment, not from a chmod later on.
  const umask = process.umask(0o177);
  try {
    const listener = Bun.listen({ unix: path, socket: handler });
    return { port: 0, stop: () => listener.stop() };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(
      `cannot serve NBD on the socket ${path}: ${reason}. Set [nbd] socket to a path in a directory that this user may write.`,
      { cause: error },
    );
  } finally {
    process.umask(umask);
  }
}

/** Whether someone listens on a socket. Where that cannot be told, someone else's socket is left in peace. */
function isAlive(path: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect(path);
  socket.once("connect", () => resolve(true));
  socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code !== "ECONNREFUSED"));
  return promise.finally(() => socket.destroy());
}
