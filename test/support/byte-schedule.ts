/**
 * Random requests of any bytes to a disk, from several who know nothing of each other and many under way at once, checked
 * against what a disk that took them in the same order would hold.
 */
import { allocateMemory, freeMemory } from "../../ffi/memory.ts";
import { LATER, OK, SECTOR_BYTES, type BlockStorage, type StorageStatus } from "../../src/storage/block-storage.ts";
import { openByteStorage, type ByteStorage } from "../../src/storage/byte-storage.ts";
import { fillRandom } from "./block-content.ts";
import { seededRandom, type SeededRandom } from "./seeded-random.ts";
import { ended, readSectors, statusName } from "./storage-requests.ts";

/** Sectors that the requests keep to: few, so that they overlap. */
const RANGE_SECTORS = 40;
const RANGE_BYTES = RANGE_SECTORS * SECTOR_BYTES;
const CLIENTS = 3;

export interface ByteScheduleOptions {
  readonly storage: BlockStorage;
  readonly evict: (() => void) | undefined;
  /** Moves what was written to where it stays, beside the requests. */
  readonly checkpoint: (() => Promise<unknown>) | undefined;
  readonly seed: number;
  readonly requestCount: number;
}

interface Request {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly durable: boolean;
}

/** Rejects where a read sees anything but what was asked before it, data is called a hole, or a request fails. */
export async function runByteSchedule(options: ByteScheduleOptions): Promise<void> {
  const { storage, evict, checkpoint, seed, requestCount } = options;
  const random = seededRandom(seed);
  const model = await readSectors(storage, 0, RANGE_SECTORS);
  // One who addresses sectors, as AoE does, and those who address bytes.
  const clients = Array.from({ length: CLIENTS }, () => openByteStorage(storage));
  const ends: Promise<void>[] = [];
  let checkpointing: Promise<unknown> = Promise.resolve();

  for (let i = 0; i < requestCount; i++) {
    const what = `seed ${seed}, request ${i}`;
    const client = random.pick(clients);
    const request = randomRequest(random, client === clients[0]);
    const { offsetBytes, lengthBytes } = request;
    const endBytes = offsetBytes + lengthBytes;
    switch (random.below(16)) {
      case 0:
      case 1:
        ends.push(expectOk(`${what}, zeroes`, zeroStatus(client, request, random.chance(0.5))));
        model.fill(0, offsetBytes, endBytes);
        break;
      case 2:
        ends.push(expectOk(`${what}, trim`, trimStatus(client, request)));
        model.fill(0, toSectors(Math.ceil(offsetBytes / SECTOR_BYTES)), toSectors(Math.floor(endBytes / SECTOR_BYTES)));
        break;
      case 3:
        evict?.();
        break;
      case 4:
        await checkpointing;
        if (checkpoint !== undefined) checkpointing = checkpoint();
        break;
      case 5:
      case 6:
        // Whatever is under way gets a turn, or comes to its end, when it is known what may be a hole.
        if (random.chance(0.5)) await new Promise<void>((resolve) => setImmediate(resolve));
        else {
          await Promise.all(ends.splice(0));
          ends.push(checkHoles(what, storage, model.slice(), 1 + random.below(4)));
        }
        break;
      case 7:
      case 8:
      case 9:
      case 10:
      case 11: {
        const data = new Uint8Array(lengthBytes);
        fillRandom(random, data);
        ends.push(expectOk(`${what}, write`, putStatus(client, request, data)));
        model.set(data, offsetBytes);
        break;
      }
      default:
        ends.push(checkRead(what, client, request, model.slice(offsetBytes, endBytes)));
    }
  }
  await Promise.all(ends);
  await checkpointing;
  const found = await readSectors(storage, 0, RANGE_SECTORS);
  if (Buffer.compare(found, model) !== 0)
    throw new Error(`seed ${seed}: the disk ends as another: ${odd(found, model)}`);
}

const toSectors = (sector: number): number => sector * SECTOR_BYTES;

