import { expect, test } from "bun:test";
import { withCounters } from "../../../../src/blob/wrap/counted.ts";
import { failureOf, getBytes, listAll } from "../../../support/blob-requests.ts";
import { faultyStore } from "../../../support/faulty-store.ts";
import { makeNamedBlob } from "../../../support/named-blob.ts";

const blob = makeNamedBlob(1000, 1);

test("requests, errors and bytes are counted by kind", async () => {
  const faulty = faultyStore();
  const { store, statistics } = withCounters(faulty.store, () => 5);
  await store.put(blob.name, blob.bytes);
  await getBytes(store, blob.name, 0, 100);
  faulty.failures.push("unavailable");
  await failureOf(getBytes(store, blob.name, 0, 100));
  await store.createRef("a", new Uint8Array(7));
  await store.readRef("a");
  await store.size(blob.name);
  await listAll(store);
  expect(statistics().requests).toEqual({
    put: { requests: 1, errors: 0, bytes: 1000 },
    get: { requests: 2, errors: 1, bytes: 100 },
    ref: { requests: 1, errors: 0, bytes: 7 },
    other: { requests: 3, errors: 0, bytes: 7 },
  });
});

test("a store is away from its first failure until something succeeds, and the last error stays", async () => {
  const faulty = faultyStore();
  let nowMs = 1000;
  const { store, statistics } = withCounters(faulty.store, () => nowMs);
  for (const failure of ["unavailable", "denied"] as const) {
    faulty.failures.push(failure);
    await failureOf(store.put(blob.name, blob.bytes));
    nowMs += 500;
  }
  expect(statistics().awaySinceMs).toBe(1000);
  expect(statistics().lastError).toEqual({ message: expect.stringContaining("put"), atMs: 1500 });
  await store.put(blob.name, blob.bytes);
  expect(statistics().awaySinceMs).toBeUndefined();
  expect(statistics().lastError?.atMs).toBe(1500);
});

test("that something is not there is an answer: the store is not away, and no error is counted", async () => {
  const faulty = faultyStore();
  const { store, statistics } = withCounters(faulty.store, () => 1);
  faulty.failures.push("unavailable");
  await failureOf(store.size(blob.name));
  expect(statistics().awaySinceMs).toBe(1);
  expect(await failureOf(store.size(blob.name))).toBe("missing");
  expect(statistics().awaySinceMs).toBeUndefined();
  expect(statistics().requests.other.errors).toBe(1);
});
