/** A seeded life of an archive: writes, flushes, discards, checkpoints, power cuts and kills, checked against a model. */
import { allocateMemory, freeMemory } from "../../ffi/memory.ts";
import { createCompression } from "../../src/base/compression.ts";
import { createHasher } from "../../src/base/hash.ts";
import type { BlobStore } from "../../src/blob/blob-store.ts";
import { createMemoryStore, emptyContents } from "../../src/blob/memory-store.ts";
import { LATER, OK, SECTOR_BYTES, type BlockStorage, type StorageStatus } from "../../src/storage/block-storage.ts";
import { openArchive, type Archive } from "../../src/storage/cas/archive.ts";
import { seededRandom, type SeededRandom } from "../support/seeded-random.ts";
import { SimulatedDisk } from "./simulated-disk.ts";

const SECTORS = 640;
const BLOCK_BYTES = 4096;
const WRITE_MOST_SECTORS = 40;
const STATE = "/state";

export type Tally = Record<string, number>;

/** What was asked of the volume since the last time that it was read as a whole. */
interface Change {
  readonly sector: number;
  readonly count: number;
  /** What each of its sectors is full of; 0: discarded. */
  readonly version: number;
}

const hasher = createHasher("sha256");
const compression = createCompression();

/** A blob store that does nothing more once the process that has it is dead: its calls never end. */
function mortal(store: BlobStore, isAlive: () => boolean): BlobStore {
  const never = <T>(): Promise<T> => new Promise<T>(() => {});
  return {
    ...store,
    put: (...args) => (isAlive() ? store.put(...args) : never()),
    createRef: (...args) => (isAlive() ? store.createRef(...args) : never()),
    deleteRef: (...args) => (isAlive() ? store.deleteRef(...args) : never()),
  };
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

const call = (work: (completion: { complete(status: StorageStatus): void }) => void): Promise<StorageStatus> =>
  new Promise((resolve) => work({ complete: resolve }));

/** Sectors as they are: the version that each is full of. Throws where a sector is torn or cannot be read. */
async function readAll(volume: BlockStorage): Promise<Uint32Array> {
  const memory = allocateMemory(SECTORS * SECTOR_BYTES);
  try {
    let status = volume.tryRead(0, SECTORS, memory, 0);
    if (status === LATER) status = await call((completion) => volume.read(0, SECTORS, memory, 0, completion));
    if (status !== OK) throw new Error(`reading the volume ended with status ${status}`);
    const words = new Uint32Array(memory.bytes.buffer as ArrayBuffer, 0, (SECTORS * SECTOR_BYTES) / 4);
    const versions = new Uint32Array(SECTORS);
    for (let sector = 0; sector < SECTORS; sector++) {
      const at = (sector * SECTOR_BYTES) / 4;
      versions[sector] = words[at]!;
      for (let word = 1; word < SECTOR_BYTES / 4; word++) {
        if (words[at + word] !== words[at]) throw new Error(`sector ${sector} is torn at word ${word}`);
      }
    }
    return versions;
  } finally {
    freeMemory(memory);
  }
}

/** How many changes, at least `least` of them, make the model what was found; undefined where no number does. */
function prefixThatIs(
  found: Uint32Array,
  base: Uint32Array,
  changes: readonly Change[],
  least: number,
): number | undefined {
  const state = base.slice();
  for (let done = 0; ; done++) {
    if (done >= least && state.every((version, sector) => version === found[sector])) return done;
    const change = changes[done];
    if (change === undefined) return undefined;
    state.fill(change.version, change.sector, change.sector + change.count);
  }
}

interface Opened {
  readonly archive: Archive;
  readonly volume: BlockStorage;
}

const openSimulated = async (
  disk: SimulatedDisk,
  blobs: BlobStore,
  random: SeededRandom,
  report: () => void,
): Promise<Opened> => {
  const archive = await openArchive({
    disk: disk.session(),
    stateDirectory: STATE,
    blobs,
    hasher,
    compression,
    compresses: true,
    nodeCacheBytes: 1 << 20,
    // Less than the volume has.
    cacheBytes: 3 << 16,
    journalCheckpointBytes: Number.POSITIVE_INFINITY,
    journalLimitBytes: 4 << 20,
    journalSegmentBytes: 64 << 10,
    packBytes: 128 << 10,
    firmware: "1",
    nowMs: () => 1_700_000_000_000,
    random: (bytes) => random.fill(bytes),
    report,
  });
  const sizeBytes = SECTORS * SECTOR_BYTES;
  const volume = await archive.openVolume({
    name: "e1.0",
    blockBytes: BLOCK_BYTES,
    sizeBytes,
    readOnly: false,
    sync: { kind: "none" },
  });
  return { archive, volume };
};

async function emptyDisk(random: SeededRandom): Promise<SimulatedDisk> {
  const disk = new SimulatedDisk(random);
  disk.makeDirectory(STATE);
  await disk.syncDirectory("/");
  return disk;
}

/** Opens an archive that was written to with its blob store and an empty state directory, twice: how that ends. */
export async function runLostJournal(): Promise<{ first: string; second: string }> {
  const random = seededRandom(1);
  const contents = emptyContents();
  const { archive, volume } = await openSimulated(
    await emptyDisk(random),
    createMemoryStore(contents),
    random,
    () => {},
  );
  const memory = allocateMemory(SECTOR_BYTES);
  memory.bytes.fill(1);
  if (volume.tryWrite(0, 1, memory, 0) !== OK) throw new Error("the write was not taken");
  await archive.close();
  freeMemory(memory);
  const other = await emptyDisk(random);
  const attempt = (): Promise<string> =>
    openSimulated(other, createMemoryStore(contents), random, () => {}).then(
      () => "opened",
      (error: Error) => error.message,
    );
  return { first: await attempt(), second: await attempt() };
}

/** Runs the life of one seed. Throws where an invariant does not hold. */
export async function runArchive(seed: number, tally: Tally): Promise<void> {
  const count = (event: string): void => void (tally[event] = (tally[event] ?? 0) + 1);
  const random = seededRandom(seed);
  const disk = await emptyDisk(random);
  const contents = emptyContents();
  const memory = allocateMemory(WRITE_MOST_SECTORS * SECTOR_BYTES);
  const words = new Uint32Array(memory.bytes.buffer as ArrayBuffer, 0, memory.lengthBytes / 4);
  let base: Uint32Array = new Uint32Array(SECTORS);
  let version = 0;
  let changes: Change[] = [];
  let durable = 0;

  let alive = 0;
  const open = (life: number): Promise<Opened> =>
    openSimulated(
      disk,
      mortal(createMemoryStore(contents), () => alive === life),
      random,
      () => count("reports"),
    );

  const act = async ({ archive, volume }: Opened): Promise<void> => {
    const sector = random.below(SECTORS);
    const sectors = 1 + random.below(Math.min(WRITE_MOST_SECTORS, SECTORS - sector));
    const choice = random.below(100);
    if (choice < 70) {
      // Sometimes an old version, so that blocks are there already.
      const content = random.chance(0.2) && version > 0 ? 1 + random.below(version) : ++version;
      words.fill(content, 0, (sectors * SECTOR_BYTES) / 4);
      const status = volume.tryWrite(sector, sectors, memory, 0);
      if (status === OK) {
        changes.push({ sector, count: sectors, version: content });
        count("writes");
      } else if (status !== LATER) count("writes refused");
    } else if (choice < 78) {
      const whole = random.chance(0.1);
      const change = { sector: whole ? 0 : sector, count: whole ? SECTORS : sectors, version: 0 };
      changes.push(change);
      const status = await call((completion) => volume.discard(change.sector, change.count, completion));
      if (status !== OK) throw new Error(`a discard ended with status ${status}`);
      count("discards");
    } else if (choice < 88) {
      const upTo = changes.length;
      if ((await call((completion) => volume.flush(completion))) === OK) {
        durable = Math.max(durable, upTo);
        count("flushes");
      }
    } else if (choice < 94) {
      const upTo = changes.length;
      const checkpoint = archive.checkpoint();
      if (random.chance(0.5)) {
        await checkpoint;
        durable = Math.max(durable, upTo);
        count("checkpoints");
      } else {
        checkpoint.catch(() => {});
      }
    } else {
      const found = await readAll(volume);
      if (prefixThatIs(found, base, changes, changes.length) === undefined)
        throw new Error("a read is not what was written");
      count("reads");
    }
  };

  try {
    for (let life = 0; life < 6; life++) {
      alive = life;
      const opened = await open(life);
      const found = await readAll(opened.volume);
      const prefix = prefixThatIs(found, base, changes, durable);
      if (prefix === undefined) {
        throw new Error(
          `life ${life}: what was recovered is no prefix of ${changes.length} changes with ${durable} durable`,
        );
      }
      if (prefix < changes.length) count("recoveries that lost something");
      // What was recovered is durable, and the start of another life.
      base = found;
      changes = [];
      durable = 0;
      const end = random.below(3);
      if (end === 0) disk.losePowerAfter(1 + random.below(120));
      try {
        for (let step = 10 + random.below(80); step > 0; step--) {
          const acted = act(opened);
          // What waits for a disk that is off never ends.
          let turns = 0;
          let ended = false;
          void acted.then(
            () => (ended = true),
            () => (ended = true),
          );
          while (!ended && turns++ < 400) await turn();
          if (!ended) break;
          await acted;
          if (random.chance(0.3)) await turn();
        }
      } catch (error) {
        if (end !== 0) throw error;
      }
      if (end !== 2) alive = -1;
      if (end === 2) {
        await opened.archive.close();
        disk.restart();
        durable = changes.length;
        count("orderly ends");
      } else if (end === 1) {
        disk.restart();
        durable = changes.length;
        count("kills");
      } else {
        disk.crash();
        count("power cuts");
      }
    }
  } finally {
    freeMemory(memory);
  }
}
