/** The server dies by SIGKILL under a mounted filesystem that is being written to, and is started again. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { $ } from "bun";
import { type GuestRun, guestBuildTimeoutMs, runGuest } from "../support/guest.ts";
import { missingForGuests, titleUnless } from "../support/requirements.ts";
import { writeServerConfig } from "../support/server-config.ts";
import { startServer } from "../support/server-process.ts";
import { createNetwork } from "../support/test-network.ts";

const missing = missingForGuests();
const rounds = 3;

describe.skipIf(missing !== undefined).each([{ mtu: 1500 }, { mtu: 9000 }])(
  titleUnless(missing, "a filesystem on a server killed in mid-write, at MTU $mtu"),
  ({ mtu }) => {
    let directory: string;
    let image: string;
    let guest: GuestRun;

    beforeAll(async () => {
      directory = await mkdtemp(join(tmpdir(), "voe-restart-"));
      image = join(directory, "disk.img");
      await using network = await createNetwork({ tapCount: 1, mtu });
      const config = await writeServerConfig(directory, {
        interfaces: network.taps,
        targets: [{ shelf: 1, slot: 0, path: image, size: "64MiB" }],
      });
      const start = async () => startServer({ arguments: [config], directory, namespace: network.namespace });
      let server = await start();
      try {
        guest = await runGuest({
          network,
          script: "restart",
          devices: ["e1.0"],
          environment: { ROUNDS: rounds },
          hostActions: {
            kill: async () => {
              await server.stop("SIGKILL");
            },
            start: async () => {
              server = await start();
            },
          },
          serverLog: () => server.log(),
          timeoutSeconds: 120,
        });
      } finally {
        await server.stop("SIGKILL");
      }
    }, guestBuildTimeoutMs);

    afterAll(async () => {
      await rm(directory, { recursive: true, force: true });
    });

    for (let round = 1; round <= rounds; round++) {
      test.each([
        "the server is killed",
        "writes were on their way",
        "nothing is answered while the server is gone",
        "the server starts again",
        "writing goes on by itself",
      ])(`kill ${round}: %s`, (check) => guest.expectPassed(`kill ${round}: ${check}`));
    }

    test.each([
      "no write failed",
      "files written across the kills read back from the medium as written",
      "the filesystem unmounts",
      "e2fsck finds it clean",
    ])("%s", (check) => guest.expectPassed(check));

    test("the host finds the filesystem clean after the last SIGKILL", async () => {
      const result = await $`e2fsck -fn ${image}`.quiet().nothrow();
      expect(result.exitCode, result.stdout.toString()).toBe(0);
    });
  },
);
