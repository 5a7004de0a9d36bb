/** The programs that people use NBD with, on a file and on an archive. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createHash, randomBytes } from "node:crypto";
import { readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createNbdBed, failureOf, missingForPrograms, nbdsh, type NbdBed } from "../support/nbd-clients.ts";
import { until } from "../support/server-bed.ts";
import { titleUnless } from "../support/requirements.ts";
import { run } from "../support/run.ts";

const missing = missingForPrograms("nbdinfo", "nbdcopy", "nbdsh", "qemu-img", "qemu-io", "fio");
const MIB = 2 ** 20;
const DISK_BYTES = 48 * MIB;

interface NbdInfo {
  readonly protocol: string;
  readonly TLS: boolean;
  readonly structured: boolean;
  readonly exports: readonly {
    readonly "export-name": string;
    readonly description?: string;
    readonly "export-size": number;
    readonly is_read_only: boolean;
    readonly contexts: readonly string[];
    readonly [capability: string]: unknown;
  }[];
}

interface MapEntry {
  readonly offset: number;
  readonly length: number;
  readonly type: number;
}

const info = (uri: string, ...words: string[]): NbdInfo =>
  JSON.parse(run("nbdinfo", "--json", ...words, uri)) as NbdInfo;
const DATA = 0;
const HOLE = 3;
/** What `nbdinfo --map` says: [offset, length, type] in KiB. */
const mapOf = (uri: string): number[][] =>
  (JSON.parse(run("nbdinfo", "--map", "--json", uri)) as MapEntry[]).map(({ offset, length, type }) => [
    offset / 1024,
    length / 1024,
    type,
  ]);
const sha256 = (path: string): string => createHash("sha256").update(readFileSync(path)).digest("hex");
const qemuIo = (uri: string, ...commands: string[]): string => {
  const output = run("qemu-io", "-f", "raw", ...commands.flatMap((command) => ["-c", command]), uri);
  // It ends with status 0 where a pattern is not what it should be.
  if (/fail|error|invalid/i.test(output)) throw new Error(output);
  return output;
};

