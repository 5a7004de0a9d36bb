/** Waits, turn by turn of the event loop, until something is so. Throws where that takes more than five seconds. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const endMs = performance.now() + 5000;
  while (!(await condition())) {
    if (performance.now() > endMs) throw new Error(`after five seconds this is not so: ${condition.toString()}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Gives everything that is ready its turn of the event loop, `count` times. */
export async function turnsOfLoop(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}
