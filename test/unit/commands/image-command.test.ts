import { expect, test } from "bun:test";
import {
  describeSummary,
  interruptible,
  parseImageArguments,
  summaryOf,
  targetName,
} from "../../../src/commands/image-command.ts";
import { parseExported } from "../../../src/commands/export.ts";
import { UsageError } from "../../../src/commands/usage-error.ts";
import { reasonOf } from "../../support/reason-of.ts";

test("a target is named by its address, and anything else is bad usage", () => {
  expect(targetName("e1.0")).toBe("e1.0");
  expect(targetName("e01.00")).toBe("e1.0");
  expect(() => targetName("disk.img")).toThrow(UsageError);
});

test("what is exported is a target, or one of its snapshots", () => {
  expect(parseExported("e1.0")).toEqual({ target: "e1.0" });
  expect(parseExported("e1.0@3f")).toEqual({ target: "e1.0", snapshot: "3f" });
  expect(() => parseExported("e1.0@")).toThrow(UsageError);
  expect(() => parseExported("@3f")).toThrow(UsageError);
});

test("two arguments are taken, a dash among them, and neither fewer nor more", () => {
  const parse = (...args: string[]) =>
    parseImageArguments(args, { force: { type: "boolean" } }, "voe import FILE eX.Y");
  expect(parse("-", "e1.0", "--force")).toEqual({ values: { force: true }, first: "-", second: "e1.0" } as never);
  expect(() => parse("a")).toThrow("it takes two arguments: voe import FILE eX.Y");
  expect(() => parse("a", "b", "c")).toThrow('unexpected argument "c"');
});

test("the summary tells size, data, holes, time and the rate of the data", () => {
  const summary = summaryOf(2 ** 30, 2 ** 29, 2);
  expect(summary).toEqual({
    sizeBytes: 2 ** 30,
    dataBytes: 2 ** 29,
    holeBytes: 2 ** 29,
    seconds: 2,
    dataBytesPerSecond: 2 ** 28,
  });
  expect(describeSummary(summary)).toBe("1 GiB (512 MiB data, 512 MiB holes) in 2.00 s, 256 MiB/s");
  expect(describeSummary(summaryOf(2 ** 20, 2 ** 20, 0.5))).toEndWith("2.0 MiB/s");
});

test("SIGTERM breaks a transfer off with its name, once", async () => {
  const transfer = interruptible(
    (signal) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(new Error("aborted")))),
  );
  process.kill(process.pid, "SIGTERM");
  expect(await reasonOf(transfer)).toBe("interrupted by SIGTERM");
  expect(process.listenerCount("SIGTERM")).toBe(0);
});
