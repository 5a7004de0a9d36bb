import { expect, test } from "bun:test";
import { encodeRootRecord, type RootRecord } from "../../../../src/storage/cas/root-record.ts";
import { findRoots, parseRootRefName, rootRefName } from "../../../../src/storage/cas/root-refs.ts";
import { reasonOf } from "../../../support/reason-of.ts";
import { checksumOf, makeRecord, VOLUME_ID } from "../../../support/root-records.ts";
import { seededRandom, testSeed } from "../../../support/seeded-random.ts";

const OTHER_ID = "f".repeat(32);

/** Records under their names, as a store has them. */
const store = (...records: RootRecord[]): Map<string, Uint8Array> =>
  new Map(records.map((record) => [rootRefName(record), encodeRootRecord(record)]));
const find = (refs: ReadonlyMap<string, Uint8Array>) => findRoots(refs.keys(), async (name) => refs.get(name));
const checkpoint = (sequence: number, changes: Partial<RootRecord> = {}) => makeRecord({ sequence, ...changes });
const snapshot = (sequence: number) => checkpoint(sequence, { kind: "snapshot" });
const nameOf = (sequence: number): string => rootRefName({ volumeId: VOLUME_ID, sequence });

test("names have numbers of 20 digits, so that their order is that of the records", () => {
  expect(nameOf(42)).toBe(`roots/${VOLUME_ID}/00000000000000000042`);
  expect(parseRootRefName(nameOf(42))).toEqual({ volumeId: VOLUME_ID, sequence: 42 });
  const numbers = [9, 10, 99, 100, 12_345_678_901, Number.MAX_SAFE_INTEGER];
  expect(numbers.map(nameOf).toSorted()).toEqual(numbers.map(nameOf));
  for (const sequence of numbers) expect(parseRootRefName(nameOf(sequence))?.sequence).toBe(sequence);
});

test.each([
  "roots/",
  `roots/${VOLUME_ID}`,
  `roots/${VOLUME_ID}/1`,
  `roots/${VOLUME_ID}/${"0".repeat(20)}`,
  `roots/${VOLUME_ID}/${"9".repeat(20)}`,
  `roots/${VOLUME_ID}/00000000000000000001.new`,
  `roots/${VOLUME_ID}/x/00000000000000000001`,
  `roots/../00000000000000000001`,
  `roots/e1.0/00000000000000000001`,
  `packs/${VOLUME_ID}/00000000000000000001`,
])("%s is not the name of a root", async (name) => {
  expect(parseRootRefName(name)).toBeUndefined();
  const { volumes, foreign } = await findRoots([name], () => Promise.reject(new Error("nothing is read")));
  expect(volumes.size).toBe(0);
  expect(foreign.length).toBe(name.startsWith("roots/") ? 1 : 0);
});

test("the newest record is the volume, of whatever kind, and snapshots come oldest first", async () => {
  const other = checkpoint(3, { volumeId: OTHER_ID });
  const refs = store(checkpoint(10), snapshot(2), checkpoint(9), snapshot(11), other);
  const { volumes, foreign } = await find(refs);
  expect([...volumes.keys()]).toEqual([VOLUME_ID, OTHER_ID]);
  expect(foreign).toEqual([]);
  expect(volumes.get(VOLUME_ID)).toEqual({
    volumeId: VOLUME_ID,
    newest: { record: snapshot(11), checksum: checksumOf(snapshot(11)) },
    snapshots: [snapshot(2), snapshot(11)].map((record) => ({ record, checksum: checksumOf(record) })),
    checkpoints: [9, 10],
    refused: [],
    refusedNewer: [],
    nextSequence: 12,
  });
  expect(volumes.get(OTHER_ID)).toMatchObject({ newest: { record: other }, snapshots: [], nextSequence: 4 });
});

test("a damaged newest record is reported, and the one before it is the volume", async () => {
  const refs = store(checkpoint(1), snapshot(2), checkpoint(3));
  refs.get(nameOf(3))![20]! ^= 1;
  const volume = (await find(refs)).volumes.get(VOLUME_ID)!;
  expect(volume.newest?.record.sequence).toBe(2);
  expect(volume.refusedNewer).toEqual([{ name: nameOf(3), reason: "does not match its checksum" }]);
  expect(volume.refused).toEqual(volume.refusedNewer);
  expect(volume.nextSequence).toBe(4);
});

