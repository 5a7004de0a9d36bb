import { afterAll, beforeAll, expect, spyOn, test } from "bun:test";
import { join } from "node:path";
import { openControlServer, type ControlServer } from "../../../src/control/control-server.ts";
import type { SnapshotReport } from "../../../src/control/snapshot-operations.ts";
import { snapshotRoutes } from "../../../src/control/snapshot-routes.ts";
import { formatTime } from "../../../src/commands/snapshot-text.ts";
import { createArchiveBed, type ArchiveBed, type RunningBed } from "../../support/archive-bed.ts";
import { someReport } from "../../support/status-report.ts";

const repository = join(import.meta.dir, "../../..");
let bed: ArchiveBed;
let running: RunningBed;
let control: ControlServer;
let path: string;
/** Of e1.0 full of 1, and of e1.0 full of 2. */
let one: string;
let two: string;

beforeAll(async () => {
  bed = createArchiveBed();
  running = await bed.start([bed.target("e1.0")]);
  path = join(bed.directory, "voe.sock");
  control = await openControlServer({
    path,
    report: () => someReport(),
    reload: () => Promise.resolve([]),
    routes: [snapshotRoutes(running.operations)],
  });
  await running.fill("e1.0", 1);
  one = (await running.operations.create("e1.0", "all ones\u0007")).id;
  await running.fill("e1.0", 2);
  two = (await running.operations.create("e1.0", "")).id;
});
afterAll(async () => {
  await control.close();
  await running.stop();
  bed.remove();
});

