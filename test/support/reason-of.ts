/** The message of the error that a promise rejects with; empty when it does not reject. */
export const reasonOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "",
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  );
