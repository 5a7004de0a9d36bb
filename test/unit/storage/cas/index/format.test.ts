/** Reads an index by docs/format.md alone, as another program would. */
import { expect, test } from "bun:test";
import { crc32 } from "node:zlib";
import { DIRECTORY, hashesOf, newDisk, openTestIndex, packName, randomPack } from "../../../../support/index-packs.ts";
import { seededRandom } from "../../../../support/seeded-random.ts";

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

async function writtenIndex(packSizes: readonly number[]) {
  const disk = newDisk(1);
  const random = seededRandom(3);
  const { index } = await openTestIndex(disk, 2000);
  const packs = packSizes.map((size, number) => randomPack(number, size, random));
  for (const pack of packs) await index.addPack(pack);
  await index.forgetPacks([packName(99)]);
  await index.close();
  return {
    packs,
    run: disk.contentOf(`${DIRECTORY}/run-00000001-00000001`),
    table: disk.contentOf(`${DIRECTORY}/packs`),
  };
}

test("a run has pages, filter, fences and footer as documented", async () => {
  const { packs, run, table } = await writtenIndex([300, 400]);
  const view = viewOf(run);
  const word = (at: number): number => view.getUint32(at, true);
  const footer = run.length - 128;
  expect(textOf(run.subarray(footer, footer + 8))).toBe("voeindex");
  expect([word(footer + 8), word(footer + 12), word(footer + 16)]).toEqual([1, 1, 1]);
  expect(view.getBigUint64(footer + 20, true)).toBe(700n);
  const [pages, lines] = [word(footer + 28), word(footer + 32)];
  expect([pages, lines]).toEqual([3, 22]);
  const fences = 4096 * pages + 64 * lines;
  expect(footer).toBe(fences + 4 * pages);
  expect(word(footer + 36)).toBe(crc32(run.subarray(4096 * pages, fences)));
  expect(word(footer + 40)).toBe(crc32(run.subarray(fences, footer)));
  expect([word(footer + 44), word(footer + 52)]).toEqual([2, 2]);
  expect(word(footer + 48)).toBe(viewOf(table).getUint32(48 * 2 + 44, true));
  expect(run.subarray(footer + 56, footer + 124).every((byte) => byte === 0)).toBe(true);
  expect(word(footer + 124)).toBe(crc32(run.subarray(footer, footer + 124)));

  const expected = packs.flatMap((pack, number) =>
    hashesOf(pack).map((hash, place) => [viewOf(hash).getUint32(0), viewOf(hash).getUint32(4), number, place]),
  );
  expected.sort((a, b) => a[0]! - b[0]! || a[1]! - b[1]!);
  const entries: number[][] = [];
  for (let page = 0; page < pages; page++) {
    const at = page * 4096;
    expect([word(at), word(at + 4), word(at + 8), word(at + 12)]).toEqual([
      crc32(run.subarray(at + 4, at + 4096)),
      page,
      1,
      1,
    ]);
    const count = Math.min(255, 700 - page * 255);
    for (let i = 0; i < count; i++) entries.push([0, 4, 8, 12].map((byte) => word(at + 16 + i * 16 + byte)));
    expect(run.subarray(at + 16 + count * 16, at + 4096).every((byte) => byte === 0)).toBe(true);
    expect(word(fences + page * 4)).toBe(entries[page * 255]![0]!);
  }
  expect(entries).toEqual(expected);

  const filter = new Set<number>();
  for (const [high, low] of expected as [number, number][]) {
    const line = Math.floor((high * lines) / 2 ** 32);
    const product = Math.imul(low ^ (low >>> 15), 0x85ebca6b);
    for (const bits of [low, product ^ (product >>> 13)]) {
      for (const shift of [0, 9, 18]) filter.add(line * 512 + ((bits >>> shift) & 511));
    }
  }
  const set = new Set<number>();
  for (let bit = 0; bit < lines * 512; bit++) {
    if ((word(4096 * pages + Math.floor(bit / 32) * 4) >>> (bit % 32)) & 1) set.add(bit);
  }
  expect(set).toEqual(filter);
});

test("the pack table has a header and chained records as documented", async () => {
  const { table } = await writtenIndex([1, 2, 3]);
  const view = viewOf(table);
  expect(textOf(table.subarray(0, 8))).toBe("voepacks");
  expect(view.getUint32(8)).toBe(2);
  expect(table.subarray(12, 44).every((byte) => byte === 0)).toBe(true);
  expect(table.length).toBe(48 * 4);
  let chain = 0;
  for (let at = 0; at < table.length; at += 48) {
    chain = crc32(table.subarray(at, at + 44), chain);
    expect(view.getUint32(at + 44, true)).toBe(chain);
    if (at > 0)
      expect([table.subarray(at, at + 32), view.getUint32(at + 32, true)]).toEqual([packName(at / 48 - 1), 1]);
  }
});
