import { afterEach, beforeEach, expect, test } from "bun:test";
import { join } from "node:path";
import { writeStatus, statusName } from "../../support/storage-requests.ts";
import { createArchiveBed, type ArchiveBed, type RunningBed } from "../../support/archive-bed.ts";
import { reasonOf } from "../../support/reason-of.ts";

let bed: ArchiveBed;
let server: RunningBed;

beforeEach(async () => {
  bed = createArchiveBed();
  server = await bed.start([bed.target("e1.0")]);
});
afterEach(async () => {
  await server.stop();
  bed.remove();
});

/** A snapshot of e1.0 when it is full of a number, after which it is full of another. */
async function snapshotOf(value: number, then: number): Promise<string> {
  await server.fill("e1.0", value);
  const { id } = await server.operations.create("e1.0", `all ${value}`);
  await server.fill("e1.0", then);
  return id;
}

test("snapshots are listed oldest first, with what they are for and what was new", async () => {
  const one = await snapshotOf(1, 2);
  const two = await snapshotOf(2, 3);
  expect(server.operations.list("e1.0")).toMatchObject([
    // New are the block and the two nodes above it.
    { id: one, volume: "e1.0", description: "all 1", sizeBytes: 2 ** 20, logicalBytes: 4096, uniqueBytes: 3 * 4096 },
    { id: two, volume: "e1.0", description: "all 2", sizeBytes: 2 ** 20, logicalBytes: 4096, uniqueBytes: 3 * 4096 },
  ]);
  expect(Date.parse(server.operations.list("e1.0")[0]!.createdAt)).toBeCloseTo(Date.now(), -5);
});

test("an exposed snapshot keeps showing what was, beside the live target, and cannot be written", async () => {
  const id = await snapshotOf(1, 2);
  expect(await server.operations.expose("e1.0", id.slice(0, 5), "e9.0")).toMatchObject({
    target: "e9.0",
    kind: "snapshot",
    origin: "e1.0",
    snapshotId: id,
  });
  expect([await server.content("e1.0"), await server.content("e9.0")]).toEqual([2, 1]);
  await server.fill("e1.0", 3);
  expect(await server.content("e9.0")).toBe(1);
  expect(statusName(await writeStatus(server.storage("e9.0"), 0, new Uint8Array(512)))).toBe("read-only");
  const status = server.targets.list.find(({ name }) => name === "e9.0")!.status();
  expect(status).toMatchObject({ readOnly: true, state: "ok", configString: `e1.0@${id}`, backend: "cas" });
  expect(status.path).toEndWith(`e1.0 as of snapshot ${id}`);
});

test("a clone begins as the snapshot and goes its own way", async () => {
  const id = await snapshotOf(1, 2);
  await server.operations.clone("e1.0", id, "e9.0", undefined);
  expect(await server.content("e9.0")).toBe(1);
  await server.fill("e9.0", 7);
  expect([await server.content("e1.0"), await server.content("e9.0")]).toEqual([2, 7]);
  const own = await server.operations.create("e9.0", "of the clone");
  expect(server.operations.list("e9.0").map((snapshot) => snapshot.id)).toContain(own.id);
  expect(server.operations.list("e1.0").map((snapshot) => snapshot.id)).toEqual([id]);
});

test("a restored target reads as the snapshot, and the present was kept", async () => {
  const id = await snapshotOf(1, 2);
  const { restored, before } = await server.operations.restore("e1.0", id);
  expect([restored.id, await server.content("e1.0")]).toEqual([id, 1]);
  await server.operations.restore("e1.0", before.id);
  expect(await server.content("e1.0")).toBe(2);
});

test("a difference is told in sectors, with both snapshots", async () => {
  const one = await snapshotOf(1, 2);
  const two = await snapshotOf(2, 2);
  const { from, to, ranges } = server.operations.diff("e1.0", one, two);
  expect([from.id, to.id]).toEqual([one, two]);
  expect(await Array.fromAsync(ranges)).toEqual([{ sector: 0, sectorCount: 8 }]);
  expect(await Array.fromAsync(server.operations.diff("e1.0", one, one).ranges)).toEqual([]);
});

