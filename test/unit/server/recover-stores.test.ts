import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { TargetConfig } from "../../../src/config/config.ts";
import { recoverStore, storesOf, type RecoverStoreOptions } from "../../../src/server/recover-stores.ts";
import type { VerifyEvent } from "../../../src/storage/cas/verify/verify-events.ts";
import { createArchiveBed, type ArchiveBed } from "../../support/archive-bed.ts";
import { flipBit, packsOf } from "../../support/archive-files.ts";
import { reasonOf } from "../../support/reason-of.ts";

let bed: ArchiveBed;
let targets: TargetConfig[];
let events: VerifyEvent[];

beforeEach(async () => {
  bed = createArchiveBed();
  targets = [bed.target("e1.0"), bed.target("e1.1")];
  events = [];
  const running = await bed.start(targets);
  await running.fill("e1.0", 1);
  await running.operations.create("e1.0", "kept");
  await running.fill("e1.0", 2);
  await running.stop();
});
afterEach(() => bed.remove());

const lose = (): void => rmSync(bed.stateDirectory, { recursive: true });

const recover = (more: Partial<RecoverStoreOptions> = {}, configs: readonly TargetConfig[] = targets) =>
  recoverStore(storesOf(configs)[0]!, {
    stateDirectory: bed.stateDirectory,
    takeOver: false,
    acceptDamage: false,
    verify: false,
    signal: new AbortController().signal,
    report: () => {},
    progress: () => {},
    onVerify: (event) => events.push(event),
    ...more,
  });

test("the targets of one store are one store, with all their volumes", () => {
  const elsewhere = bed.target("e2.0", {}, { blobStore: { type: "file", path: join(bed.directory, "other") } });
  const file = bed.target("e3.0", { backend: { kind: "file", path: "/x", sizeBytes: undefined } });
  expect(storesOf([...targets, elsewhere, file]).map(({ volumes }) => volumes)).toEqual([["e1.0", "e1.1"], ["e2.0"]]);
});

test("a server whose state is lost is refused, and goes on after a recovery with everything that was stored", async () => {
  lose();
  expect(await reasonOf(bed.start(targets))).toContain("run voe recover, which takes the store over");
  expect(await recover()).toMatchObject({
    epoch: 2,
    volumes: [
      { name: "e1.0", snapshots: [{ description: "kept" }] },
      { name: "e1.1", snapshots: [] },
    ],
  });
  const running = await bed.start(targets);
  expect(await running.content("e1.0")).toBe(2);
  const [snapshot] = await running.operations.list("e1.0");
  await running.operations.expose("e1.0", snapshot!.id, "e9.0");
  expect(await running.content("e9.0")).toBe(1);
  await running.stop();
});

test("a state that is there is kept as it is", async () => {
  const archives = join(bed.stateDirectory, "archives");
  const [id] = readdirSync(archives);
  expect(await recover()).toEqual({ kept: join(archives, id!) });
  const running = await bed.start(targets);
  expect(await running.content("e1.0")).toBe(2);
  await running.stop();
});

test("the host that was overtaken is refused with what to do, and may take the store back", async () => {
  const own = `${bed.stateDirectory}-own`;
  renameSync(bed.stateDirectory, own);
  await recover();
  lose();
  renameSync(own, bed.stateDirectory);
  const reason = await reasonOf(bed.start(targets));
  expect(reason).toContain("was taken over by");
  expect(reason).toContain(`move ${join(bed.stateDirectory, "archives")}`);
  lose();
  expect(await recover()).toMatchObject({ epoch: 3 });
});

test("a directory that is no store, or never held an archive, is not recovered, and stays as it is", async () => {
  lose();
  const path = join(bed.directory, "other");
  const elsewhere = bed.target("e2.0", {}, { blobStore: { type: "file", path } });
  expect(await reasonOf(recover({}, [elsewhere]))).toContain("is not there: is its filesystem mounted");
  expect(existsSync(path)).toBe(false);
  rmSync(join(bed.directory, "blobs/refs/store"), { recursive: true });
  expect(await reasonOf(recover())).toContain("has no store/id");
  expect(existsSync(join(bed.directory, "blobs/refs/store"))).toBe(false);
});

test("with verification nothing is taken over that has damage, unless that is wanted", async () => {
  lose();
  flipBit(packsOf(join(bed.directory, "blobs"))[0]!, 10);
  expect(await reasonOf(recover({ verify: true }))).toContain("was not taken over");
  expect(readdirSync(join(bed.directory, "blobs/refs/writer"))).toHaveLength(1);
  expect(events.some(({ event }) => event === "damage")).toBe(true);
  expect(await recover({ verify: true, acceptDamage: true })).toMatchObject({ epoch: 2 });
});
