/**
 * How long work, a verification or a checkpoint, shares the event loop. It works in slices; between them others have
 * their turn. Where they used it, it stays away for several times as long as it worked; where nobody wanted anything it
 * goes on at once.
 */
import { eventLoop } from "../../base/event-loop.ts";

/** Longest that a slice may take the event loop, roughly: the time of a few requests. */
const SLICE_MS = 0.5;
/** A turn of the event loop takes some 20 us when nobody has work. */
const BUSY_TURN_MS = 0.1;
/** Time left to others, in multiples of that of a slice: a busy server spends a fifth of its time on the work. */
const REST = 4;
/** Longest rest. A slice that had to wait for a medium seems to have worked all that time. */
const REST_MOST_MS = 20;

export interface Pace {
  /** Work begins, or goes on after it has waited for something: the time until now was none of it. */
  resume(): void;
  /** Whether it is time for `rest`. */
  readonly isDue: boolean;
  rest(): Promise<void>;
}

/** Lets everyone else go first, as on a server, for `restOf` times as long as it worked. */
export function clientsFirst(restOf: () => number = () => REST): Pace {
  let fromMs = eventLoop.nowMs();
  return {
    resume() {
      fromMs = eventLoop.nowMs();
    },
    get isDue() {
      return eventLoop.nowMs() - fromMs >= SLICE_MS;
    },
    async rest() {
      const beganMs = eventLoop.nowMs();
      const workedMs = beganMs - fromMs;
      await eventLoop.turn();
      const othersMs = eventLoop.nowMs() - beganMs;
      if (othersMs >= BUSY_TURN_MS) {
        const restMs = Math.min(REST_MOST_MS, Math.ceil(workedMs * restOf() - othersMs));
        if (restMs > 0) await new Promise<void>((resolve) => void eventLoop.after(restMs, resolve));
      }
      fromMs = eventLoop.nowMs();
    },
  };
}

/** Only lets signals and I/O have their turn, where there is nobody else. */
export function withoutClients(): Pace {
  let fromMs = eventLoop.nowMs();
  return {
    resume() {
      fromMs = eventLoop.nowMs();
    },
    get isDue() {
      return eventLoop.nowMs() - fromMs >= 10;
    },
    async rest() {
      await eventLoop.turn();
      fromMs = eventLoop.nowMs();
    },
  };
}
