import { expect, test } from "bun:test";
import type { BlobStore } from "../../../../src/blob/blob-store.ts";
import { createMemoryStore } from "../../../../src/blob/memory-store.ts";
import type { KnownPack, PackDirectories } from "../../../../src/storage/cas/pack-directories.ts";
import { PackDirectory } from "../../../../src/storage/cas/pack-directory.ts";
import { ENTRY, ENTRY_BYTES } from "../../../../src/storage/cas/pack-format.ts";
import { createReadAhead } from "../../../../src/storage/cas/read-ahead.ts";

const MIB = 2 ** 20;
const PACK_BYTES = 16 * MIB;

/** A pack of one entry of 16 MiB, as far as reading ahead can tell. */
function packOf(number: number): KnownPack {
  const bytes = new Uint8Array(ENTRY_BYTES);
  new DataView(bytes.buffer).setUint32(ENTRY.storedLength, PACK_BYTES, true);
  return { number, blobName: `pack ${number}`, directory: new PackDirectory(bytes), recent: false };
}

function bed(): { note: (number: number, at: number, length: number) => void; told: string[]; loaded: number[] } {
  const told: string[] = [];
  const loaded: number[] = [];
  const blobs: BlobStore = {
    ...createMemoryStore(),
    willRead: (name, offset, length) => void told.push(`${name}: ${offset / MIB} to ${(offset + length) / MIB}`),
  };
  const directories: PackDirectories = {
    tryGet: () => undefined,
    async load(number) {
      loaded.push(number);
      if (number > 2) throw new RangeError("no such pack");
      return packOf(number);
    },
    remember: (number) => packOf(number),
    isWorthLoading: () => true,
  };
  const ahead = createReadAhead(blobs, directories);
  return { note: (number, at, length) => ahead.note(packOf(number), at, length), told, loaded };
}

test("what is read in order is fetched ahead, a MiB or more at a time, into the next pack and its directory", async () => {
  const { note, told, loaded } = bed();
  for (const number of [1, 2]) {
    for (let at = 0; at < PACK_BYTES; at += 65536) {
      note(number, at, 65536);
      await Promise.resolve();
    }
  }
  expect(told[0]).toBe("pack 1: 0.25 to 4.25");
  const parts = told.map((line) =>
    line
      .match(/^pack (\d): (\S+) to (\S+)$/)!
      .slice(1)
      .map(Number),
  );
  for (const number of [1, 2]) {
    const ofPack = parts.filter(([of]) => of === number);
    expect(ofPack.length).toBeLessThan(16);
    // Without a gap, and nothing twice.
    for (const [i, [, from]] of ofPack.entries())
      expect(from).toBe(i === 0 ? (number === 1 ? 0.25 : 0) : ofPack[i - 1]![2]!);
    expect(ofPack.at(-1)![2]).toBe(16);
  }
  // That there is no pack 3 is nobody's trouble.
  expect(loaded).toEqual([2, 3]);
});

test("requests that overtake each other are still in order, and two readers do not disturb each other", () => {
  const { note, told } = bed();
  for (let at = 0; at < MIB; at += 131072) {
    note(1, at + 65536, 65536);
    note(1, 8 * MIB + at, 65536);
    note(1, at, 65536);
    note(1, 8 * MIB + at + 65536, 65536);
  }
  expect(told.some((line) => /^pack 1: 0\.\d+ to 4\.\d+$/.test(line))).toBe(true);
  expect(told.some((line) => /^pack 1: 8\.\d+ to 12\.\d+$/.test(line))).toBe(true);
});

test("reads here and there fetch nothing ahead", () => {
  const { note, told } = bed();
  for (let i = 0; i < 1000; i++) note(1 + (i % 2), ((i * 7919) % 256) * 65536, 4096);
  expect(told).toEqual([]);
});
