import { expect, test } from "bun:test";
import { openInitiators, parseInitiatorArguments, parsePositive } from "../../../src/commands/aoe-interfaces.ts";
import { UsageError } from "../../../src/commands/usage-error.ts";

test("interfaces add up, and one named twice counts once", () => {
  const { interfaces, timeoutMs, json, positionals } = parseInitiatorArguments([
    "-i",
    "lo",
    "e1.0",
    "--interface",
    "eth0",
    "-ieth0",
    "--json",
    "--timeout",
    "250",
  ]);
  expect({ interfaces, timeoutMs, json, positionals }).toEqual({
    interfaces: ["lo", "eth0"],
    timeoutMs: 250,
    json: true,
    positionals: ["e1.0"],
  });
});

test("without options every interface is asked for half a second", () => {
  expect(parseInitiatorArguments([])).toMatchObject({ interfaces: [], timeoutMs: 500, json: false, positionals: [] });
});

test("a command's own options are read too", () => {
  expect(parseInitiatorArguments(["--requests", "7"], ["requests"]).more["requests"]).toBe("7");
});

for (const args of [["--nosuch"], ["-i"], ["--timeout", "0"], ["--timeout", "1e3"], ["--timeout", "600001"]]) {
  test(`"${args.join(" ")}" is bad usage`, () => {
    expect(() => parseInitiatorArguments(args)).toThrow(UsageError);
  });
}

test("a number out of range is refused with the range", () => {
  expect(parsePositive("requests", undefined, 5, 10)).toBe(5);
  expect(parsePositive("requests", "10", 5, 10)).toBe(10);
  expect(() => parsePositive("requests", "11", 5, 10)).toThrow("--requests 11: must be a whole number from 1 to 10");
});

test("an interface that does not exist is bad usage", () => {
  expect(() => openInitiators(["nosuch0"])).toThrow(UsageError);
});
