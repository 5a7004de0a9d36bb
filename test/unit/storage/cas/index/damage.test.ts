import { describe, expect, test } from "bun:test";
import { allocateMemory, freeMemory } from "../../../../../ffi/memory.ts";
import {
  DIRECTORY,
  hashesOf,
  newDisk,
  openTestIndex,
  placesOf,
  randomPack,
  somePacks,
  streamOf,
} from "../../../../support/index-packs.ts";
import { openIndex } from "../../../../../src/storage/cas/index/block-index.ts";
import { reasonOf } from "../../../../support/reason-of.ts";
import { seededRandom } from "../../../../support/seeded-random.ts";

const RUN_1 = `${DIRECTORY}/run-00000001-00000001`;

describe("damage", () => {
  test("of a page is reported by the lookup that meets it, and repaired by a rebuild", async () => {
    const disk = newDisk(9);
    const { index, reports } = await openTestIndex(disk, 1000);
    const packs = somePacks(2, 300);
    await index.addPack(packs[0]!);
    await index.addPack(packs[1]!);
    await index.flush();
    disk.flipBit(RUN_1, 2000, 3);
    const said: string[] = [];
    for (const [i, hash] of hashesOf(packs[0]!).entries()) {
      const answer = placesOf(index, hash);
      const reason = await reasonOf(answer);
      if (reason === "") expect(await answer).toEqual([`0:${i}`]);
      else said.push(reason);
    }
    expect(said.length).toBeGreaterThan(50);
    expect(said[0]).toContain("page 0 of run-00000001-00000001 is not what was written");
    expect(reports).toEqual([said[0]!]);

    // A pack that the store has no longer is forgotten.
    await index.rebuild(streamOf(packs[0]!));
    for (const [i, hash] of hashesOf(packs[0]!).entries()) expect(await placesOf(index, hash)).toEqual([`0:${i}`]);
    expect(await placesOf(index, packs[1]!.hashes)).toEqual([]);
    expect(index.holds(packs[1]!.name)).toBe(false);
    await index.close();
    const again = await openTestIndex(disk, 1000);
    expect(again.index.holds(packs[0]!.name)).toBe(true);
    expect(again.reports).toEqual([]);
  });

  test("of a page is waited out by lookups where the index is built again at once", async () => {
    const disk = newDisk(9);
    const packs = somePacks(2, 300);
    const first = await openTestIndex(disk, 1000);
    for (const pack of packs) await first.index.addPack(pack);
    await first.index.close();
    disk.flipBit(RUN_1, 2000, 3);
    let rebuilds = 0;
    const index = await openIndex(
      { disk, directory: DIRECTORY, pause: () => Promise.resolve() },
      {
        memtableEntries: 1000,
        damaged() {
          rebuilds++;
          void index.rebuild(streamOf(...packs));
        },
        report: (_, message) => expect(message).toBe(""),
      },
    );
    const answers = hashesOf(packs[0]!).map((hash) => placesOf(index, hash));
    for (const [i, answer] of answers.entries()) expect(await answer).toEqual([`0:${i}`]);
    expect(rebuilds).toBe(1);
    await index.close();
  });

  test("of a page stops merges, is reported once, and does not stop additions", async () => {
    const disk = newDisk(10);
    const { index, reports } = await openTestIndex(disk, 1000);
    const packs = somePacks(5, 100);
    await index.addPack(packs[0]!);
    await index.flush();
    disk.flipBit(RUN_1, 100, 0);
    for (const pack of packs.slice(1)) {
      await index.addPack(pack);
      await index.flush();
      await index.settled();
    }
    expect(index.status().runCount).toBe(5);
    expect(reports).toHaveLength(1);
    await index.rebuild(streamOf(...packs));
    await index.settled();
    expect(index.status()).toMatchObject({ runCount: 1, entryCount: 500 });
  });

  const cases: Record<string, { harm: (disk: ReturnType<typeof newDisk>) => void; said: string }> = {
    "a footer that was changed": {
      harm: (disk) => disk.flipBit(RUN_1, disk.contentOf(RUN_1).length - 50, 1),
      said: "has a footer that was changed",
    },
    "a filter that was changed": { harm: (disk) => disk.flipBit(RUN_1, 8192 + 5, 1), said: "the filter of" },
    "fences that were changed": {
      harm: (disk) => disk.flipBit(RUN_1, disk.contentOf(RUN_1).length - 130, 1),
      said: "the fences of",
    },
    "a run that is cut short": {
      harm: (disk) => disk.open(RUN_1).truncate(5000),
      said: "does not end in a footer",
    },
    "a run that is empty": { harm: (disk) => disk.open(RUN_1).truncate(0), said: "ends after 0 bytes" },
    "a run under another name": {
      harm: (disk) => disk.rename(RUN_1, `${DIRECTORY}/run-00000001-00000002`),
      said: "is run-00000001-00000001 by its footer",
    },
    "a run that does not begin with the first flush": {
      harm: (disk) => disk.rename(RUN_1, `${DIRECTORY}/run-00000002-00000002`),
      said: "a run is missing",
    },
    "no pack table": {
      harm: (disk) => disk.remove(`${DIRECTORY}/packs`),
      said: "belongs to another pack table",
    },
    "a record of the pack table changed": {
      harm: (disk) => disk.flipBit(`${DIRECTORY}/packs`, 53, 1),
      said: "belongs to another pack table",
    },
    "the head of the pack table changed": {
      harm: (disk) => disk.flipBit(`${DIRECTORY}/packs`, 11, 1),
      said: "does not begin as one of this version",
    },
  };
  test.each(Object.keys(cases))("%s: the index is reported, begun anew, and filled in", async (name) => {
    const disk = newDisk(11);
    const packs = somePacks(2, 200);
    const first = await openTestIndex(disk, 1000);
    for (const pack of packs) await first.index.addPack(pack);
    await first.index.close();
    cases[name]!.harm(disk);
    const { index, reports } = await openTestIndex(disk, 1000);
    expect(reports).toHaveLength(1);
    expect(reports[0]).toContain(cases[name]!.said);
    expect(packs.map((pack) => index.holds(pack.name))).toEqual([false, false]);
    expect(index.status().entryCount).toBe(0);
    await index.fill(streamOf(...packs));
    expect(await placesOf(index, packs[1]!.hashes.subarray(32))).toEqual(["1:1"]);
    await index.close();
    const again = await openTestIndex(disk, 1000);
    expect(again.reports).toEqual([]);
    expect(again.index.status().entryCount).toBe(400);
  });

  test("a pack table of another index is told from the right one", async () => {
    const [disk, stranger] = [newDisk(11), newDisk(12)];
    const packs = somePacks(4, 50);
    for (const [where, from] of [
      [disk, 0],
      [stranger, 2],
    ] as const) {
      const { index } = await openTestIndex(where);
      await index.addPack(packs[from]!);
      await index.addPack(packs[from + 1]!);
      await index.close();
    }
    const table = stranger.contentOf(`${DIRECTORY}/packs`);
    const memory = allocateMemory(table.length);
    memory.bytes.set(table);
    disk.open(`${DIRECTORY}/packs`).write(memory, 0, table.length, 0);
    freeMemory(memory);
    const { reports } = await openTestIndex(disk);
    expect(reports).toHaveLength(1);
    expect(reports[0]).toContain("belongs to another pack table");
  });

  test("names are made durable before any is taken away: a merged run may have its own since a moment only", async () => {
    const disk = newDisk(11);
    const first = await openTestIndex(disk, 1000);
    await first.index.addPack(somePacks(1, 100)[0]!);
    await first.index.close();
    // Another run covers it, whose name the process that was killed had no time to sync.
    disk.rename(RUN_1, `${DIRECTORY}/run-00000001-00000002`);
    disk.create(RUN_1);
    const calls: string[] = [];
    const session = disk.session();
    const traced = {
      ...session,
      remove(path: string) {
        calls.push(`remove ${path}`);
        session.remove(path);
      },
      async syncDirectory(path: string) {
        calls.push(`sync ${path}`);
        await session.syncDirectory(path);
      },
    };
    const place = { disk: traced, directory: DIRECTORY, pause: () => Promise.resolve() };
    await openIndex(place, { damaged: () => {}, report: () => {} });
    expect(calls.indexOf(`remove ${RUN_1}`)).toBeGreaterThan(calls.indexOf(`sync ${DIRECTORY}`));
    expect(calls).toContain(`sync ${DIRECTORY}`);
    expect(calls).toContain(`remove ${RUN_1}`);
  });

  test("a newest run that is missing costs its packs and nothing else", async () => {
    const disk = newDisk(12);
    const packs = [randomPack(0, 300, seededRandom(1)), randomPack(1, 50, seededRandom(2))];
    const first = await openTestIndex(disk, 1000);
    for (const pack of packs) {
      await first.index.addPack(pack);
      await first.index.flush();
    }
    await first.index.close();
    disk.remove(`${DIRECTORY}/run-00000002-00000002`);
    const { index, reports } = await openTestIndex(disk, 1000);
    expect(packs.map((pack) => index.holds(pack.name))).toEqual([true, false]);
    expect(reports).toEqual([]);
  });
});
