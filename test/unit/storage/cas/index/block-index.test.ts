import { describe, expect, test } from "bun:test";
import { ABSENT, FOUND, LATER, type PackEntries } from "../../../../../src/storage/cas/index/block-index.ts";
import { createPlaces } from "../../../../../src/storage/cas/index/places.ts";
import {
  DIRECTORY,
  hashesOf,
  hashOf,
  newDisk,
  openTestIndex,
  packName,
  packOf,
  placesOf,
  randomHash,
  randomPack,
  somePacks,
  streamOf,
} from "../../../../support/index-packs.ts";
import { reasonOf } from "../../../../support/reason-of.ts";
import { seededRandom } from "../../../../support/seeded-random.ts";

describe("lookups", () => {
  test("find every block of every pack, and none that was never added", async () => {
    const { index } = await openTestIndex(newDisk(1));
    const packs = somePacks(20, 50);
    for (const pack of packs) await index.addPack(pack);
    for (const [number, pack] of packs.entries()) {
      for (const [ordinal, hash] of hashesOf(pack).entries()) {
        expect(await placesOf(index, hash)).toEqual([`${number}:${ordinal}`]);
      }
    }
    const random = seededRandom(99);
    for (let i = 0; i < 500; i++) expect(await placesOf(index, randomHash(random))).toEqual([]);
  });

  test("yield all blocks whose first 64 bits agree, however many pages and runs they are in", async () => {
    const disk = newDisk(2);
    const { index } = await openTestIndex(disk, 300);
    const alike = (number: number) =>
      packOf(
        number,
        Array.from({ length: 200 }, (_, i) => hashOf(5, 6, i)),
      );
    const near = packOf(9, [hashOf(5, 5), hashOf(5, 7), hashOf(4, 6), hashOf(6, 6)]);
    for (const pack of [alike(1), near, alike(2), alike(3)]) await index.addPack(pack);
    const everywhere = [1, 2, 3].flatMap((number) => Array.from({ length: 200 }, (_, i) => `${number}:${i}`)).sort();
    expect(await placesOf(index, hashOf(5, 6))).toEqual(everywhere);
    await index.flush();
    await index.settled();
    expect(index.status().entryCount).toBe(604);
    expect(await placesOf(index, hashOf(5, 6))).toEqual(everywhere);
    expect(await placesOf(index, hashOf(5, 7))).toEqual(["9:1"]);
    expect(await placesOf(index, hashOf(5, 8))).toEqual([]);
  });

  test("answer later where a page is not cached, and then find it", async () => {
    const disk = newDisk(3);
    const { index } = await openTestIndex(disk);
    const [pack] = somePacks(1, 10);
    await index.addPack(pack!);
    const places = createPlaces();
    expect(index.tryLookup(pack!.hashes, 64, places)).toBe(FOUND);
    await index.flush();
    disk.waitChance = 1;
    expect(index.tryLookup(pack!.hashes, 64, places)).toBe(LATER);
    expect(await index.lookup(pack!.hashes, 64, places)).toBe(FOUND);
    expect([places.count, places.packs[0], places.ordinals[0]]).toEqual([1, 0, 2]);
    disk.waitChance = 0;
    expect(index.tryLookup(pack!.hashes, 64, places)).toBe(FOUND);
  });

  test("go on while their run is merged away", async () => {
    const disk = newDisk(4);
    const { index } = await openTestIndex(disk, 1000);
    const packs = somePacks(6, 100);
    disk.waitChance = 1;
    const found: Promise<string[]>[] = [];
    for (const pack of packs) {
      await index.addPack(pack);
      await index.flush();
      found.push(placesOf(index, pack.hashes.subarray(0, 32)));
    }
    expect(await Promise.all(found)).toEqual(packs.map((_, i) => [`${i}:0`]));
    await index.settled();
    expect(index.status().runCount).toBeLessThan(4);
  });
});

