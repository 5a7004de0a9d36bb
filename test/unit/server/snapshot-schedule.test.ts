import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  openSnapshotSchedule,
  SCHEDULED,
  type ScheduledVolume,
  type SnapshotSchedule,
} from "../../../src/server/snapshot-schedule.ts";
import type { BlockStorage } from "../../../src/storage/block-storage.ts";
import type { Archive } from "../../../src/storage/cas/archive.ts";
import { openMemoryArchive } from "../../support/memory-archive.ts";
import { writeSectors } from "../../support/storage-requests.ts";

const HOUR = 3_600_000;
const START = 1_700_000_000_000;

let directory: string;
let archive: Archive;
let disk: BlockStorage;
let now: number;
let timers: { callback: () => void; atMs: number }[];
let told: string[];
let reported: string[];

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "voe-schedule-"));
  now = START;
  timers = [];
  told = [];
  reported = [];
  archive = await openMemoryArchive(directory, () => now);
  disk = await archive.openVolume({
    name: "v",
    blockBytes: 4096,
    sizeBytes: 2 ** 20,
    readOnly: false,
    sync: { kind: "none" },
  });
});
afterEach(async () => {
  await archive.close();
  rmSync(directory, { recursive: true });
});

const open = (): SnapshotSchedule =>
  openSnapshotSchedule({
    nowMs: () => now,
    setTimer(callback, afterMs) {
      const timer = { callback, atMs: now + afterMs };
      timers.push(timer);
      return () => void (timers = timers.filter((other) => other !== timer));
    },
    tell: (message) => told.push(message),
    report: (_key, message) => reported.push(message),
  });

const volume = (more: Partial<ScheduledVolume> = {}): ScheduledVolume => ({
  target: "e1.0",
  archive,
  volume: "v",
  everyMs: HOUR,
  ...more,
});

const fill = (value: number): Promise<void> => writeSectors(disk, 0, new Uint8Array(512).fill(value));

/** Times of the snapshots that were made by timer, in hours since the start. */
const made = (): number[] =>
  archive
    .snapshots("v")
    .filter(({ description }) => description === SCHEDULED)
    .map(({ createdMs }) => (createdMs - START) / HOUR);

/** Lets the time go by up to an hour of the clock; each timer fires when it is due, and what it does comes to its end. */
async function runUntil(hour: number): Promise<void> {
  for (;;) {
    const due = timers.toSorted((a, b) => a.atMs - b.atMs)[0];
    if (due === undefined || due.atMs > START + hour * HOUR) break;
    now = Math.max(now, due.atMs);
    timers = timers.filter((timer) => timer !== due);
    const before = timers.length;
    due.callback();
    while (timers.length === before) await Bun.sleep(1);
  }
  now = START + hour * HOUR;
}

test("a changed volume gets a snapshot at once and then each period; an unchanged one gets none", async () => {
  const schedule = open();
  await fill(1);
  schedule.follow([volume()]);
  await runUntil(0.5);
  await fill(2);
  await runUntil(3.5);
  await fill(3);
  await runUntil(5);
  expect(made()).toEqual([0, 1, 4]);
  expect(told).toHaveLength(3);
  expect(reported).toEqual([]);
  await schedule.close();
});

test("an empty volume has nothing to keep", async () => {
  open().follow([volume()]);
  await runUntil(2);
  expect(made()).toEqual([]);
});

test("what a person has just kept is not kept again", async () => {
  await fill(1);
  await archive.createSnapshot("v", "by hand");
  open().follow([volume()]);
  await runUntil(2);
  expect(made()).toEqual([]);
});

test("a restart neither begins the period anew nor leaves out what fell due meanwhile", async () => {
  const first = open();
  await fill(1);
  first.follow([volume()]);
  await runUntil(0.75);
  await first.close();
  expect(timers).toEqual([]);

  await fill(2);
  const second = open();
  second.follow([volume()]);
  await runUntil(1.25);
  expect(made()).toEqual([0, 1]);
  await second.close();

  await fill(3);
  now = START + 7.5 * HOUR;
  open().follow([volume()]);
  await runUntil(7.6);
  await fill(4);
  await runUntil(8.6);
  expect(made()).toEqual([0, 1, 7.5, 8.5]);
});

test("snapshots that people make do not move the schedule", async () => {
  const schedule = open();
  await fill(1);
  schedule.follow([volume()]);
  await runUntil(0.5);
  await archive.createSnapshot("v", "by hand");
  await schedule.close();
  await fill(2);
  open().follow([volume()]);
  await runUntil(1.5);
  expect(made()).toEqual([0, 1]);
});

test("a clock that was set back puts a snapshot off by one period at most", async () => {
  await fill(1);
  const schedule = open();
  schedule.follow([volume()]);
  await runUntil(0);
  await schedule.close();
  now = START - 100 * HOUR;
  await fill(2);
  open().follow([volume()]);
  expect(timers.map(({ atMs }) => atMs - now)).toEqual([HOUR]);
});

test("a new configuration changes the period, ends what is no longer wanted, and leaves the rest its times", async () => {
  const schedule = open();
  await fill(1);
  schedule.follow([volume()]);
  await runUntil(0.5);
  const [kept] = timers;
  schedule.follow([volume({ target: "e1.7" })]);
  expect(timers).toEqual([kept!]);
  await fill(2);
  schedule.follow([volume({ everyMs: HOUR / 4 })]);
  await runUntil(0.6);
  expect(made()).toEqual([0, 0.5]);
  schedule.follow([]);
  expect(timers).toEqual([]);
});

test("a snapshot that fails is reported, and tried again when the next one is due", async () => {
  await fill(1);
  let failing = true;
  const schedule = open();
  schedule.follow([
    volume({
      archive: {
        ...archive,
        createSnapshot: (name, description) =>
          failing ? Promise.reject(new Error("no space")) : archive.createSnapshot(name, description),
      },
    }),
  ]);
  await runUntil(0.5);
  failing = false;
  await runUntil(1.5);
  expect(reported).toEqual([
    "target e1.0: the snapshot by timer failed: no space. It is tried again in 3600 s, or make one with voe snapshot create e1.0",
  ]);
  expect(made()).toEqual([1]);
});

test("closing waits for the snapshot that is being made, after which there is none", async () => {
  await fill(1);
  const schedule = open();
  schedule.follow([volume()]);
  const [timer] = timers;
  timers = [];
  timer!.callback();
  await schedule.close();
  expect(made()).toEqual([0]);
  expect(timers).toEqual([]);
});