test("an unexposed target is gone, and its address is free for another snapshot", async () => {
  const one = await snapshotOf(1, 2);
  const two = await snapshotOf(2, 3);
  await server.operations.expose("e1.0", one, "e9.0");
  await server.operations.unexpose("e9.0");
  expect(server.names()).toEqual(["e1.0"]);
  await server.operations.expose("e1.0", two, "e9.0");
  expect(await server.content("e9.0")).toBe(2);
});

test("the volume of an unexposed clone stays, for a target of the configuration", async () => {
  const id = await snapshotOf(1, 2);
  await server.operations.clone("e1.0", id, "e9.0", "work");
  await server.fill("e9.0", 7);
  expect(await server.operations.unexpose("e9.0")).toMatchObject({ kind: "clone", volume: "work", sizeBytes: 2 ** 20 });
  expect(server.names()).toEqual(["e1.0"]);
  await server.exposed.follow([bed.target("e1.0"), bed.target("e3.0", {}, { volume: "work" })]);
  expect(await server.content("e3.0")).toBe(7);
});

test("who may not use a target may not use its snapshots and clones", async () => {
  const mac = "02:00:00:00:00:01";
  await server.exposed.follow([bed.target("e1.0", { allowMacs: [mac] })]);
  const id = await snapshotOf(1, 2);
  await server.operations.expose("e1.0", id, "e9.0");
  await server.operations.clone("e1.0", id, "e9.1", undefined);
  expect(server.targets.list.map((target) => target.status().maskList)).toEqual([[mac], [mac], [mac]]);
});

test("what initiators set about an exposed target outlives a restart, and not the target", async () => {
  const id = await snapshotOf(1, 2);
  const served = () => server.targets.list.find(({ name }) => name === "e9.0")!;
  await server.operations.expose("e1.0", id, "e9.0");
  await served().aoe.save({ ...served().aoe.state, mask: [0x020000000001] });
  await server.stop();
  server = await bed.start([bed.target("e1.0")]);
  expect(served().status().maskList).toEqual(["02:00:00:00:00:01"]);
  await server.operations.unexpose("e9.0");
  await server.operations.expose("e1.0", id, "e9.0");
  expect(served().status().maskList).toEqual([]);
});

test("what cannot be done says why and what to do", async () => {
  const id = await snapshotOf(1, 2);
  const other = await snapshotOf(2, 3);
  const file = { kind: "file" as const, path: join(bed.directory, "disk.img"), sizeBytes: 4096 };
  await server.exposed.follow([bed.target("e1.0"), bed.target("e2.0", { backend: file })]);
  await server.operations.expose("e1.0", id, "e9.0");
  const { operations } = server;
  const reasons = await Promise.all(
    [
      operations.create("e5.0", ""),
      operations.create("e2.0", ""),
      operations.create("e9.0", ""),
      operations.restore("e9.0", id),
      operations.expose("e1.0", "0123456789abcdef", "e9.1"),
      operations.expose("e1.0", id, "e1.0"),
      operations.expose("e1.0", id, "e9.0"),
      operations.clone("e1.0", id, "e9.1", "e1.0"),
      operations.unexpose("e1.0"),
      operations.unexpose("e9.7"),
    ].map(reasonOf),
  );
  expect(reasons).toEqual([
    "there is no target e5.0: voe status lists those that are served",
    'e2.0 is a file, and only archives (backend = "cas") have snapshots: voe import brings its content into one',
    `e9.0 shows the snapshot ${id} of e1.0 and never changes: name e1.0 instead`,
    `e9.0 shows the snapshot ${id} of e1.0 and never changes: name e1.0 instead`,
    "no snapshot has an id that begins with 0123456789abcdef; list them with voe snapshot list",
    "e1.0 is served already: choose another address; voe status lists those that are taken",
    "e9.0 is served already: choose another address; voe status lists those that are taken",
    expect.stringContaining("has a volume e1.0 already: name another one with --volume, or serve that one with"),
    "e1.0 is a target of the configuration: take it out there, and reload",
    "e9.7 is no exposed snapshot or clone: voe status lists the targets",
  ]);
  expect(() => operations.list("e5.0")).toThrow("there is no target e5.0");
  expect(() => operations.diff("e1.0", other, "0123")).toThrow("no snapshot has an id that begins with 0123");
  expect(server.names()).toEqual(["e1.0", "e2.0", "e9.0"]);
});
