import { afterEach, beforeEach, expect, test } from "bun:test";
import { readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TargetConfig } from "../../../src/config/config.ts";
import { createArchiveBed, type ArchiveBed, type RunningBed } from "../../support/archive-bed.ts";
import { reasonOf } from "../../support/reason-of.ts";

let bed: ArchiveBed;
let server: RunningBed | undefined;
let id: string;
let listPath: string;

/** A snapshot of e1.0 full of 1, exposed as e9.0, and a clone of it as e9.1; e1.0 is full of 2. */
beforeEach(async () => {
  bed = createArchiveBed();
  listPath = join(bed.stateDirectory, "exposed", "targets.json");
  const running = await start();
  await running.fill("e1.0", 1);
  ({ id } = await running.operations.create("e1.0", ""));
  await running.fill("e1.0", 2);
  await running.operations.expose("e1.0", id, "e9.0");
  await running.operations.clone("e1.0", id, "e9.1", "work");
  await running.fill("e9.1", 3);
});
afterEach(async () => {
  await server?.stop();
  server = undefined;
  bed.remove();
});

async function start(configs: readonly TargetConfig[] = [bed.target("e1.0")]): Promise<RunningBed> {
  await server?.stop();
  server = undefined;
  server = await bed.start(configs);
  return server;
}

test("exposed snapshots and clones are there again after a restart, without a warning", async () => {
  const again = await start();
  expect(again.names()).toEqual(["e1.0", "e9.0", "e9.1"]);
  expect(await Promise.all(again.names().map((name) => again.content(name)))).toEqual([2, 1, 3]);
  expect([again.warnings, again.exposed.warnings]).toEqual([[], []]);
});

test("what was unexposed stays away after a restart", async () => {
  await server!.operations.unexpose("e9.0");
  expect((await start()).names()).toEqual(["e1.0", "e9.1"]);
});

test("a target of the configuration has its address at a start, and the exposed one has it back later", async () => {
  const taken = await start([bed.target("e1.0"), bed.target("e9.0", {}, { volume: "other" })]);
  expect(taken.targets.list.find(({ name }) => name === "e9.0")?.config.exposed).toBeUndefined();
  expect(taken.warnings).toEqual([expect.stringContaining("e9.0, an exposed snapshot, is not served: the configur")]);
  expect(taken.exposed.warnings).toEqual(taken.warnings);
  expect(await taken.exposed.follow([bed.target("e1.0")])).toEqual(["e9.0 removed", "e9.0 exposed"]);
  expect(await taken.content("e9.0")).toBe(1);
  expect(taken.exposed.warnings).toEqual([]);
});

test("a reload leaves exposed targets alone, and takes the address of one where the configuration has it", async () => {
  const running = server!;
  const before = running.storage("e9.0");
  expect(await running.exposed.follow([bed.target("e1.0"), bed.target("e1.1")])).toEqual(["e1.1 added"]);
  expect(running.storage("e9.0")).toBe(before);
  const configs = [bed.target("e1.0"), bed.target("e9.0", {}, { volume: "other" })];
  expect(await running.exposed.follow(configs)).toEqual(["e1.1 removed", "e9.0 reopened"]);
  expect(running.targets.list.find(({ name }) => name === "e9.0")?.config.exposed).toBeUndefined();
  expect(running.exposed.warnings).toHaveLength(1);
});

test("a clone gives way to a target of the configuration on its volume", async () => {
  const running = server!;
  const changes = await running.exposed.follow([bed.target("e1.0"), bed.target("e3.0", {}, { volume: "work" })]);
  expect(changes).toEqual(["e9.1 removed", "e3.0 added"]);
  expect(await running.content("e3.0")).toBe(3);
  expect(running.exposed.warnings).toEqual([
    "e9.1, an exposed clone, is not served: the configuration serves its volume work as e3.0",
  ]);
});

test("exposed targets outlive the target they were made from, where another one is in the store", async () => {
  const running = server!;
  expect(await running.exposed.follow([bed.target("e1.5")])).toEqual(["e1.0 removed", "e1.5 added"]);
  expect([await running.content("e9.0"), await running.content("e9.1")]).toEqual([1, 3]);
  const again = await start([bed.target("e1.5")]);
  expect([await again.content("e9.0"), await again.content("e9.1")]).toEqual([1, 3]);
});

