/**
 * The event loop of a simulation: time goes from one event to the next, and what takes how long is the seed's choice.
 * What happens between two events, in microtasks, is always the same, so a seed repeats a run exactly.
 */
import { type EventLoop, replaceEventLoop } from "../../src/base/event-loop.ts";
import type { SeededRandom } from "../support/seeded-random.ts";

interface Event {
  readonly dueMs: number;
  readonly run: () => void;
  /** Whether a simulation that has nothing else to wait for is stuck. */
  readonly isBackground: boolean;
}

/** So many events of background work in a row, and nothing else, mean that what is waited for will not come. */
const STUCK_EVENTS = 1000;

/** What is waited for cannot happen any more: nothing is under way. */
export class Stuck extends Error {
  constructor(what: string) {
    super(`${what} never ends: nothing is under way that it could wait for`);
    this.name = "Stuck";
  }
}

const microtasks = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export class SimulatedLoop implements EventLoop {
  #nowMs = 0;
  /** In the order in which they were added. */
  readonly #events: Event[] = [];

  constructor(readonly random: SeededRandom) {}

  /** Looking at the clock takes time too, so that work which looks at it gives way here and there. */
  nowMs(): number {
    this.#nowMs += this.random.chance(0.1) ? 0.3 : 0.01;
    return this.#nowMs;
  }

  /** The time, without taking any. */
  get elapsedMs(): number {
    return this.#nowMs;
  }

  /** Lets time go by, with whatever happens in it. */
  async pause(durationMs: number): Promise<void> {
    await this.until("a pause", new Promise<void>((resolve) => void this.after(durationMs, resolve)));
  }

  turn(): Promise<void> {
    return new Promise((resolve) => void this.after(0, resolve));
  }

  after(delayMs: number, work: () => void): () => void {
    return this.#add({ dueMs: this.#nowMs + delayMs, run: work, isBackground: false });
  }

  every(intervalMs: number, work: () => void): () => void {
    let cancel = (): void => {};
    const next = (): void => {
      cancel = this.#add({
        dueMs: this.#nowMs + intervalMs,
        isBackground: true,
        run() {
          next();
          work();
        },
      });
    };
    next();
    return () => cancel();
  }

  /** Does `work` once a call to a medium could have ended: mostly soon, sometimes after everything else. */
  afterCall(work: () => void): () => void {
    const delayMs = this.random.chance(0.05) ? this.random.below(40) : this.random.below(400) / 200;
    return this.after(delayMs, work);
  }

  /** Runs the present microtasks, and then so many events, or as many as there are. */
  async pass(events: number): Promise<void> {
    await microtasks();
    for (let done = 0; done < events && this.#step() !== undefined; done++) await microtasks();
  }

  /** Runs events until a promise settles, and settles as it does. Rejects with `Stuck` where none could settle it. */
  async until<T>(what: string, promise: Promise<T>): Promise<T> {
    const state = { isSettled: false };
    const settle = (): void => void (state.isSettled = true);
    promise.then(settle, settle);
    await microtasks();
    for (let background = 0; !state.isSettled;) {
      const event = this.#step();
      background = event?.isBackground === true ? background + 1 : 0;
      if (event === undefined || background > STUCK_EVENTS) throw new Stuck(what);
      await microtasks();
    }
    return promise;
  }

  /** Does `work` with this loop in the place of the real one. */
  async running<T>(work: () => Promise<T>): Promise<T> {
    const restore = replaceEventLoop(this);
    try {
      return await work();
    } finally {
      restore();
    }
  }

  #add(event: Event): () => void {
    this.#events.push(event);
    return () => {
      const at = this.#events.indexOf(event);
      if (at >= 0) this.#events.splice(at, 1);
    };
  }

  #step(): Event | undefined {
    let next = 0;
    for (let at = 1; at < this.#events.length; at++) {
      if (this.#events[at]!.dueMs < this.#events[next]!.dueMs) next = at;
    }
    const event = this.#events[next];
    if (event === undefined) return undefined;
    this.#events.splice(next, 1);
    this.#nowMs = Math.max(this.#nowMs, event.dueMs);
    event.run();
    return event;
  }
}
