import { expect, test } from "bun:test";
import { ImageRefusal } from "../../../../src/protocol/image/transfer.ts";
import { imageService, type ImageTarget } from "../../../../src/server/image/image-service.ts";
import { memoryStorage } from "../../../../src/storage/memory-storage.ts";
import { createArchiveBed } from "../../../support/archive-bed.ts";
import { framesOf, receive, streamOf } from "../../../support/image-frames.ts";
import { reasonOf } from "../../../support/reason-of.ts";
import { turnsOfLoop } from "../../../support/until.ts";
import { someClient, someConnection } from "../../../support/status-report.ts";
import type { ClientStatus, NbdConnectionStatus } from "../../../../src/control/status.ts";
import { frameReader } from "../../../../src/protocol/image/frame.ts";

const SECTORS = 16_384;
const image = new Uint8Array(64 * 512).fill(3);
const plain = { target: "e1.0", force: false, trimRest: false };
const present = { target: "e1.0" };

function open(
  over: Partial<ImageTarget> = {},
  clients: readonly ClientStatus[] = [],
  connections: readonly NbdConnectionStatus[] = [],
) {
  const target: ImageTarget = { storage: memoryStorage(SECTORS), failure: undefined, ...over };
  const service = imageService({
    find: (name) => (name === "e1.0" ? target : undefined),
    clients: () => clients,
    connections: () => connections,
  });
  return { service, target };
}

const never = new AbortController().signal;
const readAll = (body: ReadableStream<Uint8Array>) => receive(frameReader(body.getReader()), SECTORS * 512);

/** Why a request is refused, and with which status. */
async function refusalOf(promise: Promise<unknown>): Promise<[number, string]> {
  try {
    await promise;
    return [200, ""];
  } catch (error) {
    return error instanceof ImageRefusal ? [error.httpStatus, error.message] : [500, (error as Error).message];
  }
}

test("an image is not imported into a disk that an NBD client has open, unless it has to be", async () => {
  const connections = [someConnection({ client: "10.0.0.5:4711", export: "e1.0" })];
  const { service } = open({}, [], connections);
  const request = { ...plain, sizeBytes: image.length };
  const [status, reason] = await refusalOf(service.importImage(request, streamOf(framesOf(image))));
  expect([status, reason]).toEqual([
    409,
    "10.0.0.5:4711 has e1.0 open over NBD: disconnect it first, or import with --force",
  ]);
  await service.importImage({ ...request, force: true }, streamOf(framesOf(image)));
  const other = open({}, [], [someConnection({ export: "e1.1" })]).service;
  await other.importImage(request, streamOf(framesOf(image)));
});

test("what was imported is exported", async () => {
  const { service } = open();
  expect(await service.importImage({ ...plain, sizeBytes: image.length }, streamOf(framesOf(image)))).toEqual({
    sizeBytes: image.length,
    dataBytes: image.length,
    holeBytes: 0,
    trimmedBytes: 0,
  });
  const { info, body } = await service.exportImage(present, never);
  expect(info).toEqual({ sizeBytes: SECTORS * 512, snapshot: null, oneMoment: false });
  expect(Buffer.compare((await readAll(body)).image.subarray(0, image.length), image)).toBe(0);
});

test("an exposed snapshot is exported as that, and not as what its volume is now", async () => {
  const bed = createArchiveBed();
  const running = await bed.start([bed.target("e1.0")]);
  try {
    await running.fill("e1.0", 1);
    const { id } = await running.operations.create("e1.0", "");
    await running.fill("e1.0", 2);
    await running.operations.expose("e1.0", id, "e9.0");
    const find = (name: string): ImageTarget => {
      const { aoe, archive } = running.targets.list.find((target) => target.name === name)!;
      return { storage: aoe.storage, failure: undefined, archive };
    };
    const service = imageService({ find, clients: () => [], connections: () => [] });
    for (const [target, content] of [
      ["e1.0", 2],
      ["e9.0", 1],
    ] as const) {
      const { info, body } = await service.exportImage({ target }, never);
      expect(info.snapshot).toBe(target === "e9.0" ? id : null);
      expect((await receive(frameReader(body.getReader()), info.sizeBytes)).image[0]).toBe(content);
    }
    await service.close();
  } finally {
    await running.stop();
    bed.remove();
  }
});

test("a read-only disk is exported as of one moment, and nothing is imported into it", async () => {
  const { service } = open({ storage: memoryStorage(SECTORS, { readOnly: true }) });
  expect((await service.exportImage(present, never)).info.oneMoment).toBe(true);
  const frames = streamOf(framesOf(image));
  expect(await refusalOf(service.importImage(plain, frames))).toEqual([
    409,
    "e1.0 is read-only: an image cannot be imported into it",
  ]);
});

