/** The index under random work with power losses at any call, beside a map of what the store has. */
import { describe, expect, test } from "bun:test";
import type { BlockIndex, PackEntries } from "../../../../../src/storage/cas/index/block-index.ts";
import { PowerLoss, type SimulatedDisk } from "../../../../simulation/simulated-disk.ts";
import {
  DIRECTORY,
  hashesOf,
  hashOf,
  newDisk,
  openTestIndex,
  packOf,
  placesOf,
  streamOf,
} from "../../../../support/index-packs.ts";
import { seededRandom, type SeededRandom } from "../../../../support/seeded-random.ts";

const MEMTABLE_ENTRIES = 48;
const SEEDS = process.env["VOE_TEST_FULL"] === "1" ? 2000 : 80;
const LIVES = 6;
const STEPS_MOST = 25;

/** Few first words, so that hashes agree in them, and sometimes in all that the index knows. */
const collidingHash = (random: SeededRandom): Uint8Array =>
  hashOf(random.below(16) * 2 ** 28 + random.below(2), random.below(24), random.below(256));

const keyOf = (hash: Uint8Array): string => Buffer.from(hash.subarray(0, 8)).toString("hex");

/** What the archive's blob store has: it never loses a pack. */
interface Store {
  readonly packs: Map<number, PackEntries>;
  nextNumber: number;
}

const allPacks = (store: Store): AsyncIterable<PackEntries> => streamOf(...store.packs.values());

/** Brings the index up to the store, as the archive does after opening it. */
async function catchUp(index: BlockIndex, store: Store): Promise<void> {
  const names = new Set([...store.packs.values()].map(({ name }) => name.toHex()));
  await index.forgetPacks(index.packNames().filter((name) => !names.has(name.toHex())));
  await index.fill(streamOf(...[...store.packs.values()].filter(({ name }) => !index.holds(name))));
}

/** Every block of the store is found where it is, and nothing is found where it is not. */
async function verify(index: BlockIndex, store: Store, random: SeededRandom): Promise<void> {
  const expected = new Map<string, string[]>();
  for (const [number, pack] of store.packs) {
    for (const [ordinal, hash] of hashesOf(pack).entries()) {
      expected.set(keyOf(hash), [...(expected.get(keyOf(hash)) ?? []), `${number}:${ordinal}`]);
    }
  }
  for (const [key, places] of expected) {
    const hash = new Uint8Array(32);
    hash.set(Uint8Array.fromHex(key));
    expect(await placesOf(index, hash)).toEqual(places.sort());
  }
  for (let i = 0; i < 20; i++) {
    const hash = collidingHash(random);
    expect(await placesOf(index, hash)).toEqual(expected.get(keyOf(hash)) ?? []);
  }
}

async function step(index: BlockIndex, store: Store, random: SeededRandom): Promise<void> {
  const chosen = random.below(20);
  if (chosen < 12) {
    const number = store.nextNumber++;
    const pack = packOf(
      number,
      Array.from({ length: random.below(40) }, () => collidingHash(random)),
    );
    store.packs.set(number, pack);
    await index.addPack(pack);
  } else if (chosen < 15) {
    await index.flush();
  } else if (chosen < 17 && store.packs.size > 0) {
    const [number, pack] = random.pick([...store.packs]);
    store.packs.delete(number);
    await index.forgetPacks([pack.name]);
  } else if (chosen === 17) {
    await index.rebuild(allPacks(store));
  } else if (chosen === 18) {
    await index.settled();
  } else {
    await verify(index, store, random);
  }
}

/** Lets everything end that the power loss has cut off. */
async function stop(disk: SimulatedDisk, index: BlockIndex | undefined): Promise<void> {
  disk.losePowerAfter(0);
  await disk.list(DIRECTORY).catch(() => {});
  await index?.settled();
  for (let i = 0; i < 200; i++) await Promise.resolve();
}

async function live(disk: SimulatedDisk, store: Store, random: SeededRandom): Promise<void> {
  let index: BlockIndex | undefined;
  let complaints: string[] = [];
  try {
    if (random.chance(0.8)) disk.losePowerAfter(random.below(random.chance(0.5) ? 40 : 300));
    ({ index, reports: complaints } = await openTestIndex(disk, MEMTABLE_ENTRIES));
    await catchUp(index, store);
    await verify(index, store, random);
    for (let steps = random.below(STEPS_MOST); steps > 0; steps--) await step(index, store, random);
    await index.close();
  } catch (error) {
    if (!(error instanceof PowerLoss)) throw error;
  }
  await stop(disk, index);
  // Losing power is no damage.
  expect(complaints.filter((complaint) => !complaint.includes("lost power"))).toEqual([]);
}

async function runSeed(seed: number): Promise<void> {
  const random = seededRandom(seed);
  const disk = newDisk(seed + 1_000_000);
  disk.waitChance = 0.3;
  const store: Store = { packs: new Map(), nextNumber: 0 };
  try {
    for (let i = 0; i < LIVES; i++) {
      await live(disk, store, random);
      if (random.chance(0.7)) disk.crash();
      else disk.restart();
    }
    const { index, reports } = await openTestIndex(disk, MEMTABLE_ENTRIES);
    expect(reports).toEqual([]);
    await catchUp(index, store);
    await verify(index, store, random);
  } catch (error) {
    throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
  }
}

describe("through power losses at any call", () => {
  test.each(Array.from({ length: SEEDS / 10 }, (_, i) => i))("seeds %d0 to %d9 find what a map finds", async (tens) => {
    for (let seed = tens * 10; seed < tens * 10 + 10; seed++) await runSeed(seed);
  });
});

describe("a flipped bit", () => {
  test.each(Array.from({ length: 40 }, (_, i) => i))("anywhere gives no wrong answer (seed %d)", async (seed) => {
    const random = seededRandom(seed);
    const disk = newDisk(seed);
    const store: Store = { packs: new Map(), nextNumber: 0 };
    const first = await openTestIndex(disk, MEMTABLE_ENTRIES);
    while (store.nextNumber < 12) {
      const number = store.nextNumber++;
      const pack = packOf(
        number,
        Array.from({ length: 30 }, () => collidingHash(random)),
      );
      store.packs.set(number, pack);
      await first.index.addPack(pack);
    }
    await first.index.close();
    const path = `${DIRECTORY}/${random.pick(await disk.list(DIRECTORY))}`;
    disk.flipBit(path, random.below(disk.contentOf(path).length), random.below(8));

    const { index, reports } = await openTestIndex(disk, MEMTABLE_ENTRIES);
    await catchUp(index, store);
    // Right answers, or a report and then right answers.
    await verify(index, store, random).catch((error: Error) =>
      expect(error.message).toContain("is not what was written"),
    );
    if (reports.length > 0) await index.rebuild(allPacks(store));
    await verify(index, store, random);
  });
});
