/** Time and turns, as everything that is simulated has them: the event loop's, or those of a simulation. */
export interface EventLoop {
  /** Milliseconds since any moment, never going back. */
  nowMs(): number;
  /** Resolves when whatever else waits for the event loop has had its turn. */
  turn(): Promise<void>;
  /** Calls `work` once, after so many milliseconds, unless the function that it returns is called before. */
  after(delayMs: number, work: () => void): () => void;
  /** Calls `work` again and again, until the function that it returns is called. Keeps no process alive. */
  every(intervalMs: number, work: () => void): () => void;
}

const realEventLoop: EventLoop = {
  nowMs: () => performance.now(),
  turn: () =>
    new Promise((resolve) => {
      setImmediate(resolve);
    }),
  after(delayMs, work) {
    const timer = setTimeout(work, delayMs);
    return () => clearTimeout(timer);
  },
  every(intervalMs, work) {
    const timer = setInterval(work, intervalMs);
    timer.unref();
    return () => clearInterval(timer);
  },
};

/** Of the one thread that does everything: so it is one for all, and is not handed through every function. */
export let eventLoop: EventLoop = realEventLoop;

/** Puts a simulation's in its place until the function that it returns is called. For tests. */
export function replaceEventLoop(loop: EventLoop): () => void {
  eventLoop = loop;
  return () => {
    eventLoop = realEventLoop;
  };
}
