import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openDevice, openFile, type Medium } from "../../../../src/storage/file/medium.ts";
import { attachLoop, missingForLoops } from "../../../support/loop-device.ts";
import { titleUnless } from "../../../support/requirements.ts";
import { run } from "../../../support/run.ts";

const MIB = 2 ** 20;

let directory: string;
let path: string;
const opened: Medium[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "voe-medium-"));
  path = join(directory, "disk.img");
});
afterEach(() => {
  for (const medium of opened.splice(0)) closeSync(medium.fd);
  rmSync(directory, { recursive: true });
});

function open(sizeBytes?: number, readOnly = false): Medium {
  const medium = openFile(path, sizeBytes, readOnly);
  opened.push(medium);
  return medium;
}

describe("a file", () => {
  test("that is absent is created at its size, sparse, for its owner alone", () => {
    const medium = open(64 * MIB);
    expect(medium).toMatchObject({ kind: "file", path, readOnly: false, sizeBytes: 64 * MIB, notice: undefined });
    const { size, blocks, mode } = statSync(path);
    expect([size, blocks, mode & 0o777]).toEqual([64 * MIB, 0, 0o600]);
  });

  test("that is absent is not created without a size", () => {
    expect(() => open()).toThrow(`${path} does not exist: give the target a size, and it is created`);
    expect(existsSync(path)).toBe(false);
  });

  test("that is absent is not created read-only", () => {
    expect(() => open(MIB, true)).toThrow(`${path} does not exist, and a read-only target cannot create it`);
    expect(existsSync(path)).toBe(false);
  });

  test("in a directory that is absent is refused by name", () => {
    path = join(directory, "no/such/disk.img");
    expect(() => open(MIB)).toThrow(`${path} cannot be created, its directory does not exist`);
  });

  test("of another size keeps it, and it is said", () => {
    writeFileSync(path, new Uint8Array(3 * MIB).fill(7));
    const medium = open(2 * MIB);
    expect(medium.sizeBytes).toBe(3 * MIB);
    expect(medium.notice).toContain("has 3 MiB, which wins over the configured 2 MiB");
    expect(statSync(path).size).toBe(3 * MIB);
  });

  test("of just the size configured, or with none configured, is not worth a word", () => {
    writeFileSync(path, new Uint8Array(MIB));
    expect(open(MIB).notice).toBeUndefined();
    for (const medium of opened.splice(0)) closeSync(medium.fd);
    expect(open().notice).toBeUndefined();
  });

  test("that is smaller grows, keeps what it holds and has zeros after it, and it is said", () => {
    writeFileSync(path, new Uint8Array(MIB).fill(7));
    const medium = open(2 * MIB);
    expect(medium.sizeBytes).toBe(2 * MIB);
    expect(medium.notice).toBe(`${path} grew from 1 MiB to 2 MiB`);
    const bytes = readFileSync(path);
    expect(bytes.length).toBe(2 * MIB);
    expect(bytes.subarray(0, MIB).every((byte) => byte === 7)).toBe(true);
    expect(bytes.subarray(MIB).every((byte) => byte === 0)).toBe(true);
  });

  test("read-only never grows", () => {
    writeFileSync(path, new Uint8Array(MIB));
    const medium = open(2 * MIB, true);
    expect([medium.sizeBytes, medium.readOnly, statSync(path).size]).toEqual([MIB, true, MIB]);
  });

  test("that ends in a part of a sector is served without that part, and it is said", () => {
    writeFileSync(path, new Uint8Array(5 * 512 + 17));
    const medium = open();
    expect(medium.sizeBytes).toBe(5 * 512);
    expect(medium.notice).toContain("the last 17 bytes are no whole sector and are not served");
  });

  test.each([0, 1, 511])("of %d bytes and no size is refused", (bytes) => {
    writeFileSync(path, new Uint8Array(bytes));
    expect(() => open()).toThrow("is smaller than one sector of 512 bytes: give it a size");
  });

  test("that is empty is given its size without a word, as one that was never finished", () => {
    writeFileSync(path, "");
    const medium = open(MIB);
    expect([medium.sizeBytes, medium.notice]).toEqual([MIB, undefined]);
  });

  test("of a size that no file can have is refused with the size", () => {
    expect(() => open(2 ** 52)).toThrow("could not be given 4096 TiB");
  });

  test("that is served is refused to a second server, whatever the two want with it", () => {
    open(MIB);
    const message = `${path} is served by another process: stop that one, or serve another file`;
    expect(() => openFile(path, MIB, false)).toThrow(message);
    expect(() => openFile(path, undefined, true)).toThrow(message);
    const other = join(directory, "other-name.img");
    symlinkSync(path, other);
    expect(() => openFile(other, MIB, false)).toThrow("is served by another process");
  });

  test("that is served read-only is served so twice, and refused to a server that writes", () => {
    writeFileSync(path, new Uint8Array(MIB));
    open(undefined, true);
    open(undefined, true);
    expect(() => openFile(path, undefined, false)).toThrow("is served by another process");
  });

  test("that is refused is not held on to", () => {
    writeFileSync(path, new Uint8Array(100));
    expect(() => open()).toThrow("is smaller than one sector");
    truncateSync(path, MIB);
    expect(open().sizeBytes).toBe(MIB);
  });

  test("that is locked in another process is refused", async () => {
    open(MIB);
    const medium = join(import.meta.dir, "../../../../src/storage/file/medium.ts");
    const script = `import { openFile } from ${JSON.stringify(medium)}; openFile(${JSON.stringify(path)}, undefined, false);`;
    const child = Bun.spawn([process.execPath, "-e", script], { stdout: "ignore", stderr: "pipe" });
    expect(await new Response(child.stderr).text()).toContain("is served by another process");
    expect(await child.exited).not.toBe(0);
  });

  test("that is a directory, a pipe or a character device is refused at once, read-only too", () => {
    mkdirSync(path);
    for (const readOnly of [false, true]) {
      expect(() => openFile(path, MIB, readOnly)).toThrow(`${path} is not a regular file`);
      expect(() => openFile("/dev/null", MIB, readOnly)).toThrow("/dev/null is not a regular file");
    }
    const pipe = join(directory, "pipe");
    run("mkfifo", pipe);
    for (const readOnly of [false, true]) {
      expect(() => openFile(pipe, MIB, readOnly)).toThrow(`${pipe} is not a regular file`);
    }
  });

  const isRoot = process.getuid?.() === 0 ? "root may open everything" : undefined;
  test.skipIf(isRoot !== undefined)(titleUnless(isRoot, "that may not be opened is refused with the user"), () => {
    writeFileSync(path, new Uint8Array(MIB));
    chmodSync(path, 0);
    expect(() => open()).toThrow(`${path} may not be opened by user ${process.getuid?.()}: check its owner and mode`);
  });
});

