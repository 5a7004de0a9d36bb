/** Disk images into targets of a real server and out of them again. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  closeSync,
  writeSync,
  ftruncateSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { seededRandom } from "../support/seeded-random.ts";
import { run } from "../support/run.ts";
import { startServer, voeCommand, type ServerProcess } from "../support/server-process.ts";
import { until } from "../support/server-bed.ts";

const MIB = 2 ** 20;
const DISK_BYTES = 64 * MIB;
const IMAGE_BYTES = 40 * MIB;
/** What of the image is not zeros. */
const DATA: readonly [at: number, length: number][] = [
  [0, 4096],
  [5 * MIB + 4096, 3 * MIB],
  [IMAGE_BYTES - 8192, 8192],
];
const dataBytes = DATA.reduce((sum, [, length]) => sum + length, 0);

let directory: string;
let server: ServerProcess;
const at = (name: string): string => join(directory, name);

interface Ended {
  readonly status: number;
  readonly stdout: Uint8Array;
  readonly stderr: string;
}

function begin(args: readonly string[], stdin: "ignore" | "pipe" | Blob = "ignore") {
  const words = [...voeCommand(), ...args, "--control", at("voe.sock")];
  return Bun.spawn(words, { cwd: directory, stdin, stdout: "pipe", stderr: "pipe" });
}

/** Sends bytes to a process that goes on waiting for more. */
async function feed({ stdin }: ReturnType<typeof begin>, bytes: Uint8Array): Promise<void> {
  if (typeof stdin !== "object") throw new Error("its stdin is no pipe");
  await stdin.write(bytes);
  await stdin.flush();
}

async function closeStdin({ stdin }: ReturnType<typeof begin>): Promise<void> {
  if (typeof stdin === "object") await stdin.end();
}

async function endOf(child: ReturnType<typeof begin>): Promise<Ended> {
  const [stdout, stderr] = await Promise.all([child.stdout.bytes(), child.stderr.text()]);
  return { status: await child.exited, stdout, stderr };
}

const voe = (args: readonly string[], stdin?: Blob): Promise<Ended> => endOf(begin(args, stdin));
/** Does what begins an import from a pipe, and waits until the server has begun with it. */
async function importBegun(target: string, bytes: Uint8Array): Promise<ReturnType<typeof begin>> {
  // Whatever else the server says meanwhile.
  const told = (): number => server.log().split(`import into ${target} begins: of unknown size`).length;
  const before = told();
  const child = begin(["import", "-", target], "pipe");
  await feed(child, bytes);
  await until("the import begins", () => told() > before);
  return child;
}

const json = ({ stdout, stderr, status }: Ended): Record<string, unknown> => {
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(new TextDecoder().decode(stdout)) as Record<string, unknown>;
};

/** A sparse file with random data where the image has any. */
function makeImage(name: string, seed: number): Uint8Array {
  const random = seededRandom(seed);
  const image = new Uint8Array(IMAGE_BYTES);
  const fd = openSync(at(name), "w");
  ftruncateSync(fd, IMAGE_BYTES);
  for (const [from, length] of DATA) {
    const part = image.subarray(from, from + length);
    random.fill(part);
    // Units of zeros would not be sent.
    for (let i = 0; i < part.length; i += 4096) part[i] = 1;
    writeSync(fd, part, 0, length, from);
  }
  closeSync(fd);
  return image;
}

const isImage = (bytes: Uint8Array, image: Uint8Array): boolean =>
  Buffer.compare(bytes.subarray(0, IMAGE_BYTES), image) === 0;
const diskUse = (name: string): number => statSync(at(name)).blocks * 512;

const file = (slot: number, more = ""): string =>
  `[[target]]\nshelf = 1\nslot = ${slot}\nbackend = "file"\npath = "disk${slot}.img"\nsize = "64MiB"\nsync = "1s"\n${more}`;
const archive = (slot: number): string =>
  `[[target]]\nshelf = 1\nslot = ${slot}\nbackend = "cas"\nsync = "1s"\n` +
  `[target.cas]\nsize = "64MiB"\nblob_store = { type = "file", path = "blobs" }\n`;
const configure = (...targets: readonly string[]): void =>
  writeFileSync(
    at("voe.toml"),
    ['[server]\ninterfaces = []\nstate_dir = "state"\ncontrol_socket = "voe.sock"', ...targets].join("\n"),
  );

