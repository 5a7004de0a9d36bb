/**
 * The journal against crashes and damage, by seed: 100 seeds of each, or 2,000 where VOE_TEST_FULL=1 is set. A failure
 * names its seed; VOE_TEST_SEED=<seed> runs that one alone.
 */
import { describe, expect, test } from "bun:test";
import { allocateMemory } from "../../ffi/memory.ts";
import { OK } from "../../src/storage/block-storage.ts";
import { JournalCorruption, WrongJournal } from "../../src/storage/cas/journal-corruption.ts";
import { recordBytes, segmentHeader, segmentName } from "../../src/storage/cas/journal-format.ts";
import type { Journal } from "../../src/storage/cas/journal.ts";
import { openJournal, type OpenOptions } from "../../src/storage/cas/open-journal.ts";
import { RecordBatch } from "../../src/storage/cas/record-batch.ts";
import { seededRandom } from "../support/seeded-random.ts";
import { runDamage } from "./journal-damage.ts";
import { DIRECTORY, runCrashes, type Tally } from "./journal-schedule.ts";
import { SimulatedDisk } from "./simulated-disk.ts";

const only = process.env["VOE_TEST_SEED"];
const seedCount = process.env["VOE_TEST_FULL"] === "1" ? 2000 : 100;
const seeds = only === undefined ? Array.from({ length: seedCount }, (_, index) => index + 1) : [Number(only)];
const TIMEOUT_MS = 120_000;

async function runSeeds(run: (seed: number, tally: Tally) => Promise<void>): Promise<Tally> {
  const tally: Tally = {};
  for (const seed of seeds) {
    await run(seed, tally).catch((error: unknown) => {
      throw new Error(`seed ${seed} (VOE_TEST_SEED=${seed} runs it alone): ${String(error)}`, { cause: error });
    });
  }
  return tally;
}

/** Every kind of event happened, so that the runs mean something. */
function expectAll(tally: Tally, ...events: string[]): void {
  if (only === undefined) expect(events.filter((event) => (tally[event] ?? 0) < seedCount / 20)).toEqual([]);
}

describe("simulation of the journal", () => {
  test(
    `after any crash a prefix of what was accepted is found, with everything that was synced (${seeds.length} seeds)`,
    async () => {
      const tally = await runSeeds(runCrashes);
      expectAll(tally, "power cuts", "kills", "orderly ends", "failed syncs", "crashes during recovery", "syncs");
      expectAll(tally, "failed syncs during recovery", "recoveries that lost something", "appends taken in part");
      expectAll(tally, "appends", "appends refused", "appends when full", "releases", "reads", "recycled segments");
      expectAll(tally, "failed writes", "writes that failed in the middle", "failed writes during recovery");
    },
    TIMEOUT_MS,
  );

  test(
    `a flipped bit is reported, or is at the very tail, or in padding: never is a durable record dropped before others (${seeds.length} seeds)`,
    async () => {
      const tally = await runSeeds(runDamage);
      expectAll(tally, "damage reported", "damage at the very tail", "journals wholly covered");
    },
    TIMEOUT_MS,
  );

  test("the same seed does the same", async () => {
    const tallies: Tally[] = [{}, {}];
    for (const tally of tallies) await runCrashes(7, tally);
    expect(tallies[0]).toEqual(tallies[1]);
  });
});

const payload = allocateMemory(4096);
const batch = new RecordBatch();
const RECORD_BYTES = recordBytes(4096);

const plain = (more: Partial<OpenOptions> = {}): OpenOptions => ({
  random: (bytes) => bytes.fill(9),
  report: () => {},
  ...more,
});

/** Appends a write of 4 KiB full of `value`. */
async function writeDurably(journal: Journal, value: number): Promise<void> {
  payload.bytes.fill(value);
  batch.clear();
  batch.addWrite(1, value * 8, 8, payload, 0);
  expect(journal.append(batch)).toBe(OK);
  await journal.sync();
}

/** A journal of three segments with three durable records each, whose process was killed; the records are 1 to 9. */
async function threeSegments(seed: number): Promise<{ disk: SimulatedDisk; journalId: string; paths: string[] }> {
  const disk = new SimulatedDisk(seededRandom(seed));
  disk.makeDirectory("/state");
  await disk.syncDirectory("/");
  const { journal } = await openJournal(disk, DIRECTORY, plain(), () => {});
  for (let value = 1; value <= 9; value++) {
    await writeDurably(journal, value);
    if (value % 3 === 0 && value < 9) expect(journal.rotate()).toBe(OK);
  }
  await journal.sync();
  disk.crash();
  const names = await disk.list(DIRECTORY);
  expect(names).toHaveLength(3);
  return { disk, journalId: journal.id, paths: names.map((name) => `${DIRECTORY}/${name}`) };
}

/** Takes away some of the segments. */
const removing =
  (...which: number[]) =>
  (disk: SimulatedDisk, paths: string[]): void => {
    for (const index of which) disk.remove(paths[index]!);
  };

/** What opening the journal ends with: the records, or the error. */
async function reopen(disk: SimulatedDisk, options = plain()): Promise<number[] | Error> {
  const found: number[] = [];
  try {
    await openJournal(disk, DIRECTORY, options, ({ sequence }) => found.push(sequence));
  } catch (error) {
    return error as Error;
  }
  return found;
}

