/** A Linux guest with a filesystem on an archive, in frames that carry a quarter of a block. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { controlPaths, fetchStatus } from "../../src/control/client.ts";
import type { SnapshotReport } from "../../src/control/snapshot-operations.ts";
import { storedBytes } from "../support/archive-files.ts";
import { type GuestRun, guestBuildTimeoutMs, runGuest } from "../support/guest.ts";
import { missingForGuests, titleUnless } from "../support/requirements.ts";
import { run } from "../support/run.ts";
import { writeServerConfig } from "../support/server-config.ts";
import { startServer, voeCommand } from "../support/server-process.ts";
import { createNetwork } from "../support/test-network.ts";

const missing = missingForGuests();
const FILE_BYTES = 6 * 2 ** 20;
/** What the filesystem and the tree write besides a file. */
const OTHER_BYTES = 2 ** 20;

describe.skipIf(missing !== undefined)(titleUnless(missing, "a filesystem on an archive, at MTU 1500"), () => {
  let directory: string;
  let guest: GuestRun;
  let exitStatus: number | null;
  /** Bytes of all packs when the guest asked. */
  const measured = new Map<string, number>();
  let reportedBytes: number;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "voe-archive-guest-"));
    const store = join(directory, "blobs");
    const socket = join(directory, "voe.sock");
    await using network = await createNetwork({ tapCount: 1, mtu: 1500 });
    const config = await writeServerConfig(directory, {
      interfaces: network.taps,
      targets: [{ shelf: 1, slot: 0, backend: "cas", store, size: "96MiB", sync: "always" }],
    });
    const start = () => startServer({ arguments: [config], directory, namespace: network.namespace });
    const voe = (...words: string[]): unknown =>
      JSON.parse(run(...voeCommand(), "snapshot", ...words, "--json", "--control", socket));
    let server = await start();
    let id = "";
    try {
      guest = await runGuest({
        network,
        script: "archive",
        devices: ["e1.0"],
        environment: { PAYLOAD: 1024, FILE_KIB: FILE_BYTES / 1024 },
        hostActions: {
          // With the snapshot everything that was written is in packs.
          measure: async (name = "") => {
            voe("create", "e1.0");
            measured.set(name, storedBytes(store));
            reportedBytes = (await fetchStatus(controlPaths(socket, {}))).archives[0]!.storedBytes;
          },
          kill: async () => void (await server.stop("SIGKILL")),
          start: async () => {
            server = await start();
          },
          snapshot: async () => {
            ({ id } = voe("create", "e1.0", "--description", "running") as SnapshotReport);
          },
          expose: async () => void voe("expose", "e1.0", id, "--as", "e9.0"),
          restore: async () => void voe("restore", "e1.0", id),
        },
        serverLog: () => server.log(),
        timeoutSeconds: 150,
      });
    } finally {
      exitStatus = await server.stop("SIGTERM");
    }
  }, guestBuildTimeoutMs + 60_000);

  afterAll(async () => {
    await rm(directory, { recursive: true, force: true });
  });

  test.each([
    "frames carry less than a block",
    "the initiator offers no discard",
    "the disk takes a filesystem",
    "the filesystem mounts",
    "files are written",
    "the store is measured",
    "the store is measured with a file",
    "the store is measured with its copies",
    "the copies read back as the file",
    "writing goes on",
    "the server is killed and starts again",
    "writing goes on by itself",
    "no write failed",
    "files written across the kill verify",
    "a snapshot is made of the running filesystem",
    "files are changed and deleted",
    "the snapshot is exposed",
    "the snapshot announces itself",
    "the snapshot mounts read-only beside the live disk",
    "the old files are intact in it",
    "the live files are intact beside it",
    "e2fsck finds the live filesystem clean",
    "the disk is restored",
    "the restored disk mounts",
    "the restored disk has the old files",
    "e2fsck finds the restored filesystem clean",
  ])("%s", (check) => guest.expectPassed(check));

  test("a file is stored once, and its copies not again", () => {
    const [before, one, three] = ["before", "one", "three"].map((name) => measured.get(name)!) as [
      number,
      number,
      number,
    ];
    expect(one - before).toBeGreaterThanOrEqual(FILE_BYTES);
    expect(one - before).toBeLessThan(FILE_BYTES + OTHER_BYTES);
    expect(three - one).toBeLessThan(OTHER_BYTES);
    expect(reportedBytes).toBe(three);
  });

  test("SIGTERM ends the server with status 0", () => {
    expect(exitStatus).toBe(0);
  });
});
