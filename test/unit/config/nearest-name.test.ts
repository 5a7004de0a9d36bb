import { expect, test } from "bun:test";
import { editDistance, nearestName } from "../../../src/config/nearest-name.ts";

test.each([
  ["", "", 0],
  ["", "abc", 3],
  ["abc", "", 3],
  ["shelf", "shelf", 0],
  ["shelf", "self", 1],
  ["slto", "slot", 1],
  ["kitten", "sitting", 3],
])("the distance from '%s' to '%s' is %d", (a, b, distance) => {
  expect(editDistance(a, b)).toBe(distance);
  expect(editDistance(b, a)).toBe(distance);
});

test("the nearest name is found whatever the capitals", () => {
  expect(nearestName("Config-String", ["shelf", "slot", "config_string"])).toBe("config_string");
  expect(nearestName("x".repeat(1_000_000), ["shelf", "slot"])).toBe("shelf");
});