describe("a pack", () => {
  test("that was flushed is held after a restart, one that was not is not", async () => {
    const disk = newDisk(5);
    const first = await openTestIndex(disk, 1000);
    const [flushed, lost] = somePacks(2, 20);
    await first.index.addPack(flushed!);
    await first.index.flush();
    await first.index.addPack(lost!);
    expect(first.index.holds(lost!.name)).toBe(true);
    disk.restart();
    const { index, reports } = await openTestIndex(disk, 1000);
    expect([index.holds(flushed!.name), index.holds(lost!.name)]).toEqual([true, false]);
    expect(await placesOf(index, flushed!.hashes.subarray(32, 64))).toEqual(["0:1"]);
    expect(reports).toEqual([]);
  });

  test("of which only a part was flushed is not held after a restart, and can be added again", async () => {
    const disk = newDisk(6);
    const [large, small] = [randomPack(0, 100, seededRandom(1)), randomPack(1, 10, seededRandom(2))];
    const first = await openTestIndex(disk, 64);
    await first.index.addPack(small);
    await first.index.addPack(large);
    // The first 54 of its entries filled a memtable, which is flushed meanwhile.
    while (first.index.status().runCount === 0) await Promise.resolve();
    disk.restart();
    const { index } = await openTestIndex(disk, 64);
    expect([index.holds(small.name), index.holds(large.name)]).toEqual([true, false]);
    await index.addPack(large);
    await index.flush();
    await index.settled();
    for (const [i, hash] of hashesOf(large).entries()) expect(await placesOf(index, hash)).toEqual([`0:${i}`]);
  });

  test("that is added twice, also at once, has its entries once", async () => {
    const { index } = await openTestIndex(newDisk(7), 64);
    const [pack] = somePacks(1, 200);
    await Promise.all([index.addPack(pack!), index.addPack(pack!)]);
    await index.addPack(pack!);
    await index.flush();
    await index.settled();
    expect(index.status()).toMatchObject({ entryCount: 200, packCount: 1 });
  });

  test("that is forgotten is absent, after a restart too, and its entries leave with the next merge", async () => {
    const disk = newDisk(8);
    const first = await openTestIndex(disk, 1000);
    const [gone, kept] = somePacks(2, 50);
    await first.index.addPack(gone!);
    await first.index.flush();
    await first.index.forgetPacks([gone!.name, packName(77)]);
    expect(first.index.holds(gone!.name)).toBe(false);
    expect(await placesOf(first.index, gone!.hashes)).toEqual([]);
    disk.crash();
    const { index } = await openTestIndex(disk, 1000);
    expect(await placesOf(index, gone!.hashes)).toEqual([]);
    expect(index.packNames()).toEqual([]);
    await index.addPack(kept!);
    await index.flush();
    await index.settled();
    expect(index.status()).toMatchObject({ entryCount: 50, packCount: 1, runCount: 1 });
    await index.addPack(gone!);
    expect(await placesOf(index, gone!.hashes)).toEqual(["0:0"]);
  });
});

describe("a fill", () => {
  test("holds back every answer that a block is absent until all is there", async () => {
    const { index } = await openTestIndex(newDisk(13), 1000);
    const [early, late] = somePacks(2, 20);
    const gate = Promise.withResolvers<void>();
    async function* packs(): AsyncGenerator<PackEntries> {
      yield early!;
      await gate.promise;
      yield late!;
    }
    const filled = index.fill(packs());
    while (!index.holds(early!.name)) await Promise.resolve();
    const places = createPlaces();
    expect(index.tryLookup(early!.hashes, 0, places)).toBe(FOUND);
    expect(index.tryLookup(late!.hashes, 0, places)).toBe(LATER);
    const answer = index.lookup(late!.hashes, 0, places);
    const never = index.lookup(hashOf(1, 2), 0, createPlaces());
    gate.resolve();
    expect(await answer).toBe(FOUND);
    expect(await never).toBe(ABSENT);
    await filled;
    expect(index.tryLookup(hashOf(1, 2), 0, places)).toBe(ABSENT);
  });

  test("that fails leaves absence unknown, with the reason, until one succeeds", async () => {
    const { index } = await openTestIndex(newDisk(14), 1000);
    const [pack, other] = somePacks(2, 20);
    async function* broken(): AsyncGenerator<PackEntries> {
      yield pack!;
      throw new Error("pack 5 cannot be read");
    }
    expect(await reasonOf(index.fill(broken()))).toBe("pack 5 cannot be read");
    expect(await placesOf(index, pack!.hashes)).toEqual(["0:0"]);
    expect(await reasonOf(placesOf(index, other!.hashes))).toBe("pack 5 cannot be read");
    await index.fill(streamOf(other!));
    expect(await placesOf(index, hashOf(1, 2))).toEqual([]);
  });

  test("by a rebuild keeps packs that are added meanwhile", async () => {
    const { index } = await openTestIndex(newDisk(15), 64);
    const [old, added] = somePacks(2, 300);
    await index.addPack(old!);
    await Promise.all([index.addPack(added!), index.rebuild(streamOf(old!))]);
    await index.flush();
    for (const [number, pack] of [old!, added!].entries()) {
      for (const [i, hash] of hashesOf(pack).entries()) expect(await placesOf(index, hash)).toEqual([`${number}:${i}`]);
    }
  });
});

