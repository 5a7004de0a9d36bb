/** Lets in as much as there is room for, in the order of arrival, and what is urgent before everything else. */

export interface Turnstile {
  /**
   * Resolves once there is room for `weight`, which `leave` gives back. What is heavier than all of the room is let in
   * alone. Rejects with the signal's reason while it waits.
   */
  enter(weight: number, urgent: boolean, signal?: AbortSignal): Promise<void>;
  leave(weight: number): void;
  /** Weight that is inside. */
  readonly inside: number;
  /** How many wait. */
  readonly waiting: number;
}

interface Waiter {
  readonly weight: number;
  readonly admit: () => void;
}

/** @param most the weight that may be inside. @param mostLesser the weight up to which what is not urgent may come in. */
export function turnstile(most: number, mostLesser = most): Turnstile {
  const urgentLine: Waiter[] = [];
  const lesserLine: Waiter[] = [];
  let inside = 0;

  const fits = (weight: number, limit: number): boolean => inside === 0 || inside + weight <= limit;

  const admitNext = (): void => {
    for (;;) {
      const line = urgentLine.length > 0 ? urgentLine : lesserLine;
      const first = line[0];
      if (first === undefined || !fits(first.weight, line === urgentLine ? most : mostLesser)) return;
      line.shift();
      inside += first.weight;
      first.admit();
    }
  };

  return {
    enter(weight, urgent, signal) {
      if (signal?.aborted === true) return Promise.reject(signal.reason as Error);
      const line = urgent ? urgentLine : lesserLine;
      return new Promise((resolve, reject) => {
        const give = (): void => {
          const at = line.indexOf(waiter);
          if (at < 0) return;
          line.splice(at, 1);
          reject(signal!.reason as Error);
          // It may have kept lighter ones behind it from coming in.
          admitNext();
        };
        const waiter: Waiter = {
          weight,
          admit() {
            signal?.removeEventListener("abort", give);
            resolve();
          },
        };
        signal?.addEventListener("abort", give, { once: true });
        line.push(waiter);
        admitNext();
      });
    },
    leave(weight) {
      inside -= weight;
      admitNext();
    },
    get inside() {
      return inside;
    },
    get waiting() {
      return urgentLine.length + lesserLine.length;
    },
  };
}
