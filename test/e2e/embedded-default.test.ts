/** `voe serve --interface TAP` without a configuration file: its disk, mounted by a Linux guest. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type GuestRun, guestBuildTimeoutMs, runGuest } from "../support/guest.ts";
import { missingForGuests, titleUnless } from "../support/requirements.ts";
import { startServer } from "../support/server-process.ts";
import { createNetwork } from "../support/test-network.ts";

const missing = missingForGuests();

describe.skipIf(missing !== undefined)(titleUnless(missing, "the embedded default on a tap"), () => {
  let directory: string;
  let guest: GuestRun;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "voe-default-"));
    await using network = await createNetwork({ tapCount: 1, mtu: 1500 });
    await using server = await startServer({
      arguments: ["--interface", network.taps[0] ?? ""],
      directory,
      namespace: network.namespace,
    });
    guest = await runGuest({
      network,
      script: "embedded-default",
      devices: ["e1.0"],
      serverLog: () => server.log(),
      timeoutSeconds: 90,
    });
  }, guestBuildTimeoutMs);

  afterAll(async () => {
    await rm(directory, { recursive: true, force: true });
  });

  test.each([
    "the disk has 8 GiB",
    "the disk takes a filesystem",
    "the guest mounts the disk",
    "files are written",
    "e2fsck finds the filesystem clean",
    "files verify after remounting",
  ])("%s", (check) => guest.expectPassed(check));

  test("the data is under ./voe-data", async () => {
    expect(await readdir(join(directory, "voe-data"))).not.toBeEmpty();
  });
});
