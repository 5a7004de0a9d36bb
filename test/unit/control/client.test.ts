import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { controlPaths, fetchStatus, request } from "../../../src/control/client.ts";
import { openControlServer } from "../../../src/control/control-server.ts";
import { reasonOf } from "../../support/reason-of.ts";
import { someReport } from "../../support/status-report.ts";

const directory = mkdtempSync(join(tmpdir(), "voe-client-"));
afterAll(() => rmSync(directory, { recursive: true }));
const path = join(directory, "voe.sock");
const absent = join(directory, "absent.sock");

test("--control comes before VOE_CONTROL, and that before the usual places", () => {
  expect(controlPaths("/a", { VOE_CONTROL: "/b" })).toEqual(["/a"]);
  expect(controlPaths(undefined, { VOE_CONTROL: "/b" })).toEqual(["/b"]);
  expect(controlPaths(undefined, {})).toEqual(["/run/voe/voe.sock", "./voe-data/voe.sock"]);
});

test("the first server that answers is the one", async () => {
  const server = await openControlServer({ path, report: () => someReport(), reload: () => Promise.resolve([]) });
  expect(await fetchStatus([absent, path])).toEqual(someReport());
  await server.close();
});

test("when none answers, the error names every path, why, and what to do", async () => {
  expect(await reasonOf(fetchStatus([absent, path]))).toContain(
    `no voe server answers (${absent}: no such socket; ${path}: no such socket). ` +
      "Start one with `voe serve`, or name its socket with --control PATH or VOE_CONTROL.",
  );
});

test("a socket that someone else serves is told from a voe", async () => {
  const other = Bun.serve({ unix: path, fetch: () => Response.json({ hello: 1 }) });
  expect(await reasonOf(fetchStatus([path]))).toContain("what listens there is no voe");
  await other.stop(true);
});

test("a server that fails to report is told with its answer", async () => {
  const server = await openControlServer({
    path,
    report: () => {
      throw new Error("no figures");
    },
    reload: () => Promise.resolve([]),
  });
  expect(await reasonOf(fetchStatus([path]))).toContain('it answered 500: {"error":"no figures"}');
  await server.close();
});

test("a request is answered by the first server that is there, also where that refuses", async () => {
  const refusing = Bun.serve({ unix: path, fetch: () => Response.json({ error: "no such target" }, { status: 422 }) });
  expect(await reasonOf(request([absent, path], "/targets/e1.0/restore", { method: "POST" }))).toBe("no such target");
  await refusing.stop(true);
  expect(await reasonOf(request([absent, path], "/x"))).toContain(
    `no voe server answers (${absent}: no such socket; ${path}`,
  );
});

test("an answer that gives no reason is told as it is", async () => {
  const other = Bun.serve({ unix: path, fetch: () => new Response("what?", { status: 400 }) });
  expect(await reasonOf(request([path], "/x"))).toBe("the server answered 400: what?");
  await other.stop(true);
});

test("a request that broke off is not tried on another server: it may have been done", async () => {
  let asked = 0;
  const other = Bun.serve({
    unix: path,
    fetch() {
      asked++;
      return Response.json({});
    },
  });
  const dyingPath = join(directory, "dying.sock");
  const dying = Bun.listen({ unix: dyingPath, socket: { data: (socket) => socket.terminate() } });
  expect(await reasonOf(request([dyingPath, path], "/x", { method: "POST" }))).toContain(
    `${dyingPath}: the server did not answer to the end: `,
  );
  expect(asked).toBe(0);
  dying.stop(true);
  await other.stop(true);
});
