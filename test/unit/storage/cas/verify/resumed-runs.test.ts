/** Runs that end early, and how the next ones go on. */
import { beforeEach, expect, test } from "bun:test";
import { createMemoryStore, type MemoryStoreContents } from "../../../../../src/blob/memory-store.ts";
import { verifyStore } from "../../../../../src/storage/cas/verify/verify-store.ts";
import { blockOf, findEntry, flip, hashOf } from "../../../../support/archive-store.ts";
import { reasonOf } from "../../../../support/reason-of.ts";
import {
  affected,
  expectedFor,
  fillStore,
  gather,
  memoryHistory,
  storeOver,
  verifyWith,
} from "../../../../support/verified-store.ts";

let contents: MemoryStoreContents;

beforeEach(async () => {
  ({ contents } = await fillStore());
});

test("runs of no time at all do one piece each, the one that waited longest, until everything was verified", async () => {
  const history = memoryHistory();
  const blobs = createMemoryStore(contents);
  const store = await storeOver(blobs, history);
  const pieces = contents.blobs.size + 2;
  for (let done = 1; done <= pieces; done++) {
    const { end } = await gather(verifyStore(store, { maxDurationMs: 0 }));
    expect(end).toMatchObject({ outcome: "stopped", complete: false });
    expect(end.packsDone + end.treePartsDone).toBe(1);
    expect(end.packsNeverVerified).toBe(Math.max(0, contents.blobs.size - done));
  }
  const saved = await history.load();
  expect([...saved.packs.keys()].toSorted()).toEqual([...contents.blobs.keys()].toSorted());
  expect(saved.parts.every((ms) => ms > 0)).toBe(true);
  const oldest = Math.min(...saved.packs.values());
  await gather(verifyStore(store, { maxDurationMs: 0 }));
  expect(Math.min(...(await history.load()).packs.values())).toBeGreaterThan(oldest);
});

test("a damaged pack is the first of the next run, and its damage is told again though there is no time", async () => {
  const history = memoryHistory();
  const { pack, entry, directory } = findEntry(contents, hashOf(blockOf(3)));
  flip(contents, pack, directory.offsetBytes(entry));
  await verifyWith(createMemoryStore(contents), {}, history);
  const run = await verifyWith(createMemoryStore(contents), { maxDurationMs: 0 }, history);
  expect(run.damage[0]).toMatchObject({ kind: "pack", pack });
  expect(run.end).toMatchObject({ outcome: "damaged", complete: false, packsDone: 1 });
  expect(affected(run)).toEqual(expectedFor(new Set([hashOf(blockOf(3)).toHex()])));
});

test("a run that is ended keeps what it verified", async () => {
  const history = memoryHistory();
  const store = await storeOver(createMemoryStore(contents), history);
  const stop = new AbortController();
  const events = verifyStore({ ...store, monotonicMs: clockOf(300) }, { signal: stop.signal });
  let last = 0;
  const reason = await reasonOf(
    (async () => {
      for await (const event of events) {
        if (event.event !== "progress") continue;
        last = event.packsDone;
        if (last >= 2) stop.abort(new Error("enough"));
      }
    })(),
  );
  expect(reason).toBe("enough");
  expect((await history.load()).packs.size).toBe(last);
});

/** A clock that is later each time it is looked at. */
function clockOf(stepMs: number): () => number {
  let nowMs = 0;
  return () => (nowMs += stepMs);
}

test("a reader that goes away ends the run, which keeps what it verified", async () => {
  const history = memoryHistory();
  const store = await storeOver(createMemoryStore(contents), history);
  for await (const event of verifyStore({ ...store, monotonicMs: clockOf(300) })) {
    if (event.event === "progress" && event.packsDone === 1) break;
  }
  expect((await history.load()).packs.size).toBe(1);
});

test("what cannot be kept is said, and the result stands", async () => {
  const history = { ...memoryHistory(), save: () => Promise.reject(new Error("no space left")) };
  const run = await verifyWith(createMemoryStore(contents), {}, history);
  expect(run.notices[0]).toContain("no space left");
  expect(run.end.outcome).toBe("good");
});
