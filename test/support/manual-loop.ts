/** An event loop whose time the test moves: nothing sleeps. */
import { replaceEventLoop, type EventLoop } from "../../src/base/event-loop.ts";
import { turnsOfLoop } from "./until.ts";

export interface ManualLoop extends Disposable {
  /** Milliseconds that were let go by. */
  readonly nowMs: number;
  /** Lets time go by, and does what falls due, in its order. */
  advance(ms: number): Promise<void>;
}

/** Puts itself in the place of the real one until it is disposed. */
export function manualLoop(): ManualLoop {
  const timers = new Set<{ dueMs: number; run: () => void }>();
  let nowMs = 0;
  const add = (dueMs: number, work: () => void): (() => void) => {
    const timer = {
      dueMs,
      run() {
        timers.delete(timer);
        work();
      },
    };
    timers.add(timer);
    return () => void timers.delete(timer);
  };
  const loop: EventLoop = {
    nowMs: () => nowMs,
    turn: () => new Promise((resolve) => void setImmediate(resolve)),
    after: (delayMs, work) => add(nowMs + delayMs, work),
    every(intervalMs, work) {
      let cancel = (): void => {};
      const again = (): void => {
        cancel = add(nowMs + intervalMs, () => {
          again();
          work();
        });
      };
      again();
      return () => cancel();
    },
  };
  const restore = replaceEventLoop(loop);
  return {
    get nowMs() {
      return nowMs;
    },
    async advance(ms) {
      const endMs = nowMs + ms;
      await turnsOfLoop(2);
      for (;;) {
        const due = [...timers].filter(({ dueMs }) => dueMs <= endMs).toSorted((a, b) => a.dueMs - b.dueMs)[0];
        if (due === undefined) break;
        nowMs = Math.max(nowMs, due.dueMs);
        due.run();
        await turnsOfLoop(2);
      }
      nowMs = endMs;
    },
    [Symbol.dispose]: restore,
  };
}
