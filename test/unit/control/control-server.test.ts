import { afterEach, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openControlServer, type ControlRoute, type ControlServer } from "../../../src/control/control-server.ts";
import { jsonLines, readJsonLines } from "../../../src/control/json-lines.ts";
import { METRICS_CONTENT_TYPE } from "../../../src/base/prometheus-text.ts";
import { reasonOf } from "../../support/reason-of.ts";
import { someReport } from "../../support/status-report.ts";

const directory = mkdtempSync(join(tmpdir(), "voe-control-"));
const path = join(directory, "made", "voe.sock");
let server: ControlServer | undefined;

afterEach(async () => {
  await server?.close();
  server = undefined;
  rmSync(directory, { recursive: true, force: true });
});

async function open(
  reload: () => Promise<readonly string[]> = () => Promise.resolve([]),
  routes: readonly ControlRoute[] = [],
): Promise<void> {
  server = await openControlServer({ path, report: () => someReport(), reload, routes });
}

const ask = (where: string, init: RequestInit = {}) => fetch(`http://voe${where}`, { unix: path, ...init });

/** A socket file whose server is gone without a chance to remove it. */
async function leaveStaleSocket(): Promise<void> {
  const dying = Bun.spawn(
    [
      process.execPath,
      "-e",
      `Bun.serve({ unix: ${JSON.stringify(path)}, fetch: () => new Response() }); console.log()`,
    ],
    { stdout: "pipe" },
  );
  await dying.stdout.getReader().read();
  dying.kill("SIGKILL");
  await dying.exited;
}

test("the status report comes back as it was given", async () => {
  await open();
  expect(await (await ask("/status")).json()).toEqual(someReport());
});

test("version and metrics are served beside it", async () => {
  await open();
  expect(await (await ask("/version")).json()).toEqual({ version: "0.1.0", commit: "0123456789ab" });
  const metrics = await ask("/metrics");
  expect(metrics.headers.get("content-type")).toBe(METRICS_CONTENT_TYPE);
  expect(await metrics.text()).toContain('voe_target_reads_total{target="e1.0"} 1000\n');
});

test("a reload answers with what has changed", async () => {
  await open(() => Promise.resolve(["e1.1 added"]));
  const response = await ask("/reload", { method: "POST" });
  expect(response.status).toBe(200);
  expect(await response.json()).toEqual({ changes: ["e1.1 added"] });
});

test("a reload of a wrong configuration answers 422 with the reason", async () => {
  await open(() => Promise.reject(new Error("voe.toml: target.0.slot is not a number")));
  const response = await ask("/reload", { method: "POST" });
  expect(response.status).toBe(422);
  expect(await response.json()).toEqual({ error: "voe.toml: target.0.slot is not a number" });
});

test("a GET does not reload, and an unknown path answers 404", async () => {
  let reloads = 0;
  await open(() => Promise.resolve([String((reloads += 1))]));
  expect((await ask("/reload")).status).toBe(404);
  expect((await ask("/nothing")).status).toBe(404);
  expect(reloads).toBe(0);
});

test("a further route answers what is its own, and what is nobody's stays unknown", async () => {
  const own: ControlRoute = (request, { pathname, searchParams }) =>
    pathname === "/own" ? Promise.resolve(Response.json([request.method, searchParams.get("a")])) : undefined;
  await open(undefined, [() => undefined, own]);
  expect(await (await ask("/own?a=1", { method: "POST" })).json()).toEqual(["POST", "1"]);
  expect((await ask("/other")).status).toBe(404);
});

async function* forEver() {
  for (let i = 0; ; i++) yield i;
}
const endless: ControlRoute = (_request, _url, closing) => Promise.resolve(jsonLines(forEver(), closing));

test("closing ends an answer that goes on for ever, and says so", async () => {
  await open(undefined, [endless]);
  const values = readJsonLines(await ask("/lines"));
  await values.next();
  const closed = server?.close();
  server = undefined;
  expect(await reasonOf(Array.fromAsync(values))).toBe("the server was stopped");
  await closed;
});

test("a client that takes nothing of its answer does not keep the server from closing", async () => {
  await open(undefined, [endless]);
  const response = await ask("/lines");
  await server?.close();
  server = undefined;
  expect(await reasonOf(Array.fromAsync(readJsonLines(response)))).toContain("the server's answer broke off");
});

test("closing waits for what was asked and is not answered yet", async () => {
  const { promise, resolve } = Promise.withResolvers<Response>();
  const asked = Promise.withResolvers<void>();
  await open(undefined, [
    () => {
      asked.resolve();
      return promise;
    },
  ]);
  const answered = ask("/slow");
  await asked.promise;
  const closed = server?.close();
  server = undefined;
  resolve(Response.json("done"));
  expect(await (await answered).json()).toBe("done");
  await closed;
});

const isLong = process.env["VOE_TEST_FULL"] === "1";
test.skipIf(!isLong)(
  `an answer may take longer than Bun waits by itself${isLong ? "" : " [skipped: VOE_TEST_FULL=1 is not set]"}`,
  async () => {
    const bunWaitsMs = 10_000;
    await open(undefined, [() => Bun.sleep(bunWaitsMs + 3000).then(() => Response.json("late"))]);
    expect(await (await ask("/slow")).json()).toBe("late");
  },
  30_000,
);

test("the socket is for its owner alone and is gone after close", async () => {
  await open();
  expect(statSync(path).mode & 0o777).toBe(0o600);
  await server?.close();
  expect(existsSync(path)).toBe(false);
});

test("opening leaves the umask of the process as it was", async () => {
  const before = process.umask();
  await open();
  expect(process.umask()).toBe(before);
});

test("a second server on the path of a living one is refused, and the first goes on", async () => {
  await open();
  const second = openControlServer({ path, report: () => someReport({ pid: 2 }), reload: () => Promise.resolve([]) });
  expect(await reasonOf(second)).toContain(`another voe serves with the control socket ${path}`);
  expect(await (await ask("/status")).json()).toMatchObject({ pid: 4711 });
});

test("a server that listens and never answers counts as living", async () => {
  await open();
  await server?.close();
  const silent = createServer();
  const listening = Promise.withResolvers<void>();
  silent.listen(path, listening.resolve);
  await listening.promise;
  expect(await reasonOf(open())).toContain("another voe serves");
  silent.close();
});

test("the socket that a killed server left is replaced", async () => {
  await open();
  await server?.close();
  await leaveStaleSocket();
  expect(existsSync(path)).toBe(true);
  await open();
  expect((await ask("/status")).status).toBe(200);
});

test("a file that is no socket is refused and left alone", async () => {
  await open();
  await server?.close();
  writeFileSync(path, "precious");
  expect(await reasonOf(open())).toContain("is no socket");
  expect(await Bun.file(path).text()).toBe("precious");
});

test("a path that is too long for a socket is refused with the key to set", async () => {
  const long = join(directory, "x".repeat(120));
  const opening = openControlServer({ path: long, report: () => someReport(), reload: () => Promise.resolve([]) });
  expect(await reasonOf(opening)).toMatch(/cannot open the control socket .*name too long.*control_socket/);
});