describe("a disk", () => {
  test("that is full fails the addition that needs it, loses nothing, and is used again when there is room", async () => {
    const disk = newDisk(16);
    const { index, reports } = await openTestIndex(disk, 100);
    const packs = somePacks(4, 90);
    disk.roomBytes = 6000;
    const reasons: unknown[] = [];
    for (const pack of packs) reasons.push(await reasonOf(index.addPack(pack)));
    expect(reasons.some((reason) => String(reason).includes("ENOSPC"))).toBe(true);
    expect(index.holds(packs[3]!.name)).toBe(false);
    expect(await placesOf(index, packs[0]!.hashes)).toEqual(["0:0"]);
    disk.roomBytes = 10 ** 6;
    for (const pack of packs) await index.addPack(pack);
    await index.flush();
    for (const [number, pack] of packs.entries()) {
      for (const [i, hash] of hashesOf(pack).entries()) expect(await placesOf(index, hash)).toEqual([`${number}:${i}`]);
    }
    expect(reports.every((report) => report.includes("ENOSPC"))).toBe(true);
    await index.close();
    expect((await disk.list(DIRECTORY)).filter((name) => name.endsWith(".new"))).toEqual([]);
  });

  // The pack table and the directory, then the run and the directory; later the pack table without the directory.
  test.each([
    [0, false],
    [1, false],
    [2, false],
    [3, false],
    [0, true],
    [1, true],
    [2, true],
  ])(
    "whose sync %d of a flush fails leaves an index that is whole (pack table there: %p)",
    async (failing, hasTable) => {
      const disk = newDisk(17);
      const { index } = await openTestIndex(disk, 100);
      const packs = somePacks(3, 60);
      await index.addPack(packs[0]!);
      if (hasTable) await index.flush();
      await index.addPack(packs[1]!);
      let syncCount = 0;
      disk.syncFails = () => syncCount++ === failing;
      expect(await reasonOf(index.flush())).toContain("could not be synced");
      await index.addPack(packs[2]!);
      await index.flush();
      await index.settled();
      expect(syncCount).toBeGreaterThan(failing + 2);
      disk.crash();
      const again = await openTestIndex(disk, 100);
      expect(again.reports).toEqual([]);
      expect(packs.map((pack) => again.index.holds(pack.name))).toEqual([true, true, true]);
      for (const [number, pack] of packs.entries()) {
        for (const [i, hash] of hashesOf(pack).entries()) {
          expect(await placesOf(again.index, hash)).toEqual([`${number}:${i}`]);
        }
      }
    },
  );
});

test("memory stays two memtables and a few bytes a block, and runs stay few", async () => {
  const { index } = await openTestIndex(newDisk(30), 128);
  const random = seededRandom(5);
  let mostRuns = 0;
  for (let number = 0; number < 400; number++) {
    await index.addPack(randomPack(number, 64, random));
    mostRuns = Math.max(mostRuns, index.status().runCount);
  }
  await index.flush();
  await index.settled();
  const { entryCount, memoryBytes, diskBytes, runCount } = index.status();
  expect(entryCount).toBe(25_600);
  // Memtables have 1024 slots to spare, which weighs in tables as small as these.
  expect(memoryBytes - 2 * (128 * 1.5 + 1024) * 16).toBeLessThan(entryCount * 4);
  expect(diskBytes).toBeLessThan(entryCount * 24);
  expect(mostRuns).toBeLessThan(14);
  expect(runCount).toBeLessThan(9);
});
