import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { openControlServer, type ControlServer } from "../../../src/control/control-server.ts";
import { readJsonLines } from "../../../src/control/json-lines.ts";
import { snapshotRoutes } from "../../../src/control/snapshot-routes.ts";
import { createArchiveBed, type ArchiveBed, type RunningBed } from "../../support/archive-bed.ts";
import { someReport } from "../../support/status-report.ts";

let bed: ArchiveBed;
let running: RunningBed;
let control: ControlServer;
let path: string;
let id: string;

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
  ({ id } = (await (await ask("POST", "/targets/e1.0/snapshots", { description: "first" })).json()) as { id: string });
});
afterAll(async () => {
  await control.close();
  await running.stop();
  bed.remove();
});

const ask = (method: string, where: string, body?: unknown): Promise<Response> =>
  fetch(`http://voe${where}`, {
    unix: path,
    method,
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });

const answer = async (response: Promise<Response>): Promise<[number, unknown]> => [
  (await response).status,
  await (await response).json(),
];

test("a snapshot that was made is listed", async () => {
  expect(await answer(ask("GET", "/targets/e1.0/snapshots"))).toEqual([
    200,
    { target: "e1.0", snapshots: [expect.objectContaining({ id, description: "first" })] },
  ]);
});

test("a description may be left out", async () => {
  expect(await answer(ask("POST", "/targets/e1.0/snapshots", {}))).toMatchObject([200, { description: "" }]);
});

test("targets come and go by expose, clone and unexpose", async () => {
  const prefix = id.slice(0, 8).toUpperCase();
  expect(await answer(ask("POST", "/targets/e1.0/expose", { id: prefix, as: "e9.0" }))).toMatchObject([
    200,
    { target: "e9.0", kind: "snapshot", snapshotId: id, volume: "e1.0", origin: "e1.0", sizeBytes: 2 ** 20 },
  ]);
  const clone = { id, as: "e9.1", volume: "work" };
  expect(await answer(ask("POST", "/targets/e1.0/clone", clone))).toMatchObject([200, { volume: "work" }]);
  expect(running.names()).toEqual(["e1.0", "e9.0", "e9.1"]);
  expect((await ask("DELETE", "/exposed/e9.0")).status).toBe(200);
  expect((await ask("DELETE", "/exposed/e9.1")).status).toBe(200);
  expect(running.names()).toEqual(["e1.0"]);
});

test("a restore answers with both snapshots", async () => {
  expect(await answer(ask("POST", "/targets/e1.0/restore", { id }))).toMatchObject([
    200,
    { restored: { id }, before: { description: `before restoring ${id}` } },
  ]);
});

test("a difference comes as lines: both snapshots, ranges, total", async () => {
  await running.fill("e1.0", 2);
  const { id: later } = await running.operations.create("e1.0", "");
  const response = await ask("GET", `/targets/e1.0/diff?from=${id}&to=${later}`);
  expect(await Array.fromAsync(readJsonLines(response))).toEqual([
    { from: expect.objectContaining({ id }), to: expect.objectContaining({ id: later }) },
    [0, 8],
    { ranges: 1, sectors: 8 },
  ]);
});

test.each([
  ["POST", "/targets/e1/snapshots", {}, '"e1" is no target address'],
  ["POST", "/targets/e1.0/snapshots", "{", "the body is no JSON"],
  ["POST", "/targets/e1.0/snapshots", [], "the body is no JSON object"],
  ["POST", "/targets/e1.0/snapshots", { descripton: "x" }, "the body has a key that means nothing: descripton"],
  ["POST", "/targets/e1.0/snapshots", { description: 7 }, "description is no text"],
  ["POST", "/targets/e1.0/snapshots", { description: "é".repeat(513) }, "the description has 1026 bytes"],
  ["POST", "/targets/e1.0/restore", {}, "id is missing"],
  ["POST", "/targets/e1.0/restore", { id: "xyz" }, '"xyz" is no snapshot id'],
  ["POST", "/targets/e1.0/restore", { id: "0".repeat(17) }, "is no snapshot id"],
  ["POST", "/targets/e1.0/expose", { id: "00", as: "e70000.0" }, "a shelf is 0 to 65534"],
  ["POST", "/targets/e1.0/clone", { id: "00", as: "e9.0", volume: "" }, "the volume's name has 0 bytes"],
  ["DELETE", "/exposed/disk", undefined, '"disk" is no target address'],
  ["GET", "/targets/e1.0/diff?from=00", undefined, "to is missing"],
])("%s %s %j is malformed", async (method, where, body, reason) => {
  expect(await answer(ask(method, where, body))).toEqual([400, { error: expect.stringContaining(reason) }]);
});

test.each([
  ["GET", "/targets/e7.0/snapshots", undefined, "there is no target e7.0"],
  ["POST", "/targets/e1.0/restore", { id: "0000000000000000" }, "no snapshot has an id that begins with 0000"],
  ["DELETE", "/exposed/e7.0", undefined, "e7.0 is no exposed snapshot or clone"],
  ["GET", "/targets/e1.0/diff?from=0000000000000000&to=00", undefined, "no snapshot has an id"],
])("%s %s %j cannot be done", async (method, where, body, reason) => {
  expect(await answer(ask(method, where, body))).toEqual([422, { error: expect.stringContaining(reason) }]);
});

test.each([
  ["DELETE", "/targets/e1.0/snapshots"],
  ["GET", "/targets/e1.0"],
  ["GET", "/targets/e1.0/snapshots/more"],
  ["GET", "/exposed/e1.0"],
  ["GET", "/toString"],
])("%s %s is no request", async (method, where) => {
  expect((await ask(method, where)).status).toBe(404);
});
