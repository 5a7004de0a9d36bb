import { afterEach, beforeEach, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { join } from "node:path";
import type { BlobStoreConfig } from "../../../src/config/config.ts";
import { Secret } from "../../../src/config/secret.ts";
import { copyStore, type StoreCopy, type StoreCopyResult } from "../../../src/server/copy-stores.ts";
import { recoverStore } from "../../../src/server/recover-stores.ts";
import { createArchiveBed, type ArchiveBed, type RunningBed } from "../../support/archive-bed.ts";
import { CAS_TOKEN, startCasServer } from "../../support/cas-server.ts";
import { reasonOf } from "../../support/reason-of.ts";

let bed: ArchiveBed;
let served: RunningBed;
beforeEach(async () => {
  bed = createArchiveBed();
  served = await bed.start([bed.target("e1.0")]);
});
afterEach(async () => {
  await served.stop();
  bed.remove();
});

const source = (): BlobStoreConfig => ({ type: "file", path: join(bed.directory, "blobs") });
const quiet = { indexing() {}, planned() {}, progress() {}, copied() {} };
const copy = (destination: BlobStoreConfig, more: Partial<StoreCopy> = {}): Promise<StoreCopyResult> =>
  copyStore(
    { source: source(), destination, compression: "lz4", wanted: [{ volume: "e1.0" }], ...more },
    {
      stateDirectory: join(bed.directory, "copy-state"),
      signal: new AbortController().signal,
      report: () => {},
      events: quiet,
    },
  );
const recover = (blobStore: BlobStoreConfig) =>
  recoverStore(
    { blobStore, volumes: ["e1.0"] },
    {
      stateDirectory: bed.stateDirectory,
      takeOver: false,
      acceptDamage: false,
      verify: true,
      signal: new AbortController().signal,
      report: () => {},
      progress: () => {},
      onVerify: () => {},
    },
  );
const transfers = { atOnce: 4, uploadBytesPerSecond: undefined, downloadBytesPerSecond: undefined };

/** Copies twice while the source is served, then brings the copy to life and looks what it is. */
async function replicate(destination: BlobStoreConfig): Promise<void> {
  await served.fill("e1.0", 1);
  const first = await served.operations.create("e1.0", "first");
  expect((await copy(destination)).volumes).toMatchObject([{ name: "e1.0", presentCount: 0 }]);
  await served.fill("e1.0", 2);
  await served.operations.create("e1.0", "second");
  expect((await copy(destination)).volumes[0]!.copied.map(({ record }) => record.description)).toEqual(["second"]);
  expect(await copy(destination)).toMatchObject({ broughtBytes: 0, packBytes: 0 });
  await served.fill("e1.0", 3);
  expect(await recover(destination)).toMatchObject({ epoch: 1, volumes: [{ name: "e1.0" }] });
  await served.stop();
  served = await bed.start([bed.target("e1.0", {}, { blobStore: destination })]);
  expect(await served.content("e1.0")).toBe(2);
  await served.operations.restore("e1.0", first.id);
  expect(await served.content("e1.0")).toBe(1);
  await served.stop();
  expect(await reasonOf(copy(destination))).toContain("it is no replica, or no longer");
}

test("a replica in a directory, made while the source is served, is served after it was recovered", () =>
  replicate({ type: "file", path: join(bed.directory, "replica") }));

test("a replica in a CAS server, made while the source is served, is served after it was recovered", async () => {
  await using under = await startCasServer();
  const cache = { path: join(bed.directory, "cache"), sizeBytes: 2 ** 24 };
  await replicate({
    type: "cas",
    endpoint: `${under.server.url}replica`,
    token: new Secret(CAS_TOKEN),
    tokenFile: undefined,
    ca: undefined,
    cache,
    transfers,
  });
});

test("a destination that had a copy and is gone is not made anew: its filesystem may not be mounted", async () => {
  await served.fill("e1.0", 1);
  await served.operations.create("e1.0", "");
  const path = join(bed.directory, "replica");
  await copy({ type: "file", path });
  rmSync(path, { recursive: true });
  expect(await reasonOf(copy({ type: "file", path }))).toContain("is its filesystem mounted");
});

test("two copies between the same stores at a time are refused", async () => {
  const destination: BlobStoreConfig = { type: "file", path: join(bed.directory, "replica") };
  const reasons = await Promise.all([copy(destination), copy(destination)].map(reasonOf));
  expect(reasons.filter((reason) => reason.includes("another voe copies"))).toHaveLength(1);
});
