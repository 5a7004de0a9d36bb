/** Nodes that are read ahead of where a tree is being traversed. */
const AHEAD = 16;

/**
 * What `next` begins, in order, up to 16 begun before they are asked for: a traversal waits for the first
 * node of a row and not for each. `next` returns undefined when there are no more.
 */
export class Lookahead<T> {
  readonly #begun: T[] = [];
  readonly #next: () => T | undefined;
  #isAtEnd = false;

  constructor(next: () => T | undefined) {
    this.#next = next;
  }

  take(): T | undefined {
    while (!this.#isAtEnd && this.#begun.length < AHEAD) {
      const item = this.#next();
      if (item === undefined) this.#isAtEnd = true;
      else this.#begun.push(item);
    }
    return this.#begun.shift();
  }
}

/** A promise whose rejection may come before anyone waits for it, or without anyone ever doing so. */
export function awaitedLater<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}
