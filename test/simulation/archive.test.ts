/**
 * The archive against crashes and faults, by seed: 15 seeds, or 2,000 where VOE_TEST_FULL=1 is set. A failure names its
 * seed; `npm run simulate -- --seed <seed>` runs that one alone.
 */
import { expect, test } from "bun:test";
import { allocatedMemoryBytes } from "../../ffi/memory.ts";
import { ArchiveRun, runArchive } from "./archive-schedule.ts";
import { BLOBS, STATE, type Tally } from "./archive-world.ts";

const seedCount = process.env["VOE_TEST_FULL"] === "1" ? 2000 : 15;
const TIMEOUT_MS = 600_000;

test(
  `after any crash or fault every volume is a prefix of its writes, with every durable one (${seedCount} seeds)`,
  async () => {
    const tally: Tally = {};
    for (let seed = 1; seed <= seedCount; seed++) {
      await runArchive(seed, tally).catch((error: unknown) => {
        throw new Error(`seed ${seed} (npm run simulate -- --seed ${seed}): ${String(error)}`, { cause: error });
      });
    }
    const events = ["writes", "discards", "flushes", "checkpoints", "reads", "power cuts", "kills", "orderly ends"];
    expect(events.filter((event) => (tally[event] ?? 0) < seedCount / 4)).toEqual([]);
    expect(tally["recoveries that lost something"] ?? 0).toBeGreaterThan(0);
  },
  TIMEOUT_MS,
);

const stride = process.env["VOE_TEST_FULL"] === "1" ? 1 : 12;

test(
  `a crash at any single call of the disk loses nothing that was durable (every ${stride}. call)`,
  async () => {
    for (const seed of [11, 12]) {
      let crashes = 0;
      for (let call = seed % stride, isReached = true; isReached; call += stride) {
        const run = new ArchiveRun(seed, {});
        await run.world.running(async () => {
          isReached = await run.crashAtCall(call, call % 4 !== 3).catch((error: unknown) => {
            throw new Error(`seed ${seed}, a crash at call ${call}: ${String(error)}`, { cause: error });
          });
        });
        crashes++;
      }
      expect(crashes).toBeGreaterThan(300 / stride);
    }
  },
  TIMEOUT_MS,
);

/** Hash of everything that a run does to its disk, in its order. */
async function traceOf(seed: number): Promise<{ trace: bigint; calls: number }> {
  const run = new ArchiveRun(seed, {});
  let trace = 0n;
  let calls = 0;
  run.world.disk.observe = (call, data) => {
    calls++;
    trace = Bun.hash(call, trace);
    if (data !== undefined) trace = Bun.hash(data, trace);
  };
  await run.world.running(() => run.run());
  return { trace, calls };
}

test("the same seed does the same to the disk, call by call", async () => {
  for (const seed of [3, 4]) {
    const first = await traceOf(seed);
    expect(first.calls).toBeGreaterThan(500);
    expect(await traceOf(seed)).toEqual(first);
  }
  expect((await traceOf(3)).trace).not.toBe((await traceOf(4)).trace);
}, 60_000);

test(
  "an archive gives its memory back, however its process ends",
  async () => {
    const run = async (from: number, to: number): Promise<number> => {
      for (let seed = from; seed <= to; seed++) await runArchive(seed, {});
      return allocatedMemoryBytes();
    };
    // What is kept for reuse grows with what there ever was at once, and so at the beginning.
    const before = await run(1, 8);
    expect((await run(9, 14)) - before).toBeLessThan(1 << 20);
  },
  TIMEOUT_MS,
);

/** Writes to an archive and closes it; then opens it with these directories, twice: how that ends. */
async function reopenedWith(stateDirectory: string, blobDirectory: string): Promise<string[]> {
  const { client, world } = new ArchiveRun(1, {});
  const endings: string[] = [];
  await world.running(async () => {
    await world.prepare();
    await world.open();
    for (let step = 0; step < 30; step++) client.act();
    await client.settle();
    await world.close();
    for (const directory of ["/other-state", "/other-blobs"]) world.disk.makeDirectory(directory);
    for (let attempt = 0; attempt < 2; attempt++) {
      endings.push(
        await world.open(stateDirectory, blobDirectory).then(
          () => "opened",
          (error: Error) => error.message,
        ),
      );
      if (endings.at(-1) === "opened") await world.close();
    }
    // Whatever was refused has changed nothing.
    if (!endings.includes("opened")) {
      await world.open();
      await client.verifyPresent();
      await world.close();
    }
  });
  return endings;
}

test("an archive is refused with a state directory that is empty, or another one", async () => {
  for (const ending of await reopenedWith("/other-state", BLOBS)) expect(ending).toContain("has no claim to it");
});

test("an archive is refused with a blob store that is empty", async () => {
  for (const ending of await reopenedWith(STATE, "/other-blobs")) expect(ending).toContain("lacks the volume");
});

test("an archive that nothing is wrong with opens", async () => {
  expect(await reopenedWith(STATE, BLOBS)).toEqual(["opened", "opened"]);
});
