import { eventLoop } from "../../../base/event-loop.ts";

/** The event loop serves clients, whose requests must not wait for a checkpoint: after this long it has its turn. */
const SLICE_MS = 0.5;

/** Lets long work give way: `if (slice.isOver) await slice.giveWay()` costs a look at the clock until it is time. */
export class Slice {
  #untilMs = eventLoop.nowMs() + SLICE_MS;

  /** Whether it is time for `giveWay`. */
  get isOver(): boolean {
    return eventLoop.nowMs() >= this.#untilMs;
  }

  async giveWay(): Promise<void> {
    await eventLoop.turn();
    this.#untilMs = eventLoop.nowMs() + SLICE_MS;
  }
}

/**
 * Runs `work` on every item, in order, with at most `most` unfinished at a time; work that is done when it returns
 * costs no promise. After a failure no more is begun, and the promise rejects with the first one once the rest ended.
 */
export async function forEachBounded<T>(
  items: readonly T[],
  most: number,
  work: (item: T) => Promise<void> | undefined,
): Promise<void> {
  const slice = new Slice();
  const failures: unknown[] = [];
  const running = { count: 0, onOneDone: (): void => undefined };
  const oneDone = (): Promise<void> =>
    new Promise((resolve) => {
      running.onOneDone = resolve;
    });
  const done = (): void => {
    running.count--;
    running.onOneDone();
  };
  const failed = (error: unknown): void => {
    failures.push(error);
    done();
  };
  for (const item of items) {
    if (failures.length > 0) break;
    if (slice.isOver) await slice.giveWay();
    try {
      const working = work(item);
      if (working === undefined) continue;
      running.count++;
      working.then(done, failed);
    } catch (error) {
      failures.push(error);
    }
    while (running.count >= most) await oneDone();
  }
  while (running.count > 0) await oneDone();
  if (failures.length > 0) throw failures[0];
}
