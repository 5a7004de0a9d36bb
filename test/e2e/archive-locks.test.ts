/** Two servers and one archive: there is one writer, however the second one names it. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { cpSync, mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { openDisk } from "../../src/initiator/disk.ts";
import { mount } from "../support/mount.ts";
import { reasonOf } from "../support/reason-of.ts";
import { missingForNetworks, titleUnless } from "../support/requirements.ts";
import { createBed, type ServerBed } from "../support/server-bed.ts";
import { writeServerConfig } from "../support/server-config.ts";
import { startServer, type ServerProcess } from "../support/server-process.ts";
import { makeSectors } from "../support/versioned-sectors.ts";

const missing = missingForNetworks();
const address = { shelf: 1, slot: 0 };
const COUNT = 256;

describe.skipIf(missing !== undefined)(titleUnless(missing, "an archive that a server has open"), () => {
  let bed: ServerBed;
  let first: ServerProcess;
  let store: string;
  let state: string;

  beforeEach(async () => {
    bed = await createBed([9000]);
    store = join(bed.directory, "blobs");
    state = join(bed.directory, "state");
    await bed.configure([{ ...address, backend: "cas", size: "4MiB", sync: "always" }]);
    first = await bed.start();
    const disk = await openDisk(bed.initiator(), address);
    await disk.write(0, makeSectors(0, COUNT, 1));
  });
  afterEach(() => bed[Symbol.asyncDispose]());

  /** Starts another server on a store and a state directory. It has a control socket of its own. */
  const startSecond = async (otherStore: string, otherState: string): Promise<ServerProcess> => {
    const directory = join(bed.directory, "second");
    mkdirSync(directory, { recursive: true });
    const config = await writeServerConfig(directory, {
      interfaces: bed.serverInterfaces,
      targets: [{ shelf: 1, slot: 1, backend: "cas", store: otherStore, size: "4MiB", volume: "e1.0" }],
      stateDir: otherState,
    });
    return startServer({ arguments: [config], directory, namespace: bed.namespace });
  };

  const expectRefused = async (otherStore: string, otherState: string, said: string): Promise<void> => {
    const reason = await reasonOf(startSecond(otherStore, otherState));
    expect(reason).toContain("ended with status 1");
    expect(reason).toContain("target e1.1:");
    expect(reason).toContain(said);
    // The first one has noticed nothing.
    const disk = await openDisk(bed.initiator(), address);
    await disk.write(0, makeSectors(0, COUNT, 2));
    expect(Buffer.compare(await disk.read(0, COUNT), makeSectors(0, COUNT, 2))).toBe(0);
    expect(await first.stop("SIGTERM")).toBe(0);
  };

  const inUse = (path: string): string => `the blob store ${path} is in use by another process, and only one may write`;

  test("is refused to a second one with the same configuration", () => expectRefused(store, state, inUse(store)));

  test("is refused to a second one with a state directory of its own", () =>
    expectRefused(store, join(bed.directory, "other-state"), inUse(store)));

  test("is refused to a second one that names it by a symbolic link", () => {
    const link = join(bed.directory, "link");
    symlinkSync(store, link);
    return expectRefused(link, join(bed.directory, "other-state"), inUse(link));
  });

  test("is refused to a second one that sees it mounted elsewhere", async () => {
    const elsewhere = join(bed.directory, "elsewhere");
    using _ = mount(elsewhere, "--bind", store);
    await expectRefused(elsewhere, state, inUse(elsewhere));
  });

  test("is refused to a second one that has a copy of it, and the same state directory", () => {
    const copy = join(bed.directory, "copy");
    cpSync(store, copy, { recursive: true });
    return expectRefused(copy, state, "is in use by another voe, and only one may write");
  });

  test("is not in the way of another store beside the same state directory", async () => {
    const other = join(bed.directory, "other");
    const second = await startSecond(other, state);
    expect(await second.stop("SIGTERM")).toBe(0);
    expect(await first.stop("SIGTERM")).toBe(0);
  });

  test("is served by a second one as soon as the first was killed", async () => {
    await first.stop("SIGKILL");
    await using _ = await startSecond(store, state);
    const disk = await openDisk(bed.initiator(), { shelf: 1, slot: 1 });
    expect(Buffer.compare(await disk.read(0, COUNT), makeSectors(0, COUNT, 1))).toBe(0);
  });

  test("goes on at another place when it was moved", async () => {
    expect(await first.stop("SIGTERM")).toBe(0);
    const moved = join(bed.directory, "moved");
    cpSync(store, moved, { recursive: true });
    await using _ = await startSecond(moved, state);
    const disk = await openDisk(bed.initiator(), { shelf: 1, slot: 1 });
    expect(Buffer.compare(await disk.read(0, COUNT), makeSectors(0, COUNT, 1))).toBe(0);
  });
});
