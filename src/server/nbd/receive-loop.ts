/**
 * Receives from the connections that are busy, again and again, before the event loop sleeps: a client that was just
 * answered asks again within microseconds, and a wake-up costs more than a look.
 *
 * While a client writes much, Bun is kept from it: it would receive half a megabyte into memory of its own, copy that into
 * memory that it takes anew each time, and have it copied from there. SIGIO says instead when there is more.
 */
import { armSignals, ownSignals } from "../../../ffi/signal-io.ts";
import type { Connection } from "./connection.ts";

/** Looked for more since the last that came; then the event loop says when there is some. */
const SPIN_MS = 0.03;
/** Work before others get their turn. */
const TURN_MS = 0.25;
/** With more busy connections than this there is enough to do without looking. */
const SPIN_MOST_CONNECTIONS = 8;
/** How often is looked whether a signal was missed. */
const HEARTBEAT_MS = 100;

export interface ReceiveLoop {
  /** A connection has just brought something: it is likely to bring more, or has more than was taken at once. */
  follow(connection: Connection): void;
  forget(connection: Connection): void;
  close(): void;
}

export function createReceiveLoop(): ReceiveLoop {
  const busy = new Set<Connection>();
  /** Those of which SIGIO tells. */
  const awaited = new Set<Connection>();
  /** Those whose SIGIO comes to this thread. */
  const owned = new WeakSet<Connection>();
  let heartbeat: Timer | undefined;
  let isScheduled = false;
  let isRunning = false;

  const schedule = (): void => {
    if (isScheduled) return;
    isScheduled = true;
    setImmediate(run);
  };

  const run = (): void => {
    isScheduled = false;
    isRunning = true;
    const startMs = performance.now();
    let lastMs = startMs;
    for (;;) {
      let received = 0;
      let isWaiting = false;
      for (const connection of busy) {
        received += connection.receive();
        isWaiting ||= connection.isWaiting;
      }
      const nowMs = performance.now();
      if (received > 0) {
        lastMs = nowMs;
        // A storage's answers, and room in a socket, come through the event loop.
        if (!isWaiting && nowMs - startMs <= TURN_MS) continue;
        schedule();
        break;
      }
      if (isWaiting || busy.size > SPIN_MOST_CONNECTIONS || nowMs - lastMs > SPIN_MS) break;
    }
    for (const connection of busy) connection.endTurn();
    isRunning = false;
    for (const connection of busy) connection.receiveDirectly(connection.isBulk);
    if (!isScheduled) sleep();
  };

  /** Leaves it to Bun, or to SIGIO, to say when there is more. */
  const sleep = (): void => {
    for (const connection of busy) {
      if (connection.isBulk) awaitSignal(connection);
      if (!isScheduled) busy.delete(connection);
    }
  };

  const awaitSignal = (connection: Connection): void => {
    const { fd } = connection.socket;
    heartbeat ??= setInterval(wake, HEARTBEAT_MS);
    if (!owned.has(connection)) {
      ownSignals(fd);
      owned.add(connection);
    }
    awaited.add(connection);
    armSignals(fd, true);
    // What arrived before the signal was asked for gives none.
    if (connection.receive() === 0) return;
    schedule();
    // The turn of all connections is over already.
    connection.endTurn();
  };

  /** Looks at all that are awaited: a signal does not say whose it is. */
  const wake = (): void => {
    for (const connection of awaited) {
      if (!connection.isClosed) armSignals(connection.socket.fd, false);
      busy.add(connection);
    }
    awaited.clear();
    clearInterval(heartbeat);
    heartbeat = undefined;
    if (busy.size > 0 && !isScheduled && !isRunning) run();
  };
  process.on("SIGIO", wake);

  return {
    follow(connection) {
      if (!connection.canReceive) {
        connection.endTurn();
        return;
      }
      busy.add(connection);
      if (isRunning) return;
      // Others have their turn before the loop has: what was lent must have left by then.
      if (isScheduled) connection.endTurn();
      else run();
    },
    forget(connection) {
      busy.delete(connection);
      awaited.delete(connection);
    },
    close() {
      clearInterval(heartbeat);
      process.off("SIGIO", wake);
    },
  };
}

// One that is armed may still send when the last loop is gone, and the default action of the signal ends the process.
process.on("SIGIO", () => {});
