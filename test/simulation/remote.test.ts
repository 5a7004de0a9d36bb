/**
 * The archive over a store that is far away, by seed. A failure names its seed; `npm run simulate -- --seed <seed>` runs
 * that one.
 */
import { expect, test } from "bun:test";
import { RemoteRun, runRemote } from "./remote-schedule.ts";
import type { Tally } from "./archive-world.ts";

const isFull = process.env["VOE_TEST_FULL"] === "1";
const seedCount = isFull ? 60 : 4;
const stride = isFull ? 2 : 30;
const TIMEOUT_MS = 600_000;

test(
  `what was published is there after any crash, with a host lost and with another that takes over (${seedCount} seeds)`,
  async () => {
    const tally: Tally = {};
    for (let seed = 1; seed <= seedCount; seed++) {
      await runRemote(seed, tally).catch((error: unknown) => {
        throw new Error(`seed ${seed}: ${String(error)}`, { cause: error });
      });
    }
    const events = ["hosts lost", "takeovers", "snapshots", "requests that arrived after their process had ended"];
    expect(events.filter((event) => (tally[event] ?? 0) < seedCount / 4)).toEqual([]);
  },
  TIMEOUT_MS,
);

test(
  `a host that is lost at any single call of the store loses nothing that was published (every ${stride}. call)`,
  async () => {
    for (const seed of [11, 12]) {
      let crashes = 0;
      for (let call = seed % stride, isReached = true; isReached; call += stride) {
        const run = new RemoteRun(seed, {});
        await run.world.running(async () => {
          isReached = await run.crashAtCall(call).catch((error: unknown) => {
            throw new Error(`seed ${seed}, a crash at call ${call}: ${String(error)}`, { cause: error });
          });
        });
        crashes++;
      }
      expect(crashes).toBeGreaterThan(50 / stride);
    }
  },
  TIMEOUT_MS,
);
