import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { BlobFailure } from "../../../../src/blob/blob-store.ts";
import { withRetry, type RetryOptions } from "../../../../src/blob/wrap/retry.ts";
import { failureOf, getBytes, listAll } from "../../../support/blob-requests.ts";
import { faultyStore } from "../../../support/faulty-store.ts";
import { manualLoop, type ManualLoop } from "../../../support/manual-loop.ts";
import { makeNamedBlob } from "../../../support/named-blob.ts";
import { reasonOf } from "../../../support/reason-of.ts";

const OPTIONS: RetryOptions = {
  mostAttempts: 5,
  mostMs: 60_000,
  firstPauseMs: 100,
  longestPauseMs: 1000,
  random: () => 1,
};
const blob = makeNamedBlob(1000, 1);
const bytesOf = (value: string): Uint8Array => new TextEncoder().encode(value);
const times = (count: number, failure: BlobFailure = "unavailable"): BlobFailure[] =>
  Array.from({ length: count }, () => failure);

describe("a store with retry", () => {
  let loop: ManualLoop;
  beforeEach(() => {
    loop = manualLoop();
  });
  afterEach(() => loop[Symbol.dispose]());

  test("an operation that is unavailable is tried again, later each time, until it is done", async () => {
    const faulty = faultyStore();
    const store = withRetry(faulty.store, OPTIONS);
    faulty.failures.push(...times(3));
    let isDone = false;
    const put = store.put(blob.name, blob.bytes).then(() => (isDone = true));
    const attempts: number[] = [];
    for (const ms of [99, 1, 199, 1, 399]) {
      await loop.advance(ms);
      attempts.push(faulty.requests.length);
    }
    expect(attempts).toEqual([1, 2, 2, 3, 3]);
    expect(isDone).toBe(false);
    await loop.advance(1);
    await put;
    expect(faulty.contents.blobs.has(blob.name)).toBe(true);
  });

  test("the number of attempts is bounded, and the last failure is told", async () => {
    const faulty = faultyStore();
    faulty.failures.push(...times(20));
    const failing = failureOf(withRetry(faulty.store, OPTIONS).size(blob.name));
    await loop.advance(10_000);
    expect(await failing).toBe("unavailable");
    expect(faulty.requests.length).toBe(5);
  });

  test("no attempt begins after the longest time", async () => {
    const faulty = faultyStore();
    faulty.failures.push(...times(20));
    const failing = failureOf(withRetry(faulty.store, { ...OPTIONS, mostMs: 250 }).size(blob.name));
    await loop.advance(10_000);
    expect(await failing).toBe("unavailable");
    expect(faulty.requests.length).toBe(2);
  });

  test.each(["missing", "truncated", "denied", "corrupt", "full"] as const)(
    "what is %s is not tried again",
    async (failure) => {
      const faulty = faultyStore();
      faulty.failures.push(failure);
      expect(await failureOf(withRetry(faulty.store, OPTIONS).put(blob.name, blob.bytes))).toBe(failure);
      expect(faulty.requests.length).toBe(1);
    },
  );

  test("pauses take between half of their length and all of it", async () => {
    const faulty = faultyStore();
    faulty.failures.push("unavailable");
    const put = withRetry(faulty.store, { ...OPTIONS, random: () => 0 }).put(blob.name, blob.bytes);
    await loop.advance(49);
    expect(faulty.requests.length).toBe(1);
    await loop.advance(1);
    await put;
  });

  test("an operation that is cancelled in a pause rejects with the signal's reason and is not tried again", async () => {
    const faulty = faultyStore();
    faulty.failures.push("unavailable");
    const controller = new AbortController();
    const reason = reasonOf(withRetry(faulty.store, OPTIONS).put(blob.name, blob.bytes, controller.signal));
    await loop.advance(50);
    controller.abort(new Error("no longer wanted"));
    expect(await reason).toBe("no longer wanted");
    await loop.advance(1000);
    expect(faulty.requests.length).toBe(1);
  });

  test("in a hurry nothing waits, and nothing is tried again", async () => {
    const faulty = faultyStore();
    faulty.failures.push(...times(4));
    const controller = new AbortController();
    const store = withRetry(faulty.store, { ...OPTIONS, hurry: controller.signal });
    const failing = failureOf(store.size(blob.name));
    await loop.advance(50);
    controller.abort();
    expect(await failing).toBe("unavailable");
    expect(await failureOf(store.size(blob.name))).toBe("unavailable");
    expect(faulty.requests.length).toBe(2);
  });

  test("a ref whose first answer was lost is created, and one that another has created exists", async () => {
    const faulty = faultyStore();
    const store = withRetry(faulty.store, OPTIONS);
    faulty.lostAnswers = 1;
    const mine = store.createRef("roots/1", bytesOf("mine"));
    await loop.advance(100);
    expect(await mine).toBe("created");

    faulty.failures.push("unavailable");
    const theirs = store.createRef("roots/2", bytesOf("mine"));
    faulty.contents.refs.set("roots/2", bytesOf("theirs"));
    await loop.advance(100);
    expect(await theirs).toBe("exists");
    // Not tried again, so that the same content says nothing.
    expect(await store.createRef("roots/1", bytesOf("mine"))).toBe("exists");
  });

  test("a listing that breaks off names each blob once all the same", async () => {
    const faulty = faultyStore();
    const blobs = Array.from({ length: 5 }, (_, seed) => makeNamedBlob(10 + seed, seed));
    for (const { name, bytes } of blobs) faulty.contents.blobs.set(name, bytes);
    faulty.failures.push("unavailable");
    faulty.brokenListings = 1;
    const listing = listAll(withRetry(faulty.store, OPTIONS));
    await loop.advance(1000);
    expect((await listing).map(({ name }) => name)).toEqual(blobs.map(({ name }) => name).toSorted());
    expect(faulty.requests).toEqual(["list", "list", "list"]);
  });

  test("a read that is tried again fills its target", async () => {
    const faulty = faultyStore();
    faulty.contents.blobs.set(blob.name, blob.bytes);
    faulty.failures.push("unavailable");
    const reading = getBytes(withRetry(faulty.store, OPTIONS), blob.name, 10, 100);
    await loop.advance(100);
    expect(Buffer.compare(await reading, blob.bytes.subarray(10, 110))).toBe(0);
  });
});
