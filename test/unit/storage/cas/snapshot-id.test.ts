import { expect, test } from "bun:test";
import { resolvePrefix, snapshotId } from "../../../../src/storage/cas/snapshot-id.ts";

const ids = ["a1b2c3d4e5f60718", "a1b2c3ffffffffff", "0123456789abcdef"];

test("a snapshot's id is how its record's checksum begins", () => {
  expect(snapshotId("0123456789abcdef".repeat(4))).toBe("0123456789abcdef");
});

test.each([
  ["0", "0123456789abcdef"],
  ["a1b2c3d", "a1b2c3d4e5f60718"],
  ["A1B2C3F", "a1b2c3ffffffffff"],
  ["0123456789abcdef", "0123456789abcdef"],
])("%s is enough of an id", (prefix, id) => {
  expect(resolvePrefix(ids, prefix)).toBe(id);
});

test.each([
  ["a1b2", "a1b2 may be any of a1b2c3d4e5f60718, a1b2c3ffffffffff; write more digits"],
  ["7", "no snapshot has an id that begins with 7"],
  ["0123456789abcdef0", "no snapshot has an id that begins with"],
  ["", '"" is no snapshot id'],
  ["latest", '"latest" is no snapshot id'],
  ["\u001b[2J", '"\\u001b[2J" is no snapshot id'],
])("%j is refused with what to do", (prefix, reason) => {
  expect(() => resolvePrefix(ids, prefix)).toThrow(reason);
  expect(() => resolvePrefix(ids, prefix)).toThrow(RangeError);
});

test("of many that are meant, a few are named", () => {
  const many = Array.from({ length: 9 }, (_, at) => `a${at}`);
  expect(() => resolvePrefix(many, "a")).toThrow("a0, a1, a2, a3, 5 more; write more digits");
});

test("an id that is listed twice is one", () => expect(resolvePrefix([...ids, ...ids], "0")).toBe(ids[2]!));
