/** Work that must not overlap, one after the other in the order in which it was asked for. */
export interface Turns {
  /** Does the work when all before it is done, and settles as it does. Rejects without doing it after `end`. */
  do<T>(work: () => Promise<T>): Promise<T>;
  /** Refuses further work, and waits for what was asked for before. */
  end(): Promise<void>;
}

export function createTurns(): Turns {
  let last: Promise<unknown> = Promise.resolve();
  let ended = false;
  return {
    do(work) {
      if (ended) return Promise.reject(new Error("the server is being stopped"));
      const done = last.then(work);
      last = done.catch(() => {});
      return done;
    },
    async end() {
      ended = true;
      await last;
    },
  };
}