/** Runs `voe snapshot ARGUMENTS` as people do. */
async function voe(...args: string[]) {
  const child = Bun.spawn([process.execPath, join(repository, "src/main.ts"), "snapshot", ...args], {
    env: { ...process.env, VOE_CONTROL: path },
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { stdout, stderr: stderr.replace(/^\S+ error /, ""), status: await child.exited };
}

test("list shows people a table, times in their own zone", async () => {
  const [first, second] = running.operations.list("e1.0");
  expect((await voe("list", "e1.0")).stdout.split("\n")).toEqual([
    "ID                TIME                  SIZE  LOGICAL     NEW  DESCRIPTION",
    `${one}  ${formatTime(first!.createdAt)}  1 MiB    4 KiB  12 KiB  all ones\\x07`,
    `${two}  ${formatTime(second!.createdAt)}  1 MiB    4 KiB  12 KiB`,
    "",
  ]);
});

test("list --json is one document", async () => {
  const { stdout, status } = await voe("list", "e1.0", "--json");
  expect(JSON.parse(stdout)).toEqual({ target: "e1.0", snapshots: [...running.operations.list("e1.0")] });
  expect(status).toBe(0);
});

test("create says what the snapshot is called, and --control comes before VOE_CONTROL", async () => {
  const created = await voe("create", "e1.0", "--description", "by hand", "--json", "--control", path);
  const snapshot = JSON.parse(created.stdout) as SnapshotReport;
  expect(running.operations.list("e1.0").at(-1)).toEqual(snapshot);
  expect(snapshot.description).toBe("by hand");
  expect((await voe("create", "e1.0")).stdout).toMatch(
    /^snapshot [0-9a-f]{16} of e1\.0: 0 B of 4 KiB are new since the snapshot before\n$/,
  );
});

test("expose and unexpose by a prefix of the id, each saying what the other is", async () => {
  expect((await voe("expose", "e1.0", one.slice(0, 6), "--as", "e9.0")).stdout).toBe(
    `e9.0 shows the snapshot ${one} of e1.0, read-only. Take it away with: voe snapshot unexpose e9.0\n`,
  );
  expect(await running.content("e9.0")).toBe(1);
  const again = await voe("expose", "e1.0", one, "--as", "e9.0");
  expect(again).toEqual({
    stdout: "",
    stderr: "e9.0 is served already: choose another address; voe status lists those that are taken\n",
    status: 1,
  });
  expect((await voe("unexpose", "e9.0")).stdout).toBe("e9.0 is no longer served; the snapshot stays\n");
  expect(running.names()).not.toContain("e9.0");
});

test("a clone that is unexposed leaves the words that serve it again", async () => {
  expect((await voe("clone", "e1.0", one, "--as", "e9.1", "--volume", "my work")).stdout).toBe(
    `e9.1 is a disk of its own that begins as the snapshot ${one} of e1.0, on the volume my work\n`,
  );
  const { stdout } = await voe("unexpose", "e9.1");
  expect(stdout).toContain("its volume my work stays in the store (file:");
  expect(stdout).toContain('with the [target.cas] of e1.0, changed to volume = "my work" and size = 1048576\n');
});

test("restore says what was kept, and what mounted clients have to do", async () => {
  const { stdout } = await voe("restore", "e1.0", one);
  expect(await running.content("e1.0")).toBe(1);
  const before = running.operations.list("e1.0").at(-1)!;
  expect(before.description).toBe(`before restoring ${one}`);
  expect(stdout).toStartWith(`e1.0 reads as the snapshot ${one} of `);
  expect(stdout).toContain(`(all ones\\x07). What it was before is the snapshot ${before.id}.\nA client that had it`);
});

test("diff prints ranges in bytes and sectors, and the total", async () => {
  expect((await voe("diff", "e1.0", one, two)).stdout.split("\n").map((line) => line.trim().split(/ {2,}/))).toEqual([
    ["OFFSET", "BYTES", "SECTOR", "SECTORS"],
    ["0", "4096", "0", "8"],
    ["4 KiB in 1 range"],
    [""],
  ]);
  expect((await voe("diff", "e1.0", one, one)).stdout).toEndWith("nothing has changed\n");
});

test("diff --json is one document, with ranges and without", async () => {
  const some: unknown = JSON.parse((await voe("diff", "e1.0", one, two, "--json")).stdout);
  expect(some).toMatchObject({ from: { id: one }, to: { id: two }, rangeCount: 1, sectorCount: 8 });
  expect(some).toMatchObject({ ranges: [{ sector: 0, sectorCount: 8 }] });
  const none: unknown = JSON.parse((await voe("diff", "e1.0", two, two, "--json")).stdout);
  expect(none).toMatchObject({ ranges: [], rangeCount: 0, sectorCount: 0 });
});

test("what the server refuses is exit status 1 with its reason", async () => {
  expect(await voe("list", "e7.0")).toEqual({
    stdout: "",
    stderr: "there is no target e7.0: voe status lists those that are served\n",
    status: 1,
  });
  const absent = join(bed.directory, "absent.sock");
  const nobody = await voe("list", "e1.0", "--control", absent);
  expect(nobody.stderr).toContain(`no voe server answers (${absent}: no such socket). Start one with`);
  expect(nobody.status).toBe(1);
});

test("an ambiguous id names those that it may be", async () => {
  const ids = running.operations.list("e1.0").map(({ id }) => id);
  // With 17 snapshots two begin with the same digit.
  while (ids.length < 17) ids.push((await running.operations.create("e1.0", "")).id);
  const digit = ids.map((id) => id[0]!).find((first, i, firsts) => firsts.indexOf(first) !== i)!;
  const { stderr, status } = await voe("restore", "e1.0", digit);
  expect(stderr).toContain(`${digit} may be any of `);
  expect(stderr).toContain("; write more digits");
  expect(status).toBe(1);
});

test.each([
  [[], "voe snapshot needs a word after it: write one of create, list,"],
  [["remove"], 'voe snapshot has no "remove": write one of create, list,'],
  [["toString"], 'voe snapshot has no "toString"'],
  [["create", "disk"], '"disk" is no target address'],
  [["create"], "Missing required positional argument: TARGET"],
  [["create", "e1.0", "e1.1"], 'voe snapshot create: "e1.1" is one word too many'],
  [["create", "e1.0", "--text", "x"], "Unknown option '--text'"],
  [["create", "e1.0", "--description", "x".repeat(1025)], "the description has 1025 bytes"],
  [["restore", "e1.0", "latest"], '"latest" is no snapshot id'],
  [["expose", "e1.0", "ab"], "voe snapshot expose needs --as eA.B"],
  [["expose", "e1.0", "ab", "--as", "9.0"], '"9.0" is no target address'],
])("voe snapshot %j is bad usage", async (args, reason) => {
  const { stderr, stdout, status } = await voe(...args);
  expect(stderr).toContain(reason);
  expect([stdout, status]).toEqual(["", 2]);
});

test("--help of a subcommand is its own", async () => {
  const { stdout, status } = await voe("expose", "--help");
  expect(stdout).toContain("voe snapshot expose");
  expect(stdout).toContain("--as=<eA.B>");
  expect(status).toBe(0);
});

test("times are local", () => {
  const offset = spyOn(Date.prototype, "getHours").mockReturnValue(7);
  expect(formatTime("2026-01-31T12:05:09.500Z")).toMatch(/^2026-0\d-\d\d 07:05:09$/);
  offset.mockRestore();
});
