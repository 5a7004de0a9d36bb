/** iPXE as a second, independent AoE initiator: it boots a disk that then reads and writes through it. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bootDiskBytes, bootedStatus, debugExitDevice, makeBootSectors } from "../support/boot-disk.ts";
import { ipxeKernel, missingForIpxe, titleUnless } from "../support/requirements.ts";
import { writeServerConfig } from "../support/server-config.ts";
import { startServer } from "../support/server-process.ts";
import { createNetwork } from "../support/test-network.ts";

const missing = missingForIpxe();
const timeoutSeconds = 25;

describe.skipIf(missing !== undefined)(titleUnless(missing, "iPXE"), () => {
  const marker = `the disk on voe booted ${crypto.randomUUID()}`;
  let directory: string;
  let image: string;
  let status: number;
  let output: string;

  beforeAll(
    async () => {
      directory = await mkdtemp(join(tmpdir(), "voe-ipxe-"));
      image = join(directory, "boot.img");
      await writeFile(image, makeBootSectors(marker));
      await truncate(image, bootDiskBytes);
      const script = join(directory, "boot.ipxe");
      await writeFile(script, "#!ipxe\nifopen net0\nsanboot aoe:e1.0\n");
      await using network = await createNetwork({ tapCount: 1, mtu: 1500 });
      const config = await writeServerConfig(directory, {
        interfaces: network.taps,
        targets: [{ shelf: 1, slot: 0, path: image }],
      });
      await using server = await startServer({ arguments: [config], directory, namespace: network.namespace });
      const qemu = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-nographic", "-no-reboot"];
      qemu.push("-machine", "q35,accel=tcg", "-m", "128", "-kernel", ipxeKernel, "-initrd", script, "-serial", "stdio");
      qemu.push("-netdev", `tap,id=n0,ifname=${network.taps[0]},script=no,downscript=no`);
      qemu.push("-device", "virtio-net-pci,netdev=n0,romfile=", "-device", debugExitDevice);
      const words = ["timeout", "-k", "2", String(timeoutSeconds), "ip", "netns", "exec", network.namespace, ...qemu];
      const child = Bun.spawn(words, { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
      const texts = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
      output = [...texts, server.log()].join("\n");
      status = await child.exited;
    },
    (timeoutSeconds + 20) * 1000,
  );

  afterAll(async () => {
    await rm(directory, { recursive: true, force: true });
  });

  test("boots from a target, whose boot sector reads on through it", () => {
    expect(output).toContain(marker);
    expect(status, output).toBe(bootedStatus);
  });

  test("writes to a target", async () => {
    const sector = (await readFile(image)).subarray(2 * 512, 3 * 512);
    expect(sector.toString("latin1")).toStartWith(marker);
  });
});
