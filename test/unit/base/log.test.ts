import { afterEach, beforeEach, expect, jest, test } from "bun:test";
import { formatLogLine, rateLimited } from "../../../src/base/log.ts";

const date = new Date("2026-01-31T12:00:00.000Z");
const line = (type: "warn" | "info" | "error" | "success", ...args: unknown[]) => formatLogLine({ date, type, args });

test("a message is one line with its time and level", () => {
  expect(line("warn", "eth0 is down")).toBe("2026-01-31T12:00:00.000Z warn eth0 is down");
  expect(line("success", "ready")).toBe("2026-01-31T12:00:00.000Z info ready");
});

test("a message of several lines stays one line and cannot forge another", () => {
  expect(line("info", "one\n  two\r\n2026 error three")).toEndWith(" info one | two | 2026 error three");
  expect(line("info", "\u001b[31mred")).toEndWith(String.raw` info \x1b[31mred`);
});

test("an error is told with its causes and, when asked for, its stack", () => {
  const error = new Error("cannot write", { cause: new Error("ENOSPC: no space left on device") });
  expect(line("error", "e1.0:", error)).toEndWith(" error e1.0: cannot write: ENOSPC: no space left on device");
  const withStack = formatLogLine({ date, type: "error", args: [error] }, true);
  expect(withStack).toContain("log.test.ts");
  expect(withStack).not.toContain("\n");
});

test("only messages of the set level and graver reach stderr, and none reach stdout", async () => {
  const script = `import { log, setLogLevel } from "./src/base/log.ts";
    setLogLevel("warn"); log.info("hidden"); log.warn("shown"); log.error("shown too");
    setLogLevel("debug"); log.debug("all");`;
  const child = Bun.spawn([process.execPath, "-e", script], {
    cwd: `${import.meta.dir}/../../..`,
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  expect(stdout).toBe("");
  const levels = stderr
    .trimEnd()
    .split("\n")
    .map((text) => text.replace(/^\S+Z /, ""));
  expect(levels).toEqual(["warn shown", "error shown too", "debug all"]);
});

beforeEach(() => void jest.useFakeTimers());
afterEach(() => void jest.useRealTimers());

const INTERVAL_MS = 10_000;

test("a key gets one line in an interval, then the last with the number of those held back", () => {
  const written: string[] = [];
  const limited = rateLimited((message) => written.push(message), INTERVAL_MS);
  for (let index = 0; index < 100; index += 1) limited("bad frame", `bad frame ${index}`);
  expect(written).toEqual(["bad frame 0"]);
  jest.advanceTimersByTime(INTERVAL_MS);
  expect(written).toEqual(["bad frame 0", "bad frame 99 (and 98 more like it in 10 s)"]);
  limited("bad frame", "bad frame 100");
  expect(written.length).toBe(2);
});

test("a key that was quiet for an interval is written at once again", () => {
  const written: string[] = [];
  const limited = rateLimited((message) => written.push(message), INTERVAL_MS);
  limited("key", "first");
  jest.advanceTimersByTime(INTERVAL_MS);
  limited("key", "second");
  expect(written).toEqual(["first", "second"]);
});

test("keys do not hold each other back", () => {
  const written: string[] = [];
  const limited = rateLimited((message) => written.push(message), INTERVAL_MS);
  limited("a", "a");
  limited("b", "b");
  expect(written).toEqual(["a", "b"]);
});

test("keys made up without end write a bounded number of lines", () => {
  const written: string[] = [];
  const limited = rateLimited((message) => written.push(message), INTERVAL_MS);
  for (let index = 0; index < 10_000; index += 1) limited(`mac ${index}`, `frame from ${index}`);
  expect(written.length).toBeLessThan(100);
  jest.advanceTimersByTime(INTERVAL_MS);
  expect(written.at(-1)).toMatch(/^frame from 9999 \(and 99\d\d more like it in 10 s\)$/);
});