describe.skipIf(missing !== undefined)(titleUnless(missing, "NBD clients"), () => {
  let bed: NbdBed;
  beforeAll(async () => {
    bed = await createNbdBed([
      { backend: "file", size: "48MiB", sync: "none", configString: "plain file" },
      { backend: "cas", size: "48MiB", sync: "1s" },
      { backend: "cas", size: "48MiB", sync: "always" },
      { backend: "file", size: "48MiB", configString: "scratch" },
    ]);
  });
  afterAll(() => bed[Symbol.asyncDispose]());

  test("nbdinfo lists every target with its config string, over TCP and the unix socket", () => {
    for (const uri of [bed.uri(""), bed.tcpUri("")]) {
      const list = info(uri, "--list").exports;
      expect(list.map((entry) => [entry["export-name"], entry.description])).toEqual([
        ["e1.0", "plain file"],
        ["e1.1", undefined],
        ["e1.2", undefined],
        ["e1.3", "scratch"],
      ]);
      expect(list.every((entry) => entry["export-size"] === DISK_BYTES)).toBe(true);
    }
  });

  test("nbdinfo finds everything that a target can do, by its address and by its config string", () => {
    for (const name of ["e1.0", "e1.1", "plain%20file"]) {
      const { protocol, TLS, structured, exports } = info(bed.uri(name));
      expect({ protocol, TLS, structured }).toEqual({ protocol: "newstyle-fixed", TLS: false, structured: true });
      expect(exports[0]).toMatchObject({
        is_read_only: false,
        is_rotational: false,
        can_multi_conn: true,
        can_flush: true,
        can_fua: true,
        can_trim: true,
        can_zero: true,
        can_fast_zero: true,
        can_df: true,
        can_cache: true,
        block_size_minimum: 1,
        block_size_preferred: 4096,
        block_size_maximum: 32 * MIB,
      });
      expect(exports[0]!.contexts).toEqual(["base:allocation"]);
    }
    expect(failureOf("nbdinfo", bed.uri("e9.9"))).toContain("e9.9");
  });

  test.each([
    ["a file", "e1.3"],
    ["an archive", "e1.2"],
  ])("--map tells the truth of %s: written, kept in packs, and trimmed", (_what, name) => {
    const uri = bed.uri(name);
    const rest = (from: number): number[] => [from, DISK_BYTES / 1024 - from, HOLE];
    expect(mapOf(uri)).toEqual([rest(0)]);
    nbdsh(uri, 'h.pwrite(b"x" * 131072, 1048576); h.pwrite(b"y" * 65536, 4194304); h.flush()');
    const written = [[0, 1024, HOLE], [1024, 128, DATA], [1152, 2944, HOLE], [4096, 64, DATA], rest(4160)];
    expect(mapOf(uri)).toEqual(written);
    if (name === "e1.2") {
      bed.voe("snapshot", "create", name);
      expect(mapOf(uri)).toEqual(written);
    }
    nbdsh(uri, "h.trim(65536, 1048576); h.zero(65536, 4194304)");
    expect(mapOf(uri)).toEqual([[0, 1088, HOLE], [1088, 64, DATA], rest(1152)]);
    // A part of the rest.
    expect(nbdsh(uri, "h.zero(131072, 1048576, nbd.CMD_FLAG_NO_HOLE); print(h.pread(131072, 1048576).count(0))")).toBe(
      "131072",
    );
    if (name === "e1.2") expect(mapOf(uri)).toEqual([rest(0)]);
  });

  test.each(["e1.0", "e1.1"])("nbdcopy brings an image into %s and out again, holes and all", (name) => {
    const image = join(bed.directory, "image");
    const out = join(bed.directory, "out");
    const pieces = [randomBytes(3 * MIB + 4096), new Uint8Array(5 * MIB), randomBytes(512), randomBytes(9 * MIB)];
    writeFileSync(image, Buffer.concat(pieces));
    truncateSync(image, DISK_BYTES);
    run("nbdcopy", "--flush", image, bed.uri(name));
    run("nbdcopy", bed.tcpUri(name), out);
    expect(sha256(out)).toBe(sha256(image));
    expect(statSync(out).blocks * 512).toBeLessThan(24 * MIB);
    // The second time nothing is left of what was there.
    writeFileSync(image, randomBytes(2 * MIB));
    truncateSync(image, DISK_BYTES);
    run("nbdcopy", "--flush", "--connections=1", image, bed.tcpUri(name));
    run("qemu-img", "compare", "-f", "raw", "-F", "raw", image, bed.tcpUri(name));
  });

  test.each(["e1.0", "e1.1"])("nbdsh reads and writes %s at any byte, and is told what it may not", (name) => {
    const script = `
import os
size = h.get_size()
data = os.urandom(10007)
for at in (0, 1, 511, 4095, 1048579, size - 10007):
    h.pwrite(data, at, nbd.CMD_FLAG_FUA)
    assert h.pread(len(data), at) == data
h.pwrite(b"\\xff" * 8192, 65536)
h.zero(1000, 65536 + 700, nbd.CMD_FLAG_FUA)
h.trim(3000, 65536 + 4000)
back = h.pread(8192, 65536)
assert back[:700] == b"\\xff" * 700 and back[700:1700] == bytes(1000) and back[1700:4000] == b"\\xff" * 2300
assert back[4000:4096] == b"\\xff" * 96 and back[4096:6656] == bytes(2560) and back[6656:] == b"\\xff" * 1536
h.cache(65536, 0)
h.flush()
h.set_strict_mode(0)
def refused(errno, what):
    try:
        what()
    except nbd.Error as error:
        assert error.errno == errno, (error.errno, errno)
    else:
        raise AssertionError("it was not refused: " + errno)
refused("EINVAL", lambda: h.pread(512, size))
refused("EINVAL", lambda: h.pread(512, size - 511))
refused("ENOSPC", lambda: h.pwrite(b"x" * 512, size - 1))
refused("ENOSPC", lambda: h.zero(512, size - 1))
refused("EINVAL", lambda: h.trim(512, size))
assert h.pread(10007, size - 10007) == data
`;
    nbdsh(bed.uri(name), script);
  });

  test.each(["e1.0", "e1.1"])(
    "bytes that four connections write side by side into the same sectors of %s are all kept",
    (name) => {
      const script = `
import os, random
uri = "${bed.tcpUri(name)}"
random.seed(7)
clients = [nbd.NBD() for _ in range(4)]
for client in clients:
    client.connect_uri(uri)
size = 6000
model = bytearray(clients[0].pread(size, 20480))
for round in range(60):
    waiting = []
    for i, client in enumerate(clients):
        for _ in range(6):
            # Each has bytes of its own: those of its number, modulo four.
            at = random.randrange(size // 4) * 4 + i
            value = os.urandom(1)
            model[at:at + 1] = value
            buffer = nbd.Buffer.from_bytearray(bytearray(value))
            waiting.append((client, client.aio_pwrite(buffer, 20480 + at), buffer))
        client.poll(0)
    for client, cookie, _ in waiting:
        while not client.aio_command_completed(cookie):
            client.poll(-1)
found = clients[3].pread(size, 20480)
lost = [at for at in range(size) if found[at] != model[at]]
assert not lost, lost
`;
      nbdsh(undefined, script);
    },
  );

  test("a flush on one connection covers what was written on another", () => {
    const script = `
uri = "${bed.tcpUri("e1.1")}"
a, b = nbd.NBD(), nbd.NBD()
a.connect_uri(uri); b.connect_uri(uri)
assert a.can_multi_conn()
a.pwrite(b"flushed by another" * 100, 7340033)
b.flush()
assert b.pread(1800, 7340033) == b"flushed by another" * 100
`;
    nbdsh(undefined, script);
  });

  test("qemu-img knows size, holes and content, converts in and out, and compares", () => {
    const uri = bed.tcpUri("e1.1");
    const image = join(bed.directory, "image.qcow2");
    const raw = join(bed.directory, "qemu.raw");
    writeFileSync(raw, randomBytes(6 * MIB));
    truncateSync(raw, DISK_BYTES);
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, image);
    run("qemu-img", "convert", "-n", "-f", "qcow2", "-O", "raw", image, uri);
    expect(run("qemu-img", "compare", "-f", "qcow2", "-F", "raw", image, uri)).toBe("Images are identical.");
    expect(JSON.parse(run("qemu-img", "info", "--output=json", uri))).toMatchObject({
      "virtual-size": DISK_BYTES,
      format: "raw",
    });
    const map = JSON.parse(run("qemu-img", "map", "--output=json", "-f", "raw", uri)) as {
      length: number;
      data: boolean;
      zero: boolean;
    }[];
    expect(map.map(({ length, data, zero }) => [length, data, zero])).toEqual([
      [6 * MIB, true, false],
      [DISK_BYTES - 6 * MIB, false, true],
    ]);
    run("qemu-img", "convert", "-f", "raw", "-O", "raw", uri, `${raw}.back`);
    expect(sha256(`${raw}.back`)).toBe(sha256(raw));
    expect(run("qemu-img", "bench", "-c", "200", "-d", "8", "-f", "raw", uri)).toContain("Run completed");
  });

  test.each(["e1.0", "e1.1"])("qemu-io writes patterns, zeros and holes onto %s and finds them", (name) => {
    const uri = bed.tcpUri(name);
    qemuIo(
      uri,
      "write -P 0xab 4k 64k",
      "read -P 0xab 4k 64k",
      "write -z 8k 8k",
      "read -P 0 8k 8k",
      "read -P 0xab 4k 4k",
    );
    qemuIo(uri, "discard 32k 4k", "read -P 0 32k 4k", "write -f -P 0x11 513 1000", "read -P 0x11 513 1000", "flush");
    qemuIo(
      uri,
      "write -z -u 40k 4k",
      "read -P 0 40k 4k",
      "read -P 0xab 36k 4k",
      "aio_write -P 0x22 1M 1M",
      "aio_flush",
      "read -P 0x22 1M 1M",
    );
  });

  test.each([
    ["e1.0", 1],
    ["e1.0", 4],
    ["e1.1", 1],
    ["e1.1", 4],
  ])("what fio writes onto %s verifies, connections: %d", (name, connections) => {
    const fio = ["fio", "--name=verify", "--ioengine=nbd", `--uri=${bed.tcpUri(name)}`, "--thread", "--rw=randwrite"];
    fio.push("--bsrange=1k-64k", "--bs_unaligned", "--iodepth=16", "--size=10m", "--verify=crc32c", "--do_verify=1");
    fio.push(
      "--verify_fatal=1",
      "--verify_state_save=0",
      "--fsync=64",
      `--numjobs=${connections}`,
      "--offset_increment=10m",
      "--group_reporting",
    );
    run(...fio);
  });

  test("a snapshot that is exposed is a read-only export, and nbdcopy has the old content of it", () => {
    nbdsh(bed.uri("e1.1"), 'h.pwrite(b"old" * 1000, 12345)');
    const { id } = JSON.parse(bed.voe("snapshot", "create", "e1.1", "--json")) as { id: string };
    nbdsh(bed.uri("e1.1"), 'h.pwrite(b"new" * 1000, 12345)');
    bed.voe("snapshot", "expose", "e1.1", id, "--as", "e7.0");
    const exposed = info(bed.uri("e7.0")).exports[0]!;
    expect([exposed.is_read_only, exposed["export-size"]]).toEqual([true, DISK_BYTES]);
    expect(nbdsh(bed.uri("e7.0"), 'print(h.pread(3000, 12345) == b"old" * 1000)')).toBe("True");
    expect(nbdsh(bed.uri("e1.1"), 'print(h.pread(3000, 12345) == b"new" * 1000)')).toBe("True");
    expect(failureOf("qemu-io", "-f", "raw", "-c", "write 0 4k", bed.tcpUri("e7.0"))).toContain("Permission denied");
    bed.voe("snapshot", "unexpose", "e7.0");
    expect(failureOf("nbdinfo", bed.uri("e7.0"))).toContain("e7.0");
  });

  test("voe export of a running archive has the image that clients have", () => {
    const out = join(bed.directory, "exported");
    bed.voe("export", "e1.1", out);
    expect(run("qemu-img", "compare", "-f", "raw", "-F", "raw", out, bed.tcpUri("e1.1"))).toBe("Images are identical.");
  });

  test("QEMU with reconnect-delay goes on by itself when the server was killed and starts again", async () => {
    await using other = await createNbdBed([{ backend: "cas", size: "16MiB", sync: "always" }]);
    const options = `driver=nbd,server.type=unix,server.path=${other.socket},export=e1.0,reconnect-delay=30`;
    const child = Bun.spawn(["timeout", "40", "qemu-io", "--image-opts", options], {
      stdin: "pipe",
      stdout: "pipe",
      stderr: "pipe",
    });
    let output = "";
    const collecting = (async () => {
      for await (const chunk of child.stdout) output += new TextDecoder().decode(chunk);
    })();
    void child.stdin.write("write -P 1 0 64k\n");
    await until("the first write is answered", () => output.includes("wrote 65536/65536 bytes at offset 0"));
    await other.restart();
    void child.stdin.write("write -P 2 64k 64k\nread -P 1 0 64k\nread -P 2 64k 64k\nquit\n");
    await child.stdin.end();
    await collecting;
    expect(await child.exited).toBe(0);
    expect(output).toContain("wrote 65536/65536 bytes at offset 65536");
    expect(output + (await child.stderr.text())).not.toMatch(/fail|error/i);
  }, 60_000);
});
