/** How long a transfer keeps the event loop before the requests of clients get their turn, as in the AoE loop. */
const TURN_MS = 0.25;

/** Returns what a loop awaits in each round: it gives up its turn of the event loop where that has lasted long enough. */
export function loopTurn(): () => Promise<void> | undefined {
  let beganMs = performance.now();
  return () => {
    if (performance.now() - beganMs < TURN_MS) return undefined;
    return new Promise((resolve) =>
      setImmediate(() => {
        beganMs = performance.now();
        resolve();
      }),
    );
  };
}