describe("by name", () => {
  test("damage in the middle of the journal is corruption and not a torn tail", async () => {
    const spots = {
      "a payload": [0, segmentHeader.bytes + RECORD_BYTES + 1000],
      "a record's header": [0, segmentHeader.bytes + RECORD_BYTES + 20],
      "the last payload of a segment": [1, segmentHeader.bytes + 2 * RECORD_BYTES + 100],
      "the first record": [0, segmentHeader.bytes],
      "the header of the first segment": [0, 33],
      "the header of a segment in the middle": [1, 20],
      "the header of the last segment": [2, 50],
      "the last record but one": [2, segmentHeader.bytes + RECORD_BYTES + 2000],
    } as const;
    for (const [name, [segment, offset]] of Object.entries(spots)) {
      const { disk, paths } = await threeSegments(1);
      disk.flipBit(paths[segment]!, offset, 3);
      const before = paths.map((path) => Bun.hash(disk.contentOf(path)));
      const error = await reopen(disk);
      expect(error, name).toBeInstanceOf(JournalCorruption);
      const { damage, message } = error as JournalCorruption;
      expect(damage.path, name).toBe(paths[segment]!);
      expect(message).toContain(`${paths[segment]}: `);
      expect(message).toContain(`where record ${damage.sequence} ought to be`);
      expect(message).toContain("Nothing was changed");
      expect(paths.map((path) => Bun.hash(disk.contentOf(path)))).toEqual(before);
    }
  });

  test("damage to the last record of a journal that was killed is a torn tail, and what is before it is found", async () => {
    const { disk, paths } = await threeSegments(2);
    disk.flipBit(paths[2]!, segmentHeader.bytes + 2 * RECORD_BYTES + 100, 0);
    expect(await reopen(disk)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  });

  test("damage to the last record of a journal that was closed is corruption", async () => {
    const { disk } = await threeSegments(3);
    const { journal } = await openJournal(disk, DIRECTORY, plain(), () => {});
    await writeDurably(journal, 10);
    await journal.close();
    const [path] = (await disk.list(DIRECTORY)).slice(-2);
    disk.flipBit(`${DIRECTORY}/${path}`, segmentHeader.bytes + 100, 0);
    expect(await reopen(disk)).toBeInstanceOf(JournalCorruption);
  });

  test("recovery pointed at a wrong or half-empty directory refuses", async () => {
    const opened = async (change: (disk: SimulatedDisk, paths: string[]) => void, fromSequence = 1) => {
      const { disk, paths, journalId } = await threeSegments(4);
      change(disk, paths);
      return reopen(disk, plain({ expected: { journalId, fromSequence } }));
    };
    expect(await opened(() => {})).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);

    const empty = await opened(removing(0, 1, 2));
    expect(empty).toBeInstanceOf(WrongJournal);
    expect(String(empty)).toContain("holds no journal");
    // The oldest, the middle, and the newest are missing.
    expect(await opened(removing(0))).toBeInstanceOf(JournalCorruption);
    expect(await opened(removing(1))).toBeInstanceOf(JournalCorruption);
    expect(await opened(removing(2), 8)).toBeInstanceOf(JournalCorruption);
    // What a checkpoint covers may be missing.
    expect(await opened(removing(0), 4)).toEqual([4, 5, 6, 7, 8, 9]);
    expect(await opened(removing(0), 3)).toBeInstanceOf(JournalCorruption);

    const { disk } = await threeSegments(5);
    const stranger = plain({ expected: { journalId: "00112233445566ff", fromSequence: 1 } });
    expect(await reopen(disk, stranger)).toBeInstanceOf(WrongJournal);
    const absent = new SimulatedDisk(seededRandom(6));
    absent.makeDirectory("/state");
    expect(await reopen(absent, stranger)).toBeInstanceOf(WrongJournal);
    expect(await absent.list("/state")).toEqual([]);
  });

  test("the file of a segment that could not be begun says nothing of where the one before it ended", async () => {
    const { disk, paths } = await threeSegments(10);
    const { journal } = await openJournal(disk, DIRECTORY, plain(), () => {});
    await writeDurably(journal, 10);
    const first = batch.sequenceOf(0);
    // Its removal was not durable, and the space that the next record was to have in it went to the segment before.
    disk.create(`${DIRECTORY}/${segmentName(first + 1)}`);
    await writeDurably(journal, 11);
    disk.restart();
    expect(paths).toHaveLength(3);
    expect(await reopen(disk)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, first, first + 1]);
  });

  test("a middle segment that is missing is corruption without a checkpoint to compare with, too", async () => {
    const { disk, paths } = await threeSegments(7);
    disk.remove(paths[1]!);
    expect(await reopen(disk)).toBeInstanceOf(JournalCorruption);
  });

  test("a journal is not made among other files", async () => {
    const disk = new SimulatedDisk(seededRandom(8));
    disk.makeDirectory("/state");
    disk.makeDirectory(DIRECTORY);
    disk.create(`${DIRECTORY}/letter.txt`);
    expect(await reopen(disk)).toBeInstanceOf(WrongJournal);
    expect(await disk.list(DIRECTORY)).toEqual(["letter.txt"]);
  });

  test("segments of two journals in one directory are refused", async () => {
    const { disk } = await threeSegments(9);
    const other = plain({ random: (bytes) => bytes.fill(1) });
    await openJournal(disk, "/state/other", other, () => {});
    const [name] = await disk.list("/state/other");
    disk.rename(`/state/other/${name}`, `${DIRECTORY}/00000000000000ff.journal`);
    // Under another name its header is damaged; under its own it is a stranger's.
    expect(await reopen(disk)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    const [own] = await disk.list(DIRECTORY);
    disk.remove(`${DIRECTORY}/${own}`);
    const { journal } = await openJournal(disk, "/state/third", other, () => {});
    await journal.close();
    disk.rename(`/state/third/${own}`, `${DIRECTORY}/${own}`);
    expect(await reopen(disk)).toBeInstanceOf(WrongJournal);
  });
});
