import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { withLimit } from "../../../../src/blob/wrap/limit.ts";
import { failureOf, getBytes } from "../../../support/blob-requests.ts";
import { faultyStore } from "../../../support/faulty-store.ts";
import { manualLoop, type ManualLoop } from "../../../support/manual-loop.ts";
import { makeNamedBlob } from "../../../support/named-blob.ts";
import { reasonOf } from "../../../support/reason-of.ts";
import { turnsOfLoop } from "../../../support/until.ts";

const blob = makeNamedBlob(1000, 1);
const UNLIMITED = { uploadBytesPerSecond: undefined, downloadBytesPerSecond: undefined };

describe("a store within limits", () => {
  let loop: ManualLoop;
  beforeEach(() => {
    loop = manualLoop();
  });
  afterEach(() => loop[Symbol.dispose]());

  test("no more uploads are under way than there may be, and all are done", async () => {
    const faulty = faultyStore();
    const limit = withLimit(faulty.store, { transfers: 2, ...UNLIMITED });
    faulty.held = true;
    const puts = Array.from({ length: 5 }, () => limit.store.put(blob.name, blob.bytes));
    await turnsOfLoop(2);
    expect(faulty.waiting).toBe(2);
    expect(limit.statistics()).toEqual({ uploads: 2, downloads: 0, waiting: 3 });
    for (let round = 0; round < 3; round++) {
      faulty.release();
      await turnsOfLoop(2);
    }
    await Promise.all(puts);
    expect(limit.statistics()).toEqual({ uploads: 0, downloads: 0, waiting: 0 });
  });

  test("a read that a client waits for goes before reads ahead and does not wait for uploads", async () => {
    const faulty = faultyStore();
    faulty.contents.blobs.set(blob.name, blob.bytes);
    const { store, background } = withLimit(faulty.store, { transfers: 1, ...UNLIMITED });
    faulty.held = true;
    const work = [
      store.put(blob.name, blob.bytes),
      getBytes(background, blob.name, 1, 1),
      getBytes(background, blob.name, 2, 1),
      getBytes(store, blob.name, 3, 1),
      getBytes(store, blob.name, 4, 1),
    ];
    await turnsOfLoop(2);
    const short = blob.name.slice(0, 8);
    // Reads ahead have half of the places at most.
    expect(faulty.requests).toEqual([`put ${short}`, `get ${short} 1+1`, `get ${short} 3+1`]);
    faulty.release();
    await turnsOfLoop(2);
    expect(faulty.requests[3]).toBe(`get ${short} 4+1`);
    for (let round = 0; round < 3; round++) {
      faulty.release();
      await turnsOfLoop(2);
    }
    await Promise.all(work);
  });

  test("a transfer that failed or was cancelled gives its place back", async () => {
    const faulty = faultyStore();
    const { store } = withLimit(faulty.store, { transfers: 1, ...UNLIMITED });
    faulty.failures.push("unavailable");
    expect(await failureOf(store.put(blob.name, blob.bytes))).toBe("unavailable");
    faulty.held = true;
    const first = store.put(blob.name, blob.bytes);
    const controller = new AbortController();
    const second = reasonOf(store.put(blob.name, blob.bytes, controller.signal));
    const third = store.put(blob.name, blob.bytes);
    controller.abort(new Error("no longer wanted"));
    expect(await second).toBe("no longer wanted");
    faulty.held = false;
    faulty.release();
    await Promise.all([first, third]);
  });

  test("uploads take the time that their bytes take, and downloads have their own", async () => {
    const faulty = faultyStore();
    faulty.contents.blobs.set(blob.name, blob.bytes);
    const { store } = withLimit(faulty.store, {
      transfers: 4,
      uploadBytesPerSecond: 1000,
      downloadBytesPerSecond: 500,
    });
    const done: string[] = [];
    const work = [
      ...Array.from({ length: 3 }, (_, i) => store.put(blob.name, blob.bytes).then(() => done.push(`put ${i}`))),
      ...Array.from({ length: 2 }, (_, i) => getBytes(store, blob.name, 0, 1000).then(() => done.push(`get ${i}`))),
    ];
    await loop.advance(0);
    expect(done.toSorted()).toEqual(["get 0", "put 0"]);
    await loop.advance(999);
    expect(done.length).toBe(2);
    await loop.advance(1);
    expect(done.slice(2)).toEqual(["put 1"]);
    await loop.advance(1000);
    expect(done.slice(3).toSorted()).toEqual(["get 1", "put 2"]);
    await Promise.all(work);
  });

  test("who waits for bandwidth may be cancelled", async () => {
    const { store } = withLimit(faultyStore().store, { transfers: 4, ...UNLIMITED, uploadBytesPerSecond: 1 });
    await store.put(blob.name, blob.bytes);
    const controller = new AbortController();
    const waiting = reasonOf(store.put(blob.name, blob.bytes, controller.signal));
    await loop.advance(10);
    controller.abort(new Error("no longer wanted"));
    expect(await waiting).toBe("no longer wanted");
  });
});
