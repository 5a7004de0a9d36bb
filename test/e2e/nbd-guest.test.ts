/** The kernel's NBD client in a Linux guest, beside its AoE initiator, and behind a bridge to iSCSI. */
import { $ } from "bun";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { appendFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type GuestRun, guestBuildTimeoutMs, runGuest } from "../support/guest.ts";
import { missingForPrograms, nbdsh } from "../support/nbd-clients.ts";
import { missingForGuests, titleUnless } from "../support/requirements.ts";
import { run } from "../support/run.ts";
import { writeServerConfig } from "../support/server-config.ts";
import { startServer } from "../support/server-process.ts";
import { createNetwork } from "../support/test-network.ts";

const missing = missingForGuests() ?? missingForPrograms("nbd-client", "nbdinfo", "nbdsh");
const MIB = 2 ** 20;
const SIZE_BYTES = 96 * MIB;
const SERVER = "10.81.9.1";
const GUEST = "10.81.9.2";
const IQN = "iqn.2026-01.org.example:e1.1";

const hasIscsi = (): boolean =>
  ["tgtd", "tgtadm", "qemu-io"].every((program) => Bun.which(program) !== null) &&
  existsSync(`/usr/lib/${process.arch === "x64" ? "x86_64" : "aarch64"}-linux-gnu/qemu/block-iscsi.so`);
const missingForIscsi = hasIscsi() ? undefined : "tgt, qemu-utils or qemu-block-extra is not installed";

describe.skipIf(missing !== undefined)(titleUnless(missing, "the kernel's NBD client"), () => {
  let directory: string;
  let guest: GuestRun;
  let exitStatus: number | null;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "voe-nbd-guest-"));
    const socket = join(directory, "nbd.sock");
    await using network = await createNetwork({ tapCount: 1, mtu: 1500 });
    const { namespace, taps } = network;
    await $`ip -n ${namespace} address add ${SERVER}/24 dev ${taps[0]}`.quiet();
    const config = await writeServerConfig(directory, {
      interfaces: taps,
      targets: [
        { shelf: 1, slot: 0, backend: "cas", store: join(directory, "blobs"), size: "96MiB" },
        { shelf: 1, slot: 1, path: join(directory, "e1.1.img"), size: "32MiB" },
      ],
    });
    await appendFile(config, `[nbd]\nbind = "${SERVER}:10809"\nallow = ["${SERVER}/24"]\nsocket = "${socket}"\n`);
    const server = await startServer({ arguments: [config], directory, namespace });
    const uri = (name: string): string => `nbd+unix:///${name}?socket=${socket}`;
    const dataBytes = (): number =>
      (JSON.parse(run("nbdinfo", "--map", "--json", uri("e1.0"))) as { length: number; type: number }[])
        .filter(({ type }) => type === 0)
        .reduce((sum, { length }) => sum + length, 0);
    let lastBytes = 0;
    try {
      guest = await runGuest({
        network,
        script: "nbd",
        devices: ["e1.1"],
        environment: {
          SERVER_ADDRESS: SERVER,
          GUEST_ADDRESS: GUEST,
          SIZE_BYTES,
          IQN,
          WITH_ISCSI: missingForIscsi === undefined ? "yes" : "",
        },
        hostActions: {
          // Nearly all of that, since the filesystem has other uses for blocks too.
          data: async (bytes = "", direction = "") => {
            const now = dataBytes();
            const change = direction === "more" ? now - lastBytes : lastBytes - now;
            if (change < 0.9 * Number(bytes)) throw new Error(`data was ${lastBytes} and is ${now} bytes`);
            lastBytes = now;
          },
          iscsi: async () => {
            const commands = ["write -P 0x5a 1M 64k", "flush", "read -P 0x5a 1M 64k"].flatMap((word) => ["-c", word]);
            const words = ["qemu-io", "-f", "raw", ...commands, `iscsi://${GUEST}/${IQN}/1`];
            const said = run("timeout", "20", "ip", "netns", "exec", namespace, ...words);
            if (/fail|error/i.test(said)) throw new Error(said);
          },
          pattern: async () => void nbdsh(uri("e1.1"), `assert h.pread(65536, 1048576) == b"\\x5a" * 65536`),
        },
        serverLog: () => server.log(),
        timeoutSeconds: 90,
      });
    } finally {
      exitStatus = await server.stop("SIGTERM");
    }
  }, guestBuildTimeoutMs + 60_000);

  afterAll(async () => {
    await rm(directory, { recursive: true, force: true });
  });

  test.each([
    "the kernel connects, twice",
    "the disk has its size",
    "the kernel may trim",
    "the kernel flushes a write cache",
    "the kernel has durable writes",
    "the disk takes a filesystem",
    "the filesystem mounts",
    "files are written",
    "a large file takes space",
    "the filesystem is trimmed",
    "trimming has given the space back",
    "the kernel disconnects",
    "the kernel connects again",
    "e2fsck finds the filesystem clean",
    "the filesystem mounts again",
    "the files verify",
    "the kernel connects to a disk that it has over AoE",
    "what is written over NBD is read over AoE",
    "what is written over AoE is read over NBD",
  ])("%s", (check) => guest.expectPassed(check));

  test
    .skipIf(missingForIscsi !== undefined)
    .each(["tgt has the disk", "an initiator of iSCSI writes and reads it", "what it wrote is on the disk"])(
    titleUnless(missingForIscsi, "over iSCSI: %s"),
    (check) => guest.expectPassed(check),
  );

  test("guest and server end well", () => {
    expect(guest.status).toBe(0);
    expect(exitStatus).toBe(0);
  });
});
