/** Images through a real control socket, with disks in memory. */
import { afterAll, afterEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openControlServer, type ControlServer } from "../../../src/control/control-server.ts";
import { requestImage, sendImage } from "../../../src/control/image-client.ts";
import { imageRoutes } from "../../../src/control/image-routes.ts";
import { frameReader } from "../../../src/protocol/image/frame.ts";
import type { ImageOperations } from "../../../src/protocol/image/transfer.ts";
import { framesOf, receive, streamOf } from "../../support/image-frames.ts";
import { reasonOf } from "../../support/reason-of.ts";
import { someReport } from "../../support/status-report.ts";
import { until } from "../../support/until.ts";

const directory = mkdtempSync(join(tmpdir(), "voe-images-"));
const path = join(directory, "voe.sock");
const MIB = 2 ** 20;
const image = new Uint8Array(3 * MIB).map((_, i) => 1 + (i % 251));
const never = new AbortController().signal;
const wanted = { target: "e1.0", force: false, trimRest: false };
const result = { sizeBytes: image.length, dataBytes: image.length, holeBytes: 0, trimmedBytes: 0 };
const info = { sizeBytes: image.length, snapshot: null, oneMoment: true };

let server: ControlServer | undefined;
afterEach(async () => {
  await server?.close();
  server = undefined;
  rmSync(path, { force: true });
});

afterAll(() => rmSync(directory, { recursive: true }));

const refused = (): never => {
  throw new Error("not asked for in this test");
};

async function open(images: Partial<ImageOperations>): Promise<void> {
  server = await openControlServer({
    path,
    report: () => someReport(),
    reload: () => Promise.resolve([]),
    routes: [imageRoutes({ importImage: refused, exportImage: refused, ...images })],
  });
}

test("an import arrives with what it asks for, and its result comes back", async () => {
  let asked: unknown;
  await open({
    async importImage(request, body) {
      asked = request;
      const received = await receive(frameReader(body.getReader()));
      return { ...result, dataBytes: received.dataBytes };
    },
  });
  const request = { target: "e1.0", force: true, trimRest: true, sizeBytes: image.length };
  expect(await sendImage(path, request, streamOf(framesOf(image)), never)).toEqual(result);
  expect(asked).toEqual(request);
  await sendImage(path, wanted, streamOf(framesOf(image)), never);
  expect(asked).toEqual(wanted);
});

test("an export arrives with what is said of it", async () => {
  let asked: unknown;
  await open({
    exportImage(request) {
      asked = request;
      return Promise.resolve({ info, body: streamOf(framesOf(image)) });
    },
  });
  const answer = await requestImage(path, { target: "e1.0", snapshot: "0a" }, never);
  expect(answer.info).toEqual(info);
  expect(Buffer.compare((await receive(frameReader(answer.body.getReader()))).image, image)).toBe(0);
  expect(asked).toEqual({ target: "e1.0", snapshot: "0a" });
});

test("a refusal is answered although the image was not taken", async () => {
  await open({ importImage: () => Promise.reject(new Error("e1.0 is read-only")) });
  expect(await reasonOf(sendImage(path, wanted, endless(), never))).toBe("e1.0 is read-only");
});

test("a request that names no target, or a size that is none, is refused", async () => {
  await open({});
  const ask = async (where: string, method = "GET"): Promise<unknown> => {
    const init = method === "POST" ? { method, body: "x" } : {};
    const response = await fetch(`http://voe${where}`, { unix: path, ...init });
    return [response.status, ((await response.json()) as { error: string }).error];
  };
  expect(await ask("/images/export")).toEqual([400, "no target is named"]);
  expect(await ask("/images/import", "POST")).toEqual([400, "no target is named"]);
  expect(await ask("/images/import?target=e1.0&size=-1", "POST")).toEqual([400, 'the size "-1" is no number of bytes']);
  expect(await ask("/images/import?target=e1.0")).toEqual([404, "no such request: GET /images/import"]);
});

/** Data without end, that counts what was asked of it. */
const counted = { bytes: 0 };
function endless(): ReadableStream<Uint8Array> {
  counted.bytes = 0;
  const chunk = new Uint8Array(256 * 1024).fill(1);
  return new ReadableStream({
    pull(controller) {
      counted.bytes += chunk.length;
      controller.enqueue(chunk);
    },
  });
}

/** Resolves when the count has not moved for a while: the sender waits. */
async function stalled(): Promise<number> {
  for (let before = -1; before !== counted.bytes; await Bun.sleep(50)) before = counted.bytes;
  return counted.bytes;
}

test("a server that does not take an image holds its sender back", async () => {
  const { promise: taken, resolve: take } = Promise.withResolvers<void>();
  await open({
    async importImage(_request, body) {
      await taken;
      await body.cancel();
      return result;
    },
  });
  const sending = sendImage(path, wanted, endless(), never);
  await until(() => counted.bytes > 0);
  expect(await stalled()).toBeLessThan(16 * MIB);
  take();
  expect(await sending).toEqual(result);
});

test("a client that does not take an image holds the server back, and its leaving ends the stream", async () => {
  let gone: AbortSignal | undefined;
  await open({
    exportImage(_request, signal) {
      gone = signal;
      return Promise.resolve({ info, body: endless() });
    },
  });
  const socket = await slowClient();
  await until(() => counted.bytes > 0);
  expect(await stalled()).toBeLessThan(16 * MIB);
  expect(gone?.aborted).toBe(false);
  socket.destroy();
  await until(() => gone?.aborted === true);
});

/** Asks for an export and reads none of it. */
async function slowClient(): Promise<Socket> {
  const socket = connect(path).pause();
  await new Promise((resolve) => socket.once("connect", resolve));
  socket.write("GET /images/export?target=e1.0 HTTP/1.1\r\nhost: voe\r\n\r\n");
  return socket;
}

test("a client that takes nothing does not keep the server from stopping", async () => {
  await open({ exportImage: () => Promise.resolve({ info, body: endless() }) });
  const socket = await slowClient();
  await until(() => counted.bytes > 0);
  await server?.close();
  socket.destroy();
});

test("a client that breaks off its import is noticed", async () => {
  const reason = Promise.withResolvers<string>();
  const begun = Promise.withResolvers<void>();
  await open({
    async importImage(_request, body) {
      begun.resolve();
      reason.resolve(await reasonOf(receive(frameReader(body.getReader()))));
      return result;
    },
  });
  const interruption = new AbortController();
  const sending = reasonOf(sendImage(path, wanted, stuck(), interruption.signal));
  await begun.promise;
  interruption.abort(new Error("interrupted"));
  expect(await sending).not.toBe("");
  expect(await reason.promise).not.toBe("");
});

/** The first frames of an image, and nothing after them. */
function stuck(): ReadableStream<Uint8Array> {
  counted.bytes = 0;
  const frames = framesOf(image).slice(0, -1);
  return new ReadableStream({
    pull(controller) {
      const frame = frames.shift();
      if (frame === undefined) return new Promise(() => {});
      counted.bytes += frame.length;
      controller.enqueue(frame);
      return undefined;
    },
  });
}
