/**
 * Receives from the connections that are busy, again and again, before the event loop sleeps: a client that was just
 * answered asks again within microseconds, and a wake-up costs more than a look.
 */
import type { Connection } from "./connection.ts";

/** Looked for more since the last that came; then the event loop says when there is some. */
const SPIN_MS = 0.03;
/** Work before others get their turn. */
const TURN_MS = 0.25;
/** With more busy connections than this there is enough to do without looking. */
const SPIN_MOST_CONNECTIONS = 8;

export interface ReceiveLoop {
  /** A connection has just brought something: it is likely to bring more. */
  follow(connection: Connection): void;
  forget(connection: Connection): void;
}

export function createReceiveLoop(): ReceiveLoop {
  const busy = new Set<Connection>();
  let isScheduled = false;
  let isRunning = false;

  const endTurn = (): void => {
    for (const connection of busy) connection.endTurn();
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
      if (received > 0) lastMs = nowMs;
      // A storage's answers, and room in a socket, come through the event loop.
      if (isWaiting || busy.size > SPIN_MOST_CONNECTIONS || nowMs - lastMs > SPIN_MS) break;
      if (nowMs - startMs > TURN_MS) {
        isScheduled = true;
        setImmediate(run);
        break;
      }
    }
    endTurn();
    if (!isScheduled) busy.clear();
    isRunning = false;
  };

  return {
    follow(connection) {
      busy.add(connection);
      if (!isScheduled && !isRunning) run();
    },
    forget: (connection) => void busy.delete(connection),
  };
}