test("without a target in their store they wait, with a warning, until there is one", async () => {
  const elsewhere = { type: "file" as const, path: join(bed.directory, "other-blobs") };
  const running = server!;
  await running.exposed.follow([bed.target("e1.0", {}, { blobStore: elsewhere })]);
  expect(running.names()).toEqual(["e1.0"]);
  expect(running.exposed.warnings).toEqual([
    expect.stringContaining(`e9.0, an exposed snapshot, is not served: no target of the configuration is in its store`),
    expect.stringContaining("e9.1, an exposed clone, is not served"),
  ]);
  expect(await reasonOf(running.operations.expose("e1.0", id, "e9.0"))).not.toBe("");
  await running.exposed.follow([bed.target("e1.0")]);
  expect([await running.content("e9.0"), await running.content("e9.1")]).toEqual([1, 3]);
});

test("a reload that cannot be followed leaves the exposed targets as they were", async () => {
  const running = server!;
  const absent = bed.target("e2.0", { backend: { kind: "file", path: "/nowhere/disk.img", sizeBytes: undefined } });
  expect(await reasonOf(running.exposed.follow([bed.target("e1.0"), absent]))).toContain("target e2.0: ");
  expect(running.names()).toEqual(["e1.0", "e9.0", "e9.1"]);
  expect(await running.content("e9.0")).toBe(1);
  expect(running.exposed.warnings).toEqual([]);
});

test("a snapshot or volume that the store has no more keeps nothing else from being served", async () => {
  await server!.stop();
  server = undefined;
  writeFileSync(
    listPath,
    readFileSync(listPath, "utf8").replace(id, "0123456789abcdef").replace('"volume": "work"', '"volume": "gone"'),
  );
  const again = await start();
  expect(again.names()).toEqual(["e1.0"]);
  expect(again.warnings).toEqual([
    expect.stringContaining("e9.0, an exposed snapshot, is not served: target e9.0: no snapshot has an id that begins"),
    expect.stringMatching(/e9\.1, an exposed clone, is not served: target e9\.1: .* has no volume gone: restore/),
  ]);
  expect(await reasonOf(again.operations.expose("e1.0", id, "e9.0"))).toBe(
    "e9.0 is an exposed target that cannot be served at present: choose another address; voe status lists those that " +
      "are taken, or give it up with voe snapshot unexpose e9.0",
  );
  await again.operations.unexpose("e9.0");
  await again.operations.expose("e1.0", id, "e9.0");
  expect(await again.content("e9.0")).toBe(1);
});

test.each([
  ["{", "targets.json is damaged (JSON"],
  ['{"version": 2, "targets": []}', "(version 2, known is 1)"],
  ['{"version": 1}', '(no list "targets")'],
  ['{"version": 1, "targets": [{}]}', "is no text)"],
])("a list that reads %s is reported and left alone, and what is configured is served", async (text, reason) => {
  await server!.stop();
  server = undefined;
  writeFileSync(listPath, text);
  const again = await start();
  expect(again.names()).toEqual(["e1.0"]);
  expect(again.exposed.warnings).toEqual([expect.stringContaining(reason)]);
  expect(await reasonOf(again.operations.expose("e1.0", id, "e9.5"))).toContain("delete it, restart, and expose them");
  expect(readFileSync(listPath, "utf8")).toBe(text);
  expect(again.names()).toEqual(["e1.0"]);
});

test("a list that cannot be written exposes nothing", async () => {
  const running = server!;
  const directory = join(bed.stateDirectory, "exposed");
  renameSync(directory, `${directory}.away`);
  writeFileSync(directory, "in the way");
  expect(await reasonOf(running.operations.expose("e1.0", id, "e9.5"))).not.toBe("");
  expect(running.names()).toEqual(["e1.0", "e9.0", "e9.1"]);
  rmSync(directory);
  renameSync(`${directory}.away`, directory);
  expect((await start()).names()).toEqual(["e1.0", "e9.0", "e9.1"]);
});

test("the list is for its owner alone, and names what docs/format.md says", () => {
  expect(statSync(listPath).mode & 0o777).toBe(0o600);
  expect(JSON.parse(readFileSync(listPath, "utf8"))).toEqual({
    version: 1,
    targets: [
      {
        target: "e9.0",
        kind: "snapshot",
        origin: "e1.0",
        snapshotId: id,
        store: `file:${join(bed.directory, "blobs")}`,
        volume: "e1.0",
        sizeBytes: 2 ** 20,
        blockSizeBytes: 4096,
        sync: { kind: "none" },
        allowMacs: [],
        allowClients: [],
      },
      expect.objectContaining({ target: "e9.1", kind: "clone", volume: "work" }),
    ],
  });
});
