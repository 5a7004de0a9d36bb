/**
 * The archive against crashes, by seed: 25 seeds, or 200 where VOE_TEST_FULL=1 is set. A failure names its seed;
 * VOE_SEED=<seed> runs that one alone.
 */
import { expect, test } from "bun:test";
import { runArchive, runLostJournal, type Tally } from "./archive-schedule.ts";

const only = process.env["VOE_SEED"];
const seedCount = process.env["VOE_TEST_FULL"] === "1" ? 200 : 25;
const seeds = only === undefined ? Array.from({ length: seedCount }, (_, index) => index + 1) : [Number(only)];

test(`after any crash a volume is a prefix of its writes, with every durable one (${seeds.length} seeds)`, async () => {
  const tally: Tally = {};
  for (const seed of seeds) {
    await runArchive(seed, tally).catch((error: unknown) => {
      throw new Error(`seed ${seed} (VOE_SEED=${seed} runs it alone): ${String(error)}`, { cause: error });
    });
  }
  if (only !== undefined) return;
  const events = ["writes", "discards", "flushes", "checkpoints", "reads", "power cuts", "kills", "orderly ends"];
  expect(events.filter((event) => (tally[event] ?? 0) < seedCount / 4)).toEqual([]);
  expect(tally["recoveries that lost something"] ?? 0).toBeGreaterThan(0);
}, 300_000);

test("an archive whose state directory is empty is refused, and not served as if nothing were missing", async () => {
  const { first, second } = await runLostJournal();
  expect(first).toContain("holds no journal");
  // The attempt must not have left a journal behind that a second one takes for the right one.
  expect(second).toContain("holds no journal");
});
