import { afterEach, expect, test } from "bun:test";
import { EXTENT_BYTES, ExtentCache, NONE, REFERENCED } from "../../../../src/storage/cas/extent-cache.ts";
import { seededRandom, testSeed } from "../../../support/seeded-random.ts";

const open: ExtentCache[] = [];
afterEach(() => {
  for (const cache of open.splice(0)) cache.close();
});

function cacheOf(extents: number): ExtentCache {
  const cache = new ExtentCache(extents * EXTENT_BYTES);
  open.push(cache);
  return cache;
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** The slot of an extent, in a later turn where none is free in this one. */
async function claim(cache: ExtentCache, space: number, extent: number): Promise<number> {
  const slot = cache.claim(space, extent);
  if (slot !== NONE) return slot;
  await turn();
  return cache.claim(space, extent);
}

test("an extent is found where it was put, by its space and number", () => {
  const cache = cacheOf(8);
  const [one, other] = [cache.openSpace(), cache.openSpace()];
  const slot = cache.claim(one, 2 ** 40);
  expect(cache.find(one, 2 ** 40)).toBe(slot);
  expect(cache.find(one, 2 ** 40 + 1)).toBe(NONE);
  expect(cache.find(other, 2 ** 40)).toBe(NONE);
  expect(cache.claim(other, 2 ** 40)).not.toBe(slot);
  expect(cache.find(one, 2 ** 40)).toBe(slot);
});

test("slots do not overlap in memory", () => {
  const cache = cacheOf(300);
  const space = cache.openSpace();
  const addresses = new Set<number>();
  for (let extent = 0; extent < 256; extent++) {
    const slot = cache.claim(space, extent);
    addresses.add((cache.memoryOf(slot).address + cache.offsetOf(slot)) / EXTENT_BYTES);
    expect(cache.offsetOf(slot) + EXTENT_BYTES).toBeLessThanOrEqual(cache.memoryOf(slot).lengthBytes);
  }
  expect(addresses.size).toBe(256);
});

test("within one turn no extent gives way to another, and in the next one it does", async () => {
  const cache = cacheOf(4);
  const space = cache.openSpace();
  for (let extent = 0; extent < 4; extent++) expect(cache.claim(space, extent)).not.toBe(NONE);
  expect(cache.claim(space, 4)).toBe(NONE);
  await Promise.resolve();
  expect(cache.claim(space, 4)).toBe(NONE);
  for (let extent = 0; extent < 4; extent++) expect(cache.find(space, extent)).not.toBe(NONE);
  await turn();
  expect(cache.claim(space, 4)).not.toBe(NONE);
  expect(cache.find(space, 0)).toBe(NONE);
});

test("a limit below one extent is one extent, which gives way only when it is wanted", async () => {
  const cache = new ExtentCache(1);
  open.push(cache);
  const space = cache.openSpace();
  expect(cache.capacity).toBe(1);
  const slot = cache.claim(space, 7);
  await turn();
  await turn();
  expect(cache.find(space, 7)).toBe(slot);
  expect(await claim(cache, space, 8)).toBe(slot);
  expect(cache.find(space, 7)).toBe(NONE);
});

test("a pinned slot stays whose it is", async () => {
  const cache = cacheOf(2);
  const space = cache.openSpace();
  const slot = cache.claim(space, 0);
  cache.pinned[slot] = 1;
  for (let extent = 1; extent < 10; extent++) await claim(cache, space, extent);
  expect(cache.find(space, 0)).toBe(slot);
  cache.unpin(slot);
  for (let extent = 10; extent < 20; extent++) await claim(cache, space, extent);
  expect(cache.find(space, 0)).toBe(NONE);
});

test("where all slots are pinned none is given", async () => {
  const cache = cacheOf(2);
  const space = cache.openSpace();
  for (let extent = 0; extent < 2; extent++) cache.pinned[cache.claim(space, extent)] = 1;
  expect(await claim(cache, space, 2)).toBe(NONE);
});

test("what is read again and again outlives a reader who goes through everything once", async () => {
  const cache = cacheOf(64);
  const space = cache.openSpace();
  const read = async (extent: number): Promise<void> => {
    let slot = cache.find(space, extent);
    if (slot === NONE) slot = await claim(cache, space, extent);
    cache.flags[slot]! |= REFERENCED;
  };
  const hot = Array.from({ length: 24 }, (_, i) => i * 1000);
  for (let round = 0; round < 8; round++) {
    for (const extent of hot) await read(extent);
    for (let extent = 0; extent < 10; extent++) await read(100_000 + round * 10 + extent);
  }
  for (let extent = 1; extent < 1000; extent++) await read(500_000 + extent);
  expect(hot.filter((extent) => cache.find(space, extent) === NONE)).toEqual([]);
});

test("what was read again and again once gives way when that is long ago", async () => {
  const cache = cacheOf(32);
  const space = cache.openSpace();
  const readAll = async (first: number): Promise<void> => {
    for (let round = 0; round < 40; round++) {
      for (let extent = first; extent < first + 20; extent++) {
        let slot = cache.find(space, extent);
        if (slot === NONE) slot = await claim(cache, space, extent);
        cache.flags[slot]! |= REFERENCED;
      }
      await claim(cache, space, 1_000_000 + first + round);
    }
  };
  await readAll(0);
  await readAll(1000);
  const held = Array.from({ length: 20 }, (_, i) => cache.find(space, 1000 + i)).filter((slot) => slot !== NONE);
  expect(held.length).toBeGreaterThan(16);
});

test("a space that is dropped is gone, and its slots are free, those that are pinned when they are not any more", async () => {
  const cache = cacheOf(4);
  const [one, other] = [cache.openSpace(), cache.openSpace()];
  const slots = [cache.claim(one, 0), cache.claim(other, 0), cache.claim(one, 1), cache.claim(one, 2)];
  cache.pinned[slots[2]!] = 1;
  cache.drop(one);
  expect(cache.find(other, 0)).toBe(slots[1]!);
  for (let extent = 0; extent < 3; extent++) expect(cache.find(one, extent)).toBe(NONE);
  const again = [cache.claim(one, 0), cache.claim(one, 1)];
  expect(new Set(again)).toEqual(new Set([slots[0]!, slots[3]!]));
  expect(cache.claim(one, 2)).toBe(NONE);
  cache.unpin(slots[2]!);
  expect(cache.claim(one, 2)).toBe(slots[2]!);
});

test(`finds what a map finds, whatever comes and goes (VOE_TEST_SEED=${testSeed})`, async () => {
  const random = seededRandom(testSeed);
  const cache = cacheOf(40);
  const spaces = [cache.openSpace(), cache.openSpace(), cache.openSpace()];
  /** What was claimed last at each slot. */
  const owners = new Map<number, string>();
  for (let step = 0; step < 6000; step++) {
    const space = random.pick(spaces);
    const extent = random.below(60) * 2 ** random.below(34);
    const slot = cache.find(space, extent);
    if (slot !== NONE) {
      expect(owners.get(slot)).toBe(`${space} ${extent}`);
      if (random.chance(0.5)) cache.flags[slot]! |= REFERENCED;
    } else {
      const claimed = cache.claim(space, extent);
      if (claimed !== NONE) owners.set(claimed, `${space} ${extent}`);
    }
    if (random.chance(0.1)) await turn();
    if (random.chance(0.005)) cache.drop(space);
  }
  expect(cache.counters.evictions).toBeGreaterThan(100);
  expect(cache.statistics().usedBytes).toBeLessThanOrEqual(40 * EXTENT_BYTES);
});