test("a damaged old record is reported, and nothing has fallen back", async () => {
  const refs = store(checkpoint(1), snapshot(2), checkpoint(3));
  refs.set(nameOf(2), new Uint8Array());
  const volume = (await find(refs)).volumes.get(VOLUME_ID)!;
  expect(volume.newest?.record.sequence).toBe(3);
  expect(volume.snapshots).toEqual([]);
  expect(volume.refused.map(({ name }) => name)).toEqual([nameOf(2)]);
  expect(volume.refusedNewer).toEqual([]);
});

test("a volume of which no record can be used is there all the same, without a newest", async () => {
  const refs = new Map([[nameOf(7), new Uint8Array(9)]]);
  const volume = (await find(refs)).volumes.get(VOLUME_ID)!;
  expect(volume.newest).toBeUndefined();
  expect(volume.refusedNewer.length).toBe(1);
  expect(volume.nextSequence).toBe(8);
});

test.each([
  ["another volume", checkpoint(3, { volumeId: OTHER_ID }), `is a record of volume ${OTHER_ID}`],
  ["another number", checkpoint(2), "is record 2, under the name of another"],
  ["another hash", checkpoint(3, { hash: "sha256" }), "has hash sha256, and the records before it blake3"],
  [
    "another block size",
    checkpoint(3, { blockSizeBytes: 512 }),
    "has blocks of 512 bytes, and the records before it of 4096",
  ],
])("an intact record of %s under a name is refused", async (_, record, reason) => {
  const refs = store(checkpoint(1));
  refs.set(nameOf(3), encodeRootRecord(record));
  const volume = (await find(refs)).volumes.get(VOLUME_ID)!;
  expect(volume.newest?.record.sequence).toBe(1);
  expect(volume.refusedNewer).toHaveLength(1);
  expect(volume.refusedNewer[0]!.reason).toContain(reason);
});

test("an old record that is deleted meanwhile is no matter; a newest one that is gone is reported", async () => {
  const refs = store(checkpoint(2));
  const found = await findRoots([1, 2, 3].map(nameOf), async (name) => refs.get(name));
  const volume = found.volumes.get(VOLUME_ID)!;
  expect(volume.newest?.record.sequence).toBe(2);
  expect(volume.refused).toEqual([{ name: nameOf(3), reason: "was in the list of names and is gone" }]);
  expect(volume.refusedNewer).toEqual(volume.refused);
});

test("a record that cannot be read now is no damage: nothing falls back", async () => {
  const refs = store(checkpoint(1), checkpoint(2));
  const read = async (name: string): Promise<Uint8Array | undefined> => {
    if (name === nameOf(2)) throw new Error("connection refused");
    return refs.get(name);
  };
  expect(await reasonOf(findRoots(refs.keys(), read))).toBe("connection refused");
});

test("no more than 16 records are read at a time, each once", async () => {
  const refs = store(...Array.from({ length: 50 }, (_, at) => checkpoint(at + 1)));
  let now = 0;
  let most = 0;
  const reads: string[] = [];
  const { volumes } = await findRoots([...refs.keys(), ...refs.keys()], async (name) => {
    reads.push(name);
    most = Math.max(most, ++now);
    await new Promise((resolve) => setImmediate(resolve));
    now--;
    return refs.get(name);
  });
  expect(reads.length).toBe(50);
  expect(most).toBe(16);
  expect(volumes.get(VOLUME_ID)?.newest?.record.sequence).toBe(50);
});

test(`whatever is damaged, the newest intact record is found (VOE_TEST_SEED=${testSeed})`, async () => {
  const random = seededRandom(testSeed);
  for (let round = 0; round < 200; round++) {
    const records = Array.from({ length: 1 + random.below(12) }, (_, at) =>
      random.chance(0.4) ? snapshot(at * 3 + 1) : checkpoint(at * 3 + 1),
    );
    const refs = store(...records);
    const intact = records.filter((record) => {
      if (random.chance(0.6)) return true;
      const bytes = refs.get(rootRefName(record))!;
      bytes[random.below(bytes.length)]! ^= 1 << random.below(8);
      return false;
    });
    const volume = (await find(refs)).volumes.get(VOLUME_ID)!;
    expect(volume.newest?.record ?? null).toEqual(intact.at(-1) ?? null);
    expect(volume.snapshots.map(({ record }) => record)).toEqual(intact.filter(({ kind }) => kind === "snapshot"));
    expect(volume.refused.length).toBe(records.length - intact.length);
    const newest = intact.at(-1)?.sequence ?? 0;
    expect(volume.refusedNewer.length).toBe(records.filter(({ sequence }) => sequence > newest).length);
    expect(volume.nextSequence).toBe(records.at(-1)!.sequence + 1);
  }
});
