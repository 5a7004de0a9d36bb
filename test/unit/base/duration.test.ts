import { expect, test } from "bun:test";
import { formatDuration, parseDuration } from "../../../src/base/duration.ts";

test.each([
  ["250ms", 250],
  ["1s", 1000],
  ["1.5s", 1500],
  ["5m", 300_000],
  ["1h", 3_600_000],
  ["7d", 604_800_000],
  ["0s", 0],
])("%s is %d ms", (text, ms) => {
  expect(parseDuration(text)).toBe(ms);
});

test.each(["1", "s", "", "-1s", "1S", "1 fortnight", "1.5ms", "99999999999999999999s"])(
  "%s is refused as a duration",
  (text) => {
    expect(() => parseDuration(text)).toThrow(RangeError);
  },
);

test("what is formatted is read back as the same duration", () => {
  for (const ms of [0, 1, 250, 999, 1000, 1001, 60_000, 90_000, 3_600_000, 86_400_000, 100_000_000_001]) {
    expect(parseDuration(formatDuration(ms))).toBe(ms);
  }
  expect(formatDuration(90_000)).toBe("90s");
  expect(formatDuration(86_400_000)).toBe("1d");
});
