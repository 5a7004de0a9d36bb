import { expect, test } from "bun:test";
import { FETCHED, NO_ROOM, readAhead, type ReadAhead } from "../../../../src/storage/cas/streams.ts";
import { EXTENT_SECTORS } from "../../../../src/storage/cas/sector-mask.ts";
import { seededRandom, testSeed } from "../../../support/seeded-random.ts";

interface Followed extends ReadAhead {
  readonly fetched: number[];
  outcome: (extent: number) => typeof FETCHED | typeof NO_ROOM | Promise<unknown>;
}

function follow(extentCount: number, mostExtents = 8): Followed {
  const fetched: number[] = [];
  const followed: Followed = {
    fetched,
    outcome: () => FETCHED,
    ...readAhead({
      mostExtents,
      extentCount: () => extentCount,
      fetch(extent) {
        const outcome = followed.outcome(extent);
        if (outcome !== NO_ROOM) fetched.push(extent);
        return outcome;
      },
    }),
  };
  return followed;
}

const turns = async (count = 40): Promise<void> => {
  for (; count > 0; count--) await new Promise<void>((resolve) => setImmediate(resolve));
};

/** Asks for everything from a sector on, 16 sectors at a time: whether the last request was one of a reader. */
function readOn(ahead: ReadAhead, sector: number, requests: number): boolean {
  let isReader = false;
  for (let i = 0; i < requests; i++) isReader = ahead.missed(sector + i * 16, 16);
  return isReader;
}

const from = (first: number, count: number): number[] => Array.from({ length: count }, (_, i) => first + i);

test("a few requests that follow on each other are a reader, whose next extents are fetched", async () => {
  const ahead = follow(100);
  expect(readOn(ahead, 0, 2)).toBe(false);
  await turns();
  expect(ahead.fetched).toEqual([]);
  expect(readOn(ahead, 32, 1)).toBe(true);
  await turns();
  expect(ahead.fetched).toEqual([1, 2]);
});

test("the same request twice is no reader", () => {
  const ahead = follow(100);
  for (let i = 0; i < 10; i++) expect(ahead.missed(0, 16)).toBe(false);
});

test(`requests here and there fetch next to nothing (VOE_TEST_SEED=${testSeed})`, async () => {
  const random = seededRandom(testSeed);
  const ahead = follow(1_000_000);
  let readers = 0;
  for (let i = 0; i < 2000; i++) if (ahead.missed(random.below(1_000_000) * EXTENT_SECTORS, 16)) readers++;
  await turns();
  expect(readers).toBeLessThan(5);
});

test("the further a reader goes the more is fetched ahead of it, up to the limit", async () => {
  const ahead = follow(1000, 8);
  readOn(ahead, 0, 3);
  await turns();
  const lead: number[] = [];
  for (let extent = 1; extent < 8; extent++) {
    ahead.reached(extent);
    await turns();
    lead.push(ahead.fetched.at(-1)! - extent);
  }
  expect(lead).toEqual([4, 8, 8, 8, 8, 8, 8]);
  expect(ahead.fetched).toEqual(from(1, ahead.fetched.length));
});

test("requests a little out of order are still one reader", async () => {
  const ahead = follow(1000);
  for (const sector of [0, 32, 16, 64, 48, 96, 80, 128, 112, 160, 144]) ahead.missed(sector, 16);
  await turns();
  expect(ahead.fetched.length).toBeGreaterThan(1);
  expect(ahead.fetched).toEqual(from(ahead.fetched[0]!, ahead.fetched.length));
});

test("four readers at once are followed, each where it is", async () => {
  const ahead = follow(100_000);
  for (let i = 0; i < 4; i++) for (const reader of [0, 1, 2, 3]) ahead.missed(reader * 1_000_000 + i * 16, 16);
  await turns();
  for (const reader of [0, 1, 2, 3])
    expect(ahead.fetched).toContain(Math.floor((reader * 1_000_000) / EXTENT_SECTORS) + 1);
});

test("nothing is fetched beyond the end", async () => {
  const ahead = follow(3);
  readOn(ahead, 0, 3);
  for (const extent of [1, 2]) {
    await turns();
    ahead.reached(extent);
  }
  await turns();
  expect(ahead.fetched).toEqual([1, 2]);
});

test("where there is no room, fetching goes on when the reader does", async () => {
  const ahead = follow(100);
  ahead.outcome = () => NO_ROOM;
  readOn(ahead, 0, 3);
  await turns();
  expect(ahead.fetched).toEqual([]);
  ahead.outcome = () => FETCHED;
  await turns();
  expect(ahead.fetched).toEqual([]);
  readOn(ahead, 48, 10);
  await turns();
  expect(ahead.fetched[0]).toBe(2);
});

test("only so many extents are on their way at once", async () => {
  const ahead = follow(1000, 64);
  const ends: (() => void)[] = [];
  ahead.outcome = () => new Promise<void>((resolve) => ends.push(resolve));
  readOn(ahead, 0, 3);
  for (let extent = 1; extent < 8; extent++) {
    await turns();
    ahead.reached(extent);
  }
  await turns();
  expect(ends.length).toBe(8);
  ends[0]!();
  await turns();
  expect(ends.length).toBe(9);
});

test("after it is closed nothing is fetched", async () => {
  const ahead = follow(100);
  readOn(ahead, 0, 3);
  ahead.close();
  ahead.reached(1);
  await turns();
  expect(ahead.fetched).toEqual([]);
});

test("with a limit of none nothing is fetched, and a reader is still known", async () => {
  const ahead = follow(100, 0);
  expect(readOn(ahead, 0, 5)).toBe(true);
  await turns();
  expect(ahead.fetched).toEqual([]);
});
