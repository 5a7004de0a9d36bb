/** A Linux guest with a filesystem on an archive: its snapshots mounted beside it, cloned, and restored. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { $ } from "bun";
import type { SnapshotReport } from "../../src/control/snapshot-operations.ts";
import { type GuestRun, guestBuildTimeoutMs, runGuest } from "../support/guest.ts";
import { missingForGuests, titleUnless } from "../support/requirements.ts";
import { startServer, voeCommand } from "../support/server-process.ts";
import { createNetwork } from "../support/test-network.ts";

const missing = missingForGuests();

describe.skipIf(missing !== undefined)(titleUnless(missing, "a mounted filesystem on an archive"), () => {
  let directory: string;
  let guest: GuestRun;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "voe-mounted-"));
    await using network = await createNetwork({ tapCount: 1, mtu: 9000 });
    const config = join(directory, "voe.toml");
    await writeFile(
      config,
      `[server]\ninterfaces = ${JSON.stringify(network.taps)}\nstate_dir = "state"\ncontrol_socket = "voe.sock"\n` +
        '[[target]]\nshelf = 1\nslot = 0\nbackend = "cas"\nsync = "1s"\n' +
        '[target.cas]\nsize = "64MiB"\nblob_store = { type = "file", path = "blobs" }\n',
    );
    await using server = await startServer({ arguments: [config], directory, namespace: network.namespace });
    const voe = async <T>(...args: string[]): Promise<T> =>
      (await $`${voeCommand()} snapshot ${args} --json --control ${join(directory, "voe.sock")}`.quiet().json()) as T;
    const ids = new Map<string, string>();
    guest = await runGuest({
      network,
      script: "snapshots",
      devices: ["e1.0"],
      hostActions: {
        snapshot: async (name = "") => {
          ids.set(name, (await voe<SnapshotReport>("create", "e1.0", "--description", name)).id);
        },
        expose: () => voe("expose", "e1.0", ids.get("frozen")!, "--as", "e9.0"),
        clone: () => voe("clone", "e1.0", ids.get("running")!, "--as", "e2.0"),
        restore: async () => {
          const { before } = await voe<{ before: SnapshotReport }>("restore", "e1.0", ids.get("frozen")!);
          ids.set("before", before.id);
        },
        unrestore: () => voe("restore", "e1.0", ids.get("before")!),
      },
      serverLog: () => server.log(),
      timeoutSeconds: 120,
    });
  }, guestBuildTimeoutMs);

  afterAll(async () => {
    await rm(directory, { recursive: true, force: true });
  });

  test.each([
    "a snapshot is made of the frozen filesystem",
    "files are deleted and others written in their place",
    "a snapshot is made of the filesystem as it runs",
    "more files are written",
    "the old snapshot is exposed while the disk is mounted",
    "it announces itself to the client",
    "it mounts read-only beside the live disk",
    "the old files are intact in it",
    "the live files are intact beside it",
    "e2fsck finds the old filesystem clean",
    "the snapshot of the running filesystem is cloned",
    "the clone announces itself to the client",
    "the clone mounts writable",
    "the clone has the files of its snapshot",
    "the clone takes files of its own",
    "e2fsck finds the clone clean",
    "the live disk knows nothing of them",
    "the disk is restored",
    "the restored disk mounts",
    "the restored disk has the old files",
    "e2fsck finds the restored filesystem clean",
    "what was there before the restore can be had back",
    "its files verify",
    "e2fsck finds it clean",
  ])("%s", (check) => guest.expectPassed(check));

  test("all checks of the guest passed", () => expect(guest.status).toBe(0));
});
