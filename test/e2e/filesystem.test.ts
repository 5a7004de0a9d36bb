/** The Linux kernel's initiator and its filesystems on voe's targets, in a guest, at both usual MTUs. */
import { $ } from "bun";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type GuestRun, guestBuildTimeoutMs, runGuest } from "../support/guest.ts";
import { missingForGuests, titleUnless } from "../support/requirements.ts";
import { writeServerConfig } from "../support/server-config.ts";
import { startServer } from "../support/server-process.ts";
import { createNetwork } from "../support/test-network.ts";

const missing = missingForGuests();
const MIB = 1 << 20;

/** An ext4 image with checksummed files, as e1.2 serves it read-only. */
async function makeReadOnlyImage(directory: string, image: string): Promise<void> {
  const content = join(directory, "content");
  await mkdir(content);
  for (const name of ["file-1", "file-2"]) {
    await writeFile(join(content, name), crypto.getRandomValues(new Uint8Array(60_000)));
  }
  await writeFile(join(content, "SHA256SUMS"), await $`sha256sum file-1 file-2`.cwd(content).text());
  await $`mke2fs -q -t ext4 -d ${content} ${image} 8M`.quiet();
}

describe.skipIf(missing !== undefined).each([
  { mtu: 1500, payloadBytes: 1024 },
  { mtu: 9000, payloadBytes: 8192 },
])(titleUnless(missing, "a Linux guest at MTU $mtu"), ({ mtu, payloadBytes }) => {
  let directory: string;
  let first: string;
  let readOnly: string;
  let readOnlyBefore: Buffer;
  let guest: GuestRun;
  let exitStatus: number | null;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "voe-filesystem-"));
    first = join(directory, "first.img");
    readOnly = join(directory, "read-only.img");
    await makeReadOnlyImage(directory, readOnly);
    readOnlyBefore = await readFile(readOnly);
    await using network = await createNetwork({ tapCount: 1, mtu });
    const config = await writeServerConfig(directory, {
      interfaces: network.taps,
      targets: [
        { shelf: 1, slot: 0, path: first, size: "64MiB" },
        { shelf: 1, slot: 1, path: join(directory, "second.img"), size: "24MiB" },
        { shelf: 1, slot: 2, path: readOnly, readOnly: true },
      ],
    });
    await using server = await startServer({ arguments: [config], directory, namespace: network.namespace });
    guest = await runGuest({
      network,
      script: "filesystem",
      devices: ["e1.0", "e1.1", "e1.2"],
      environment: { SIZE: 64 * MIB, SECOND_SIZE: 24 * MIB, PAYLOAD: payloadBytes },
      serverLog: () => server.log(),
      timeoutSeconds: 90,
    });
    exitStatus = await server.stop("SIGTERM");
  }, guestBuildTimeoutMs);

  afterAll(async () => {
    await rm(directory, { recursive: true, force: true });
  });

  test.each([
    "discovery finds every target with its size",
    "frames carry as much data as the MTU allows",
    "mkfs.ext4 makes a filesystem",
    "the filesystem mounts",
    "files are written",
    "a second target takes a filesystem beside the first",
    "files read back from the medium as written",
    "umount returns",
    "e2fsck finds the filesystem clean",
    "the filesystem mounts again",
    "checksums hold after remounting",
    "two targets keep their data apart",
    "files are deleted and others written in their place",
    "e2fsck finds both filesystems clean in the end",
    "a read-only target mounts read-only and its files verify",
    "a write to a read-only target fails at once",
    "a refused write leaves the read-only target readable and unchanged",
  ])("%s", (check) => guest.expectPassed(check));

  test("SIGTERM ends the server with status 0", () => {
    expect(exitStatus).toBe(0);
  });

  test("the host's own tools find the guest's filesystem and files in the backing file", async () => {
    await $`e2fsck -fn ${first}`.quiet();
    const extracted = join(directory, "extracted");
    await mkdir(extracted);
    await $`debugfs -R ${`rdump / ${extracted}`} ${first}`.quiet();
    const verified = await $`sha256sum -c SHA256SUMS`.cwd(extracted).quiet().text();
    expect(verified.match(/: OK$/gm)).toHaveLength(8);
  });

  test("the file behind the read-only target has not changed by a byte", async () => {
    expect((await readFile(readOnly)).equals(readOnlyBefore)).toBe(true);
  });
});