let first: Uint8Array;
let second: Uint8Array;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "voe-images-"));
  first = makeImage("first.img", 1);
  second = makeImage("second.img", 2);
  writeFileSync(at("disk2.img"), new Uint8Array(MIB));
  configure(file(0), archive(1), file(2, "read_only = true\n").replace('size = "64MiB"\n', ""));
  server = await startServer({ arguments: ["voe.toml"], directory });
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true });
});

describe.each([
  ["a file", "e1.0"],
  ["an archive", "e1.1"],
])("%s", (_kind, target) => {
  test("holds the image that was imported, and gives it back, sparse as it was", async () => {
    const imported = json(await voe(["import", "first.img", target, "--json"]));
    expect(imported).toMatchObject({ file: "first.img", target, sizeBytes: IMAGE_BYTES, dataBytes });
    const name = `out-${target}.img`;
    const exported = json(await voe(["export", target, name, "--json"]));
    expect(exported).toMatchObject({
      target,
      snapshot: null,
      sizeBytes: DISK_BYTES,
      dataBytes,
      oneMoment: target === "e1.1",
    });
    const bytes = readFileSync(at(name));
    expect(bytes.length).toBe(DISK_BYTES);
    expect(isImage(bytes, first)).toBe(true);
    expect(diskUse(name)).toBeLessThan(dataBytes + MIB);
    expect(existsSync(at(`${name}.partial`))).toBe(false);
  });

  test("takes an image from stdin and sends it to stdout", async () => {
    expect((await voe(["import", "-", target], new Blob([second]))).status).toBe(0);
    const { status, stdout, stderr } = await voe(["export", target, "-"]);
    expect([status, stdout.length]).toEqual([0, DISK_BYTES]);
    expect(isImage(stdout, second)).toBe(true);
    expect(stderr).toContain(`exported ${target} to stdout: 64 MiB`);
  });

  test("keeps what lies beyond a smaller image, or discards it where that is asked for", async () => {
    writeFileSync(at("small.img"), new Uint8Array(1000).fill(9));
    await voe(["import", "second.img", target]);
    expect(json(await voe(["import", "small.img", target, "--json"]))).toMatchObject({
      sizeBytes: 1024,
      trimmedBytes: 0,
    });
    const kept = (await voe(["export", target, "-"])).stdout;
    expect([kept[999], kept[1000], kept[1023]]).toEqual([9, 0, 0]);
    expect(Buffer.compare(kept.subarray(1024, IMAGE_BYTES), second.subarray(1024))).toBe(0);

    const trimmed = json(await voe(["import", "small.img", target, "--trim-rest", "--json"]));
    expect(trimmed["trimmedBytes"]).toBe(DISK_BYTES - 1024);
    const left = json(await voe(["export", target, "trimmed.img", "--force", "--json"]));
    expect(left["dataBytes"]).toBe(4096);
  });

  test("an import that is interrupted says how far it came, and can be made again", async () => {
    const child = await importBegun(target, second.subarray(0, 8 * MIB));
    child.kill("SIGINT");
    const { status, stderr } = await endOf(child);
    expect(status).toBe(1);
    expect(stderr).toContain("interrupted by SIGINT");
    await until("the server notices", () => server.log().includes(`the import into ${target} broke off`));
    expect((await voe(["import", "first.img", target])).status).toBe(0);
    expect(isImage((await voe(["export", target, "-"])).stdout, first)).toBe(true);
  });
});

test("a snapshot is exported by the beginning of its id, whatever was imported since", async () => {
  await voe(["import", "first.img", "e1.1"]);
  const { id } = json(await voe(["snapshot", "create", "e1.1", "--json"])) as { id: string };
  await voe(["import", "second.img", "e1.1"]);
  const exported = json(await voe(["export", `e1.1@${id.slice(0, 10)}`, "old.img", "--json"]));
  expect(exported).toMatchObject({ snapshot: id, oneMoment: true, dataBytes });
  expect(isImage(readFileSync(at("old.img")), first)).toBe(true);
  expect(isImage((await voe(["export", "e1.1", "-"])).stdout, second)).toBe(true);
});

