import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { screenful } from "../../../src/commands/status.ts";
import { openControlServer } from "../../../src/control/control-server.ts";
import type { StatusReport } from "../../../src/control/status.ts";
import { someReport } from "../../support/status-report.ts";

const directory = mkdtempSync(join(tmpdir(), "voe-status-"));
const path = join(directory, "voe.sock");
let uptimeSeconds = 100;
const server = await openControlServer({
  path,
  report: () => someReport({ uptimeSeconds: (uptimeSeconds += 1) }),
  reload: () => Promise.resolve([]),
});
afterAll(async () => {
  await server.close();
  rmSync(directory, { recursive: true });
});

const run = (...args: string[]) =>
  Bun.spawn(
    [
      process.execPath,
      "-e",
      `import { runCommand } from "citty"; import { statusCommand } from "./src/commands/status.ts";
       await runCommand(statusCommand, { rawArgs: ${JSON.stringify(args)} })`,
    ],
    { cwd: `${import.meta.dir}/../../..`, env: { ...process.env, VOE_CONTROL: path }, stdout: "pipe", stderr: "pipe" },
  );

test("a person gets tables", async () => {
  const child = run();
  expect(await child.stdout.text()).toMatch(/^voe 0\.1\.0 \(0123456789ab\), pid 4711, up 1 min.*\n\nTARGET +STATE /);
  expect(await child.exited).toBe(0);
});

test("--json prints the report as one document", async () => {
  const report = JSON.parse(await run("--json").stdout.text()) as StatusReport;
  expect({ ...report, uptimeSeconds: 100 }).toEqual(someReport());
});

test("without a server it says which path it tried and fails with nothing on stdout", async () => {
  const absent = join(directory, "absent.sock");
  const child = run("--control", absent);
  expect(await child.stderr.text()).toContain(`no voe server answers (${absent}: no such socket). Start one with`);
  expect(await child.stdout.text()).toBe("");
  expect(await child.exited).toBe(1);
});

test("--json --watch prints a line for each report until it is interrupted, then exits 0", async () => {
  const child = run("--json", "--watch");
  let text = "";
  for await (const part of child.stdout.pipeThrough(new TextDecoderStream())) {
    text += part;
    if (text.split("\n").length === 3) child.kill("SIGINT");
  }
  const uptimes = text
    .trimEnd()
    .split("\n")
    .map((line) => (JSON.parse(line) as StatusReport).uptimeSeconds);
  expect(uptimes.length).toBe(2);
  expect(uptimes[1]).toBe((uptimes[0] ?? 0) + 1);
  expect(await child.exited).toBe(0);
});

test("a screenful is cut to the rows and columns of the terminal", () => {
  const drawn = screenful(["abcdef", "磁盘磁盘", "third"], 4, 2);
  // oxlint-disable-next-line no-control-regex
  expect(drawn.replace(/\u001b\[[HJK]/g, "")).toBe("abcd\r\n磁盘");
});
