/** Packs and an index over a simulated disk, as the tests of the archive's index use them. */
import { SimulatedDisk } from "../simulation/simulated-disk.ts";
import { FOUND, LATER, openIndex, type BlockIndex, type PackEntries } from "../../src/storage/cas/index/block-index.ts";
import { createPlaces } from "../../src/storage/cas/index/places.ts";
import { seededRandom, type SeededRandom } from "./seeded-random.ts";

export const DIRECTORY = "/index";

/** A hash with these two words in front; the rest is `rest`. */
export function hashOf(high: number, low: number, rest = 0): Uint8Array {
  const hash = new Uint8Array(32).fill(rest);
  const view = new DataView(hash.buffer);
  view.setUint32(0, high);
  view.setUint32(4, low);
  return hash;
}

export const packName = (number: number): Uint8Array => hashOf(number, 0, 0xaa);

export function packOf(number: number, hashes: readonly Uint8Array[]): PackEntries {
  const joined = new Uint8Array(hashes.length * 32);
  for (const [i, hash] of hashes.entries()) joined.set(hash, i * 32);
  return { name: packName(number), hashes: joined, plainBytes: hashes.length * 4096 };
}

export const randomHash = (random: SeededRandom): Uint8Array => hashOf(random.below(2 ** 32), random.below(2 ** 32));

export const randomPack = (number: number, count: number, random: SeededRandom): PackEntries =>
  packOf(
    number,
    Array.from({ length: count }, () => randomHash(random)),
  );

/** Packs 0 to `count` - 1. */
export function somePacks(count: number, entries: number): PackEntries[] {
  const random = seededRandom(7);
  return Array.from({ length: count }, (_, i) => randomPack(i, entries, random));
}

/** The hashes of a pack, one by one. */
export const hashesOf = ({ hashes }: PackEntries): Uint8Array[] =>
  Array.from({ length: hashes.length / 32 }, (_, i) => hashes.subarray(i * 32, i * 32 + 32));

export async function* streamOf<T>(...items: T[]): AsyncGenerator<T> {
  for (const item of items) {
    await Promise.resolve();
    yield item;
  }
}

const nameText = (name: Uint8Array): number => new DataView(name.buffer, name.byteOffset).getUint32(0);

/** Where the index says a block may be: "number of the pack:ordinal", sorted. */
export async function placesOf(index: BlockIndex, hash: Uint8Array): Promise<string[]> {
  const places = createPlaces();
  let status = index.tryLookup(hash, 0, places);
  if (status === LATER) status = await index.lookup(hash, 0, places);
  if ((status === FOUND) !== places.count > 0) throw new Error(`status ${status} with ${places.count} places`);
  return Array.from(
    { length: places.count },
    (_, i) => `${nameText(index.packName(places.packs[i]!))}:${places.ordinals[i]}`,
  ).sort();
}

export interface TestIndex {
  readonly index: BlockIndex;
  /** What it has reported, damage included. */
  readonly reports: string[];
}

export const newDisk = (seed: number): SimulatedDisk => new SimulatedDisk(seededRandom(seed));

export async function openTestIndex(disk: SimulatedDisk, memtableEntries = 64): Promise<TestIndex> {
  const reports: string[] = [];
  const index = await openIndex(
    { disk, directory: DIRECTORY, pause: () => Promise.resolve() },
    {
      memtableEntries,
      damaged: (error) => void reports.push(error.message),
      report: (_, message) => void reports.push(message),
    },
  );
  return { index, reports };
}
