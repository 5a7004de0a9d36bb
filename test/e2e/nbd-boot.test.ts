/** QEMU boots a disk of an archive over NBD, which reads and writes through it. */
import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { bootedStatus, debugExitDevice, makeBootSectors } from "../support/boot-disk.ts";
import { createNbdBed, missingForPrograms, nbdsh } from "../support/nbd-bed.ts";
import { titleUnless } from "../support/requirements.ts";
import { run } from "../support/run.ts";

const missing = missingForPrograms("qemu-system-x86_64", "nbdcopy", "nbdsh");

describe.skipIf(missing !== undefined)(titleUnless(missing, "QEMU"), () => {
  test("boots a guest from an archive over NBD, and what the guest writes is in it", async () => {
    const marker = `the archive booted ${crypto.randomUUID()}`;
    await using bed = await createNbdBed([{ backend: "cas", size: "64MiB", sync: "always" }]);
    const image = join(bed.directory, "boot.img");
    writeFileSync(image, makeBootSectors(marker));
    run("nbdcopy", "--flush", image, bed.uri("e1.0"));
    const qemu = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-nographic", "-no-reboot"];
    qemu.push("-machine", "q35,accel=tcg", "-m", "64", "-serial", "stdio", "-device", debugExitDevice);
    qemu.push("-drive", `file=${bed.tcpUri("e1.0")},format=raw,if=virtio,cache=none,discard=unmap`);
    const child = Bun.spawn(["timeout", "-k", "2", "25", ...qemu], { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
    const [output, errors] = await Promise.all([child.stdout.text(), child.stderr.text()]);
    expect(output + errors).toContain(marker);
    expect(await child.exited).toBe(bootedStatus);
    const written = nbdsh(bed.uri("e1.0"), `print(h.pread(${marker.length}, 1024).decode())`);
    expect(written).toBe(marker);
  }, 60_000);
});
