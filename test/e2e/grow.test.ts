/** A running server follows its edited configuration: a mounted target grows, another target appears. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type GuestRun, guestBuildTimeoutMs, runGuest } from "../support/guest.ts";
import { missingForGuests, titleUnless } from "../support/requirements.ts";
import { writeServerConfig } from "../support/server-config.ts";
import { startServer } from "../support/server-process.ts";
import { createNetwork } from "../support/test-network.ts";

const missing = missingForGuests();
const MIB = 1 << 20;

describe.skipIf(missing !== undefined)(titleUnless(missing, "a mounted target that grows"), () => {
  let directory: string;
  let image: string;
  let guest: GuestRun;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "voe-grow-"));
    image = join(directory, "disk.img");
    await using network = await createNetwork({ tapCount: 1, mtu: 9000 });
    const configure = async (targets: { slot: number; path: string; size: string }[]) =>
      writeServerConfig(directory, {
        interfaces: network.taps,
        targets: targets.map((target) => ({ shelf: 1, ...target })),
      });
    const config = await configure([{ slot: 0, path: image, size: "32MiB" }]);
    await using server = await startServer({ arguments: [config], directory, namespace: network.namespace });
    guest = await runGuest({
      network,
      script: "grow",
      devices: ["e1.0"],
      environment: { SIZE: 32 * MIB, GROWN_SIZE: 96 * MIB },
      hostActions: {
        grow: async () => {
          await configure([
            { slot: 0, path: image, size: "96MiB" },
            { slot: 7, path: join(directory, "added.img"), size: "8MiB" },
          ]);
          server.signal("SIGHUP");
        },
      },
      serverLog: () => server.log(),
      timeoutSeconds: 90,
    });
  }, guestBuildTimeoutMs);

  afterAll(async () => {
    await rm(directory, { recursive: true, force: true });
  });

  test.each([
    "the size before",
    "the host edits the configuration and sends SIGHUP",
    "revalidate shows the new size of a grown target",
    "resize2fs grows the mounted filesystem",
    "the filesystem has more room",
    "files fill what was added",
    "files from before the growth verify",
    "files in the new room verify",
    "e2fsck finds the grown filesystem clean",
    "a target added by SIGHUP announces itself",
  ])("%s", (check) => guest.expectPassed(check));

  test("the backing file has the new size", async () => {
    expect((await stat(image)).size).toBe(96 * MIB);
  });
});
