/** QEMU boots a disk of an archive over NBD, which reads and writes through it: with the words of docs/nbd.md. */
import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { bootedStatus, debugExitDevice, makeBootSectors } from "../support/boot-disk.ts";
import { createNbdBed, missingForPrograms, nbdsh } from "../support/nbd-clients.ts";
import { titleUnless } from "../support/requirements.ts";
import { run } from "../support/run.ts";

const missing = missingForPrograms("qemu-system-x86_64", "nbdcopy", "nbdsh");

const blockdev = (node: string, port: number): string =>
  `driver=nbd,node-name=${node},server.type=inet,server.host=127.0.0.1,server.port=${port},export=e1.0,reconnect-delay=120,discard=unmap`;

describe.skipIf(missing !== undefined)(titleUnless(missing, "QEMU"), () => {
  test.each([
    ["as it is named in short", (port: number) => ["-drive", `file=nbd://127.0.0.1:${port}/e1.0,format=raw,if=virtio`]],
    [
      "with a delay to reconnect",
      (port: number) => ["-blockdev", blockdev("disk", port), "-device", "virtio-blk-pci,drive=disk"],
    ],
    [
      "as Proxmox VE is told to",
      (port: number) => [
        "-blockdev",
        blockdev("voe0", port),
        "-device",
        "virtio-scsi-pci,id=voescsi",
        "-device",
        "scsi-hd,bus=voescsi.0,drive=voe0",
      ],
    ],
  ])(
    "boots a guest from an archive over NBD, %s, and what the guest writes is in it",
    async (_how, drive) => {
      const marker = `the archive booted ${crypto.randomUUID()}`;
      await using bed = await createNbdBed([{ backend: "cas", size: "64MiB", sync: "always" }]);
      const image = join(bed.directory, "boot.img");
      writeFileSync(image, makeBootSectors(marker));
      run("nbdcopy", "--flush", image, bed.uri("e1.0"));
      const qemu = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-nographic", "-no-reboot"];
      qemu.push("-machine", "q35,accel=tcg", "-m", "64", "-serial", "stdio", "-device", debugExitDevice);
      const words = ["timeout", "-k", "2", "25", ...qemu, ...drive(bed.port)];
      const child = Bun.spawn(words, { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
      const [output, errors] = await Promise.all([child.stdout.text(), child.stderr.text()]);
      expect(output + errors).toContain(marker);
      expect(await child.exited).toBe(bootedStatus);
      const written = nbdsh(bed.uri("e1.0"), `print(h.pread(${marker.length}, 1024).decode())`);
      expect(written).toBe(marker);
    },
    60_000,
  );
});
