import { expect, test } from "bun:test";
import { AoeTarget } from "../../../../src/protocol/aoe/target.ts";
import { TargetTable } from "../../../../src/server/aoe/target-table.ts";
import { memoryStorage } from "../../../../src/storage/memory-storage.ts";

const targetAt = (shelf: number, slot: number): AoeTarget =>
  new AoeTarget(
    shelf,
    slot,
    memoryStorage(1),
    { configString: new Uint8Array(0), mask: [], reservations: [] },
    [],
    async () => {},
  );

test("targets are found by shelf and slot, at the ends of both too, and nothing else is", () => {
  const table = new TargetTable();
  const addresses = [
    [0, 0],
    [0, 254],
    [1, 0],
    [255, 1],
    [256, 0],
    [65534, 254],
  ] as const;
  const targets = addresses.map(([shelf, slot]) => targetAt(shelf, slot));
  for (const target of targets) table.add(target);
  addresses.forEach(([shelf, slot], i) => expect(table.find(shelf, slot)).toBe(targets[i]));
  for (const [shelf, slot] of [
    [0, 1],
    [0, 255],
    [1, 1],
    [255, 0],
    [65534, 253],
  ] as const) {
    expect(table.find(shelf, slot)).toBeUndefined();
  }
  expect(table.list).toEqual(targets);
});

test("a removed target is gone, and another may have its address", () => {
  const table = new TargetTable();
  const [first, second] = [targetAt(1, 0), targetAt(1, 0)];
  table.add(first);
  const listBefore = table.list;
  table.remove(first);
  expect([table.find(1, 0), table.list]).toEqual([undefined, []]);
  expect(listBefore).toEqual([first]); // who walks an old list is not disturbed
  table.add(second);
  expect(table.find(1, 0)).toBe(second);
});