describe("a device", () => {
  test("that is a file is refused with the backend to use", () => {
    writeFileSync(path, new Uint8Array(MIB));
    for (const direct of [false, true]) {
      expect(() => openDevice(path, false, direct)).toThrow(`${path} is not a block device: use backend = "file"`);
    }
  });

  test("that does not exist is said not to", () => {
    expect(() => openDevice(path, false, false)).toThrow(`${path}: there is no such device`);
  });

  test("that is something else is refused", () => {
    expect(() => openDevice("/dev/null", false, false)).toThrow("/dev/null is not a block device");
  });
});

const missing = missingForLoops();

describe.skipIf(missing !== undefined)(titleUnless(missing, "a loop device"), () => {
  test("is opened with its size in whole sectors", async () => {
    await using loop = attachLoop(new Uint8Array(5 * 4096 + 512));
    const medium = openDevice(loop.device, false, false);
    expect(medium).toMatchObject({ kind: "device", sizeBytes: 5 * 4096 + 512, readOnly: false });
    closeSync(medium.fd);
  });

  test("given as a file is refused with the backend to use", async () => {
    await using loop = attachLoop(new Uint8Array(MIB));
    expect(() => openFile(loop.device, undefined, false)).toThrow(
      `${loop.device} is a block device: use backend = "device"`,
    );
  });

  test("is refused to a second server", async () => {
    await using loop = attachLoop(new Uint8Array(MIB));
    const medium = openDevice(loop.device, false, false);
    expect(() => openDevice(loop.device, false, true)).toThrow(`${loop.device} is in use: it is mounted`);
    closeSync(medium.fd);
    closeSync(openDevice(loop.device, false, true).fd);
  });

  test("that is mounted is refused, and served once it is not", async () => {
    await using loop = attachLoop(new Uint8Array(4 * MIB));
    run("mkfs.ext4", "-q", loop.device);
    const mountPoint = join(directory, "mnt");
    mkdirSync(mountPoint);
    run("mount", loop.device, mountPoint);
    try {
      for (const readOnly of [false, true]) {
        expect(() => openDevice(loop.device, readOnly, false)).toThrow("is in use: it is mounted");
      }
    } finally {
      run("umount", mountPoint);
    }
    closeSync(openDevice(loop.device, false, false).fd);
  });

  test("with no medium is refused", () => {
    const device = run("losetup", "-f");
    expect(() => openDevice(device, false, false)).toThrow(/there is no such device|has no size/);
  });

  test("of larger sectors is refused for direct, and served through the page cache", async () => {
    await using loop = attachLoop(new Uint8Array(4 * MIB));
    run("losetup", "-b", "4096", loop.device);
    expect(() => openDevice(loop.device, false, true)).toThrow("addresses units of 4096 bytes");
    const medium = openDevice(loop.device, false, false);
    expect(medium.sizeBytes).toBe(4 * MIB);
    closeSync(medium.fd);
  });

  test("that is read-only is refused for writing, and served read-only", () => {
    writeFileSync(path, new Uint8Array(MIB));
    const device = run("losetup", "--show", "--read-only", "-f", path);
    try {
      expect(() => openDevice(device, false, false)).toThrow(
        `${device} is a read-only device: set read_only = true to serve it so`,
      );
      closeSync(openDevice(device, true, false).fd);
    } finally {
      run("losetup", "-d", device);
    }
  });
});
