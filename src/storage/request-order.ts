/**
 * Keeps requests that overlap in the order in which they arrived, where some of them take their time: a request that
 * meets an earlier one on the same sectors waits for it, unless both only read.
 */
export interface OrderedRequest {
  readonly sector: number;
  readonly count: number;
  readonly writes: boolean;
  /** Begins the request's work, which ends with `RequestOrder.finish`. */
  start(): void;
}

export class RequestOrder {
  readonly #running = new Set<OrderedRequest>();
  #waiting: OrderedRequest[] = [];
  #onIdle: (() => void) | undefined;

  /** Resolves when nothing runs or waits any more. */
  async whenIdle(): Promise<void> {
    while (!this.isIdle) {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve;
      });
    }
  }

  /** Whether anything runs or waits. Where nothing does, everything may be done at once: the hot path asks only this. */
  get isIdle(): boolean {
    return this.#running.size === 0;
  }

  /** Whether a request has to wait for one that runs or waits. */
  isBlocked(sector: number, count: number, writes: boolean): boolean {
    for (const other of this.#running) if (meets(other, sector, count, writes)) return true;
    return this.#waiting.some((other) => meets(other, sector, count, writes));
  }

  /** Starts the request now, or as soon as what it overlaps is finished. */
  begin(request: OrderedRequest): void {
    if (this.isBlocked(request.sector, request.count, request.writes)) {
      this.#waiting.push(request);
      return;
    }
    this.#running.add(request);
    request.start();
  }

  /** Ends a request that was started, and starts those that waited for it. */
  finish(request: OrderedRequest): void {
    this.#running.delete(request);
    if (this.#waiting.length === 0) {
      if (this.#running.size === 0) this.#onIdle?.();
      return;
    }
    const waiting = this.#waiting;
    this.#waiting = [];
    // Each goes back into the queue where an earlier one, running or still waiting, is in its way.
    for (const next of waiting) this.begin(next);
  }
}

const meets = (other: OrderedRequest, sector: number, count: number, writes: boolean): boolean =>
  (writes || other.writes) && sector < other.sector + other.count && other.sector < sector + count;