test("an image that is larger than the disk is refused before anything is written", async () => {
  const { service, target } = open();
  const sizeBytes = SECTORS * 512 + 1;
  const [status, reason] = await refusalOf(service.importImage({ ...plain, sizeBytes }, streamOf(framesOf(image))));
  expect([status, reason]).toEqual([
    409,
    `the image has ${sizeBytes} bytes, and e1.0 only ${SECTORS * 512}: give the target a larger size, and reload`,
  ]);
  const { body } = await service.exportImage(present, never);
  expect((await readAll(body)).dataBytes).toBe(0);
  expect(target.storage.info.sectorCount).toBe(SECTORS);
});

test("a target that is not there, has failed, or has no snapshots is named", async () => {
  const { service } = open({ failure: "a sync failed" });
  const elsewhere = { ...plain, target: "e1.9" };
  expect(await refusalOf(service.importImage(elsewhere, streamOf([])))).toEqual([
    404,
    "there is no target e1.9: voe status lists them",
  ]);
  expect((await refusalOf(service.exportImage(elsewhere, never)))[0]).toBe(404);
  expect((await refusalOf(service.importImage(plain, streamOf([]))))[1]).toContain(
    "has failed and does not write: a sync failed",
  );
  expect((await refusalOf(service.exportImage({ ...present, snapshot: "ab" }, never)))[1]).toContain(
    "e1.0 is no archive",
  );
});

test("a disk that a client used within the last minute is imported into with force alone", async () => {
  const recent = open({}, [someClient({ target: "e1.0", lastSeenSecondsAgo: 59 })]).service;
  const [status, reason] = await refusalOf(recent.importImage(plain, streamOf(framesOf(image))));
  expect(status).toBe(409);
  expect(reason).toContain("02:00:00:00:00:99 on eth0 used e1.0 59 s ago: unmount it there first");
  expect((await recent.importImage({ ...plain, force: true }, streamOf(framesOf(image)))).dataBytes).toBe(image.length);

  const clients = [someClient({ target: "e1.0", lastSeenSecondsAgo: 61 }), someClient({ target: "e1.1" })];
  const idle = open({}, clients).service;
  expect((await idle.importImage(plain, streamOf(framesOf(image)))).dataBytes).toBe(image.length);
});

test("an import has the disk for itself, and exports share it", async () => {
  const { service } = open();
  const first = await service.exportImage(present, never);
  const second = await service.exportImage(present, never);
  expect((await refusalOf(service.importImage(plain, streamOf(framesOf(image)))))[1]).toBe(
    "an export of e1.0 is under way: wait for its end, or stop it",
  );
  await first.body.cancel();
  await readAll(second.body);

  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const writer = writable.getWriter();
  const importing = service.importImage(plain, readable);
  const busy = "an import of e1.0 is under way: wait for its end, or stop it";
  expect(await refusalOf(service.exportImage(present, never))).toEqual([409, busy]);
  expect(await refusalOf(service.importImage(plain, streamOf([])))).toEqual([409, busy]);
  for (const frame of framesOf(image)) await writer.write(frame);
  await writer.close();
  await importing;
  await (await service.exportImage(present, never)).body.cancel();
});

test("an import whose client goes away says how far it came, and the next one may begin", async () => {
  const { service } = open();
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const writer = writable.getWriter();
  const reason = reasonOf(service.importImage(plain, readable));
  for (const frame of framesOf(image).slice(0, -1)) await writer.write(frame);
  await writer.abort(new Error("the client is gone"));
  expect(await reason).toMatch(/^the import into e1\.0 broke off at .*: the client is gone\. The disk holds a part/);
  await service.importImage(plain, streamOf(framesOf(image)));
});

test("an export whose client goes away, even before it began, lets go of the disk", async () => {
  const { service } = open();
  const gone = new AbortController();
  await service.exportImage(present, gone.signal);
  gone.abort();
  await service.exportImage(present, gone.signal);
  let status = 409;
  // What it has begun to read is read first.
  for (; status === 409; await turnsOfLoop(1)) {
    [status] = await refusalOf(service.importImage(plain, streamOf(framesOf(image))));
  }
  expect(status).toBe(200);
});

test("when the server stops, imports and exports end with that reason, whether the other side moves or not", async () => {
  const importing = open().service;
  const { readable } = new TransformStream<Uint8Array, Uint8Array>();
  const reason = reasonOf(importing.importImage(plain, readable));
  await importing.close();
  expect(await reason).toContain("the server is stopping");
  expect(await refusalOf(importing.exportImage(present, never))).toEqual([503, "the server is stopping"]);

  const { service } = open();
  await service.importImage(plain, streamOf(framesOf(image)));
  const { body } = await service.exportImage(present, never);
  await service.close();
  expect(await reasonOf(readAll(body))).toBe("the server is stopping");
});

test("frames that are no image break the import off", async () => {
  const { service } = open();
  const reason = await reasonOf(service.importImage(plain, streamOf([new Uint8Array(64).fill(9)])));
  expect(reason).toContain("broke off at 0 B: a frame is for sector");
});