function randomRequest(random: SeededRandom, bySectors: boolean): Request {
  const durable = random.chance(0.1);
  if (bySectors) {
    const count = 1 + random.below(6);
    return { offsetBytes: toSectors(random.below(RANGE_SECTORS - count)), lengthBytes: toSectors(count), durable };
  }
  // From a byte to a few sectors.
  const lengthBytes = 1 + random.below(random.pick([4, 300, SECTOR_BYTES, 4 * SECTOR_BYTES]));
  return { offsetBytes: random.below(RANGE_BYTES - lengthBytes + 1), lengthBytes, durable };
}

/** Writes as a protocol does, and spoils the source as soon as it may. */
function putStatus(disk: ByteStorage, { offsetBytes, durable }: Request, data: Uint8Array): Promise<StorageStatus> {
  const memory = allocateMemory(data.length + 3);
  try {
    memory.bytes.set(data, 3);
    const status = durable ? LATER : disk.tryWrite(offsetBytes, data.length, memory, 3);
    if (status !== LATER) return Promise.resolve(status);
    const end = ended((completion) => disk.write(offsetBytes, data.length, memory, 3, durable, completion));
    memory.bytes.fill(0xee);
    return end;
  } finally {
    freeMemory(memory);
  }
}

const zeroStatus = (disk: ByteStorage, request: Request, allocate: boolean): Promise<StorageStatus> =>
  ended((completion) =>
    disk.writeZeroes(request.offsetBytes, request.lengthBytes, allocate, request.durable, completion),
  );

const trimStatus = (disk: ByteStorage, { offsetBytes, lengthBytes, durable }: Request): Promise<StorageStatus> =>
  ended((completion) => disk.trim(offsetBytes, lengthBytes, durable, completion));

/** Begins a read now, which has to see what was asked until now. */
function checkRead(what: string, disk: ByteStorage, request: Request, expected: Uint8Array): Promise<void> {
  const { offsetBytes, lengthBytes } = request;
  const at = 5;
  const memory = allocateMemory(lengthBytes + 2 * at);
  memory.bytes.fill(0x55);
  const status = disk.tryRead(offsetBytes, lengthBytes, memory, at);
  const end =
    status === LATER
      ? ended((completion) => disk.read(offsetBytes, lengthBytes, memory, at, completion))
      : Promise.resolve(status);
  return end
    .then((last) => {
      if (last !== OK) throw new Error(`${what}, read: ${statusName(last)}`);
      const found = memory.bytes.slice(at, at + lengthBytes);
      if (Buffer.compare(found, expected) !== 0) throw new Error(`${what}, read: ${odd(found, expected)}`);
      const beside = [...memory.bytes.subarray(0, at), ...memory.bytes.subarray(at + lengthBytes)];
      if (beside.some((byte) => byte !== 0x55)) throw new Error(`${what}, read: it touched what was not asked for`);
    })
    .finally(() => freeMemory(memory));
}

/** Nothing that is data now, when nothing is under way, may be called a hole, whatever is written meanwhile. */
async function checkHoles(what: string, storage: BlockStorage, model: Uint8Array, most: number): Promise<void> {
  const extents = await storage.extents(0, RANGE_SECTORS, most);
  if (extents.length === 0 || extents.length > most) throw new Error(`${what}: ${extents.length} extents`);
  let sector = 0;
  for (const { sectorCount, isHole } of extents) {
    const bytes = model.subarray(toSectors(sector), toSectors(sector + sectorCount));
    if (isHole && bytes.some((byte) => byte !== 0)) {
      throw new Error(`${what}: sectors ${sector} to ${sector + sectorCount - 1} are said to be a hole`);
    }
    sector += sectorCount;
  }
  if (sector > RANGE_SECTORS)
    throw new Error(`${what}: extents of ${sector} sectors where ${RANGE_SECTORS} are asked for`);
}

const odd = (found: Uint8Array, expected: Uint8Array): string => {
  const at = found.findIndex((byte, i) => byte !== expected[i]);
  return `byte ${at} was ${found[at]}, not ${expected[at]}`;
};

async function expectOk(what: string, end: Promise<StorageStatus>): Promise<void> {
  const status = await end;
  if (status !== OK) throw new Error(`${what}: ${statusName(status)}`);
}
