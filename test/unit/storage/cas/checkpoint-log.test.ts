import { expect, test } from "bun:test";
import { checkpointLog } from "../../../../src/storage/cas/checkpoint-log.ts";

function bed() {
  const clock = { nowMs: 1_700_000_000_000, monotonicMs: 50 };
  const log = checkpointLog(
    () => clock.nowMs,
    () => clock.monotonicMs,
  );
  const fail = (message: string): Promise<void> =>
    log.measured(() => Promise.reject(new Error(message))).catch((error: Error) => expect(error.message).toBe(message));
  return { clock, log, fail };
}

test("a checkpoint under way is known by how long it takes, and once completed by how long it took", async () => {
  const { clock, log } = bed();
  const end = Promise.withResolvers<string>();
  const work = log.measured(() => end.promise);
  clock.monotonicMs += 700;
  expect(log.statistics()).toMatchObject({ runningMs: 700, completed: 0, lastMs: undefined });
  end.resolve("done");
  expect(await work).toBe("done");
  clock.monotonicMs += 5000;
  expect(log.statistics()).toEqual({
    runningMs: undefined,
    completed: 1,
    failed: 0,
    lastMs: 700,
    failure: undefined,
  });
});

test("failures are counted, told with the newest reason since the first one, and over with the next success", async () => {
  const { clock, log, fail } = bed();
  await fail("ENOSPC");
  clock.nowMs += 60_000;
  await fail("EIO");
  expect(log.statistics()).toMatchObject({ failed: 2, failure: { message: "EIO", sinceMs: 1_700_000_000_000 } });
  await log.measured(() => Promise.resolve());
  expect(log.statistics()).toMatchObject({ completed: 1, failed: 2, failure: undefined });
  clock.nowMs += 60_000;
  await fail("EIO");
  expect(log.statistics().failure?.sinceMs).toBe(1_700_000_120_000);
});
