/** One target on two links: the Linux initiator uses both, and either may fail. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { $ } from "bun";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type GuestRun, guestBuildTimeoutMs, runGuest } from "../support/guest.ts";
import { missingForGuests, titleUnless } from "../support/requirements.ts";
import { writeServerConfig } from "../support/server-config.ts";
import { startServer } from "../support/server-process.ts";
import { createNetwork } from "../support/test-network.ts";

const missing = missingForGuests();

describe.skipIf(missing !== undefined).each([
  { mtu: 1500, link: 0 },
  { mtu: 9000, link: 1 },
])(titleUnless(missing, "a target on two links, of which link $link fails, at MTU $mtu"), ({ mtu, link }) => {
  let directory: string;
  let image: string;
  let guest: GuestRun;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "voe-paths-"));
    image = join(directory, "disk.img");
    await using network = await createNetwork({ tapCount: 2, mtu });
    const config = await writeServerConfig(directory, {
      interfaces: network.taps,
      targets: [{ shelf: 1, slot: 0, path: image, size: "64MiB" }],
    });
    await using server = await startServer({ arguments: [config], directory, namespace: network.namespace });
    guest = await runGuest({
      network,
      script: "paths",
      devices: ["e1.0"],
      environment: { LINK: link },
      hostActions: {
        link: async (index, state) => {
          const tap = network.taps[Number(index)];
          if (tap === undefined || (state !== "up" && state !== "down")) throw new Error("link INDEX up|down");
          await network.setLink(tap, state);
        },
      },
      serverLog: () => server.log(),
      timeoutSeconds: 120,
    });
  }, guestBuildTimeoutMs);

  afterAll(async () => {
    await rm(directory, { recursive: true, force: true });
  });

  test.each([
    "the initiator sees both paths",
    "aoe-stat lists both interfaces",
    "requests are answered on both paths",
    "writing goes on with one link down",
    "the link is used again once it is back",
    "no write failed",
    "files written across the failures verify",
    "e2fsck finds the filesystem clean",
  ])("%s", (check) => guest.expectPassed(check));

  test("the host finds the filesystem clean", async () => {
    const result = await $`e2fsck -fn ${image}`.quiet().nothrow();
    expect(result.exitCode, result.stdout.toString()).toBe(0);
  });
});