const REFUSED: readonly [what: string, args: readonly string[], status: number, reason: string][] = [
  ["a target that is not there", ["import", "first.img", "e9.9"], 1, "there is no target e9.9"],
  ["a read-only target", ["import", "disk2.img", "e1.2"], 1, "e1.2 is read-only"],
  ["an image that is too large", ["import", "large.img", "e1.0"], 1, "and e1.0 only 67108864"],
  ["an image that is not there", ["import", "absent.img", "e1.0"], 1, "absent.img cannot be read"],
  [
    "a snapshot that is not there",
    ["export", "e1.1@0123456789abcdef", "x.img"],
    1,
    "no snapshot has an id that begins with",
  ],
  ["a snapshot of a file", ["export", "e1.0@ab", "x.img"], 1, "e1.0 is no archive"],
  ["a file that exists", ["export", "e1.0", "first.img"], 1, "first.img exists"],
  ["one argument", ["import", "first.img"], 2, "Missing required positional argument: TARGET"],
  ["a third argument", ["export", "e1.0", "x.img", "y.img"], 2, 'unexpected argument "y.img"'],
  ["no address of a target", ["export", "disk", "x.img"], 2, "no target address"],
  ["stdout for the image and the document", ["export", "e1.0", "-", "--json"], 2, "cannot both go to stdout"],
  ["an unknown option", ["import", "first.img", "e1.0", "--quickly"], 2, "--quickly"],
];
test.each(REFUSED)(
  "%s is refused, with the reason, and nothing is left behind",
  async (_what, args, status, reason) => {
    writeFileSync(at("large.img"), "");
    const fd = openSync(at("large.img"), "r+");
    ftruncateSync(fd, DISK_BYTES + 1);
    closeSync(fd);
    const ended = await voe(args);
    expect(ended.stderr).toContain(reason);
    expect(ended.status).toBe(status);
    expect(existsSync(at("x.img")) || existsSync(at("x.img.partial"))).toBe(false);
  },
);

test("an image from a pipe that is too large breaks off where the disk ends", async () => {
  const { status, stderr } = await voe(["import", "-", "e1.0"], new Blob([new Uint8Array(DISK_BYTES + 512).fill(1)]));
  expect(status).toBe(1);
  expect(stderr).toContain("the image is larger than the disk");
});

test.each(["e1.0", "e1.1"])("%s, removed during its export, ends the export and not the server", async (target) => {
  const configured = async (...targets: readonly string[]): Promise<void> => {
    const reloads = (): number => server.log().split("configuration read again").length;
    const before = reloads();
    configure(...targets);
    server.signal("SIGHUP");
    await until("the configuration is followed", () => reloads() > before);
  };
  await configured(file(0), archive(1));
  // Without holes, and more than pipes and sockets hold while nobody reads.
  await voe(["import", "-", target], new Blob([new Uint8Array(DISK_BYTES).fill(3)]));
  const pipe = at(`pipe-${target}`);
  run("mkfifo", pipe);
  const held = openSync(pipe, "r+");
  // Now, while there is someone who writes: the export may have ended before anybody reads.
  const drain = openSync(pipe, "r");
  const begun = `export of ${target} begins`;
  const before = server.log().split(begun).length;
  const ended = endOf(begin(["export", target, pipe]));
  await until("the export begins", () => server.log().split(begun).length > before);
  await configured(target === "e1.0" ? archive(1) : file(0));
  const reader = Bun.spawn(["cat"], { stdin: drain, stdout: "ignore" });
  closeSync(drain);
  const { status, stderr } = await ended;
  closeSync(held);
  await reader.exited;
  expect(status).toBe(1);
  expect(stderr).toMatch(/closed/);
  expect((await voe(["status"])).status).toBe(0);
});

test("SIGTERM breaks off what is under way, and the server still ends well", async () => {
  configure(file(0), archive(1));
  server.signal("SIGHUP");
  await until("the target is back", async () => (await voe(["export", "e1.1", "back.img", "--force"])).status === 0);
  const child = await importBegun("e1.1", new Uint8Array(MIB).fill(5));
  expect(await server.stop("SIGTERM")).toBe(0);
  const { status, stderr } = await endOf(child);
  expect(status).toBe(1);
  expect(stderr).toContain("the server is stopping");
  // The pipe was open all the time: a client that waits for more of it would not end.
  await closeStdin(child);
});
