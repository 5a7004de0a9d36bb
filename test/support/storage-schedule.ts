/** Random requests to a storage, many under way at once, checked against what a disk in the same order would hold. */
import { OK, SECTOR_BYTES, type BlockStorage, type StorageStatus } from "../../src/storage/block-storage.ts";
import { seededRandom } from "./seeded-random.ts";
import { copyLent, discardStatus, flushStatus, readSectors, statusName, writeStatus } from "./storage-requests.ts";
import { makeSectors, versionOf } from "./versioned-sectors.ts";

/** Sectors that the requests keep to: few, so that they overlap. */
const RANGE_SECTORS = 96;
const MOST_SECTORS = 20;

export interface ScheduleOptions {
  readonly storage: BlockStorage;
  readonly evict: (() => void) | undefined;
  readonly seed: number;
  readonly requestCount: number;
  /** The version of the first write; every write has one of its own. */
  readonly version: number;
}

/** Rejects where a read sees anything but the writes and discards that were asked before it, or a request fails. */
export async function runSchedule({ storage, evict, seed, requestCount, version }: ScheduleOptions): Promise<void> {
  const random = seededRandom(seed);
  const model = new Uint32Array(RANGE_SECTORS);
  const found = await readSectors(storage, 0, RANGE_SECTORS);
  for (let i = 0; i < RANGE_SECTORS; i++) model[i] = versionOf(sectorAt(found, i), i);
  let nextVersion = version;
  const ends: Promise<void>[] = [];

  for (let i = 0; i < requestCount; i++) {
    const count = 1 + random.below(MOST_SECTORS);
    const sector = random.below(RANGE_SECTORS - count);
    const what = `seed ${seed}, request ${i}`;
    switch (random.below(16)) {
      case 0:
        ends.push(expectOk(`${what}, flush`, flushStatus(storage)));
        break;
      case 1:
        ends.push(expectOk(`${what}, discard`, discardStatus(storage, sector, count)));
        model.fill(0, sector, sector + count);
        break;
      case 2:
        evict?.();
        break;
      case 3:
      case 4:
        // Whatever is under way gets a turn, or comes to its end.
        if (random.chance(0.3)) await Promise.all(ends.splice(0));
        else await new Promise<void>((resolve) => setImmediate(resolve));
        break;
      case 5:
      case 6:
      case 7:
      case 8:
      case 9: {
        const data = makeSectors(sector, count, ++nextVersion);
        ends.push(expectOk(`${what}, write`, writeStatus(storage, sector, data, random.chance(0.1))));
        model.fill(nextVersion, sector, sector + count);
        break;
      }
      default: {
        const expected = model.slice(sector, sector + count);
        const address = storage.lend(sector, count);
        if (address !== 0) check(`${what}, lent`, sector, copyLent(address, count * SECTOR_BYTES), expected);
        else
          ends.push(
            readSectors(storage, sector, count).then((bytes) => check(`${what}, read`, sector, bytes, expected)),
          );
      }
    }
  }
  await Promise.all(ends);
  check(`seed ${seed}, the end`, 0, await readSectors(storage, 0, RANGE_SECTORS), model);
}

function check(what: string, sector: number, bytes: Uint8Array, expected: Uint32Array): void {
  for (const [i, wanted] of expected.entries()) {
    const actual = versionOf(sectorAt(bytes, i), sector + i);
    if (actual !== wanted) throw new Error(`${what}: sector ${sector + i} had version ${actual}, not ${wanted}`);
  }
}

async function expectOk(what: string, end: Promise<StorageStatus>): Promise<void> {
  const status = await end;
  if (status !== OK) throw new Error(`${what}: ${statusName(status)}`);
}

const sectorAt = (bytes: Uint8Array, index: number): Uint8Array =>
  bytes.subarray(index * SECTOR_BYTES, (index + 1) * SECTOR_BYTES);
