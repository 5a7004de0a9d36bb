import { describe, expect, test } from "bun:test";
import { MEDIUM_ERROR, OK, type StorageStatus } from "../../../src/storage/block-storage.ts";
import { SyncPolicy, type SyncMode } from "../../../src/storage/sync-policy.ts";
import { reasonOf } from "../../support/reason-of.ts";
import { ended } from "../../support/storage-requests.ts";

/** A policy over a medium whose syncs end when the test says so. */
function policyUnderTest(mode: SyncMode) {
  const syncs: PromiseWithResolvers<void>[] = [];
  const failures: Error[] = [];
  const policy = new SyncPolicy(
    mode,
    () => {
      const sync = Promise.withResolvers<void>();
      syncs.push(sync);
      return sync.promise;
    },
    (error) => failures.push(error),
  );
  const told: StorageStatus[] = [];
  return {
    policy,
    /** Every sync that has begun. */
    syncs,
    failures,
    /** What completions were told so far, in that order. */
    told,
    commit: () => policy.commit({ complete: (status) => void told.push(status) }),
  };
}

/** Lets everything happen that waits for nothing outside. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const until = async (condition: () => boolean): Promise<void> => {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
};

const ALWAYS: SyncMode = { kind: "always" };
const SHORT: SyncMode = { kind: "interval", intervalMs: 10 };

describe("group commit", () => {
  test("one sync covers all that came before it began, and none is told before it ends", async () => {
    const { commit, syncs, told } = policyUnderTest(ALWAYS);
    for (let i = 0; i < 5; i++) commit();
    expect(syncs.length).toBe(0);
    await settle();
    expect([syncs.length, told.length]).toEqual([1, 0]);
    syncs[0]!.resolve();
    await settle();
    expect(told).toEqual([OK, OK, OK, OK, OK]);
    expect(syncs.length).toBe(1);
  });

  test("what comes while a sync runs is covered by the next one, never by the one that runs", async () => {
    const { commit, syncs, told } = policyUnderTest(ALWAYS);
    commit();
    await settle();
    for (let i = 0; i < 3; i++) {
      commit();
      await settle();
    }
    expect(syncs.length).toBe(1);
    syncs[0]!.resolve();
    await settle();
    expect([syncs.length, told.length]).toEqual([2, 1]);
    syncs[1]!.resolve();
    await settle();
    expect([syncs.length, told.length]).toEqual([2, 4]);
  });

  test("a completion that commits again as it is told gets a sync of its own", async () => {
    const { policy, syncs, told } = policyUnderTest(ALWAYS);
    const second = { complete: (status: StorageStatus) => void told.push(status) };
    policy.commit({ complete: () => policy.commit(second) });
    await settle();
    syncs[0]!.resolve();
    await settle();
    expect([syncs.length, told.length]).toEqual([2, 0]);
    syncs[1]!.resolve();
    await settle();
    expect(told).toEqual([OK]);
  });

  test("only `always` makes writes wait", () => {
    expect(policyUnderTest(ALWAYS).policy.waits).toBe(true);
    expect(policyUnderTest(SHORT).policy.waits).toBe(false);
    expect(policyUnderTest({ kind: "none" }).policy.waits).toBe(false);
  });
});

describe("an interval", () => {
  test("is the longest that a write waits for its sync, however many there are", async () => {
    const { policy, syncs } = policyUnderTest(SHORT);
    const startMs = performance.now();
    for (let i = 0; i < 100; i++) policy.wrote();
    await until(() => syncs.length > 0);
    expect(performance.now() - startMs).toBeGreaterThanOrEqual(8);
    expect(syncs.length).toBe(1);
    syncs[0]!.resolve();
    // Nothing was written since, so nothing is synced.
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(syncs.length).toBe(1);
  });

  test("begins again for what was written while a sync ran", async () => {
    const { policy, syncs } = policyUnderTest(SHORT);
    policy.wrote();
    await until(() => syncs.length === 1);
    policy.wrote();
    syncs[0]!.resolve();
    await until(() => syncs.length === 2);
    syncs[1]!.resolve();
  });

  test("does not keep a flush waiting", async () => {
    const { policy, commit, syncs, told } = policyUnderTest({ kind: "interval", intervalMs: 60_000 });
    policy.wrote();
    commit();
    await settle();
    expect(syncs.length).toBe(1);
    syncs[0]!.resolve();
    await settle();
    expect(told).toEqual([OK]);
    await policy.close();
  });
});

describe("a sync that fails", () => {
  test("fails every write that waited for it or came meanwhile, and every later one without another sync", async () => {
    const { policy, commit, syncs, told, failures } = policyUnderTest(ALWAYS);
    commit();
    commit();
    await settle();
    commit();
    syncs[0]!.reject(new Error("EIO"));
    await settle();
    expect(told).toEqual([MEDIUM_ERROR, MEDIUM_ERROR, MEDIUM_ERROR]);
    expect(await ended((completion) => policy.commit(completion))).toBe(MEDIUM_ERROR);
    expect(syncs.length).toBe(1);
    expect(failures.map((error) => error.message)).toEqual(["EIO"]);
    expect(policy.failure?.message).toBe("EIO");
  });

  test("in an interval is told at once and is as final", async () => {
    const { policy, syncs, failures } = policyUnderTest(SHORT);
    policy.wrote();
    while (syncs.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    syncs[0]!.reject(new Error("EIO"));
    await settle();
    expect(failures.length).toBe(1);
    expect(await ended((completion) => policy.commit(completion))).toBe(MEDIUM_ERROR);
    expect(syncs.length).toBe(1);
  });

  test("makes closing fail", async () => {
    const { policy, commit, syncs } = policyUnderTest(ALWAYS);
    commit();
    await settle();
    syncs[0]!.reject(new Error("EIO"));
    await settle();
    expect(await reasonOf(policy.close())).toBe("EIO");
  });
});

describe("closing", () => {
  test("syncs what was written and answered without one", async () => {
    for (const mode of [{ kind: "none" }, { kind: "interval", intervalMs: 60_000 }] as const) {
      const { policy, syncs } = policyUnderTest(mode);
      policy.wrote();
      const closed = policy.close();
      await settle();
      expect(syncs.length).toBe(1);
      syncs[0]!.resolve();
      await closed;
    }
  });

  test("rejects where that last sync fails", async () => {
    const { policy, syncs, failures } = policyUnderTest({ kind: "none" });
    policy.wrote();
    const closed = policy.close();
    await settle();
    syncs[0]!.reject(new Error("ENOSPC"));
    expect(await reasonOf(closed)).toBe("ENOSPC");
    await settle();
    expect(failures.length).toBe(1);
  });

  test("waits for the sync that runs, and syncs once more what was written meanwhile", async () => {
    const { policy, commit, syncs, told } = policyUnderTest(SHORT);
    commit();
    await settle();
    policy.wrote();
    let isClosed = false;
    const closed = policy.close().then(() => (isClosed = true));
    syncs[0]!.resolve();
    await settle();
    expect([isClosed, syncs.length, told.length]).toEqual([false, 2, 1]);
    syncs[1]!.resolve();
    await closed;
  });

  test("is the end of syncs: the descriptor may be another file's by then", async () => {
    const { policy, commit, syncs } = policyUnderTest(SHORT);
    commit();
    await settle();
    policy.wrote();
    const closed = policy.close();
    syncs[0]!.resolve();
    await settle();
    syncs[1]!.resolve();
    await closed;
    policy.wrote();
    expect(await ended((completion) => policy.commit(completion))).toBe(MEDIUM_ERROR);
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(syncs.length).toBe(2);
  });

  test("with nothing written syncs nothing", async () => {
    const { policy, syncs } = policyUnderTest({ kind: "none" });
    await policy.close();
    expect(syncs.length).toBe(0);
  });
});
