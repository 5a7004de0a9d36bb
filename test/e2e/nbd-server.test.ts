/** `voe nbd-server` on a `voe cas-server`, both as processes of their own, with the clients of libnbd. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { missingForPrograms } from "../support/nbd-clients.ts";
import { titleUnless } from "../support/requirements.ts";
import { until } from "../support/server-bed.ts";
import { run } from "../support/run.ts";
import { seededRandom } from "../support/seeded-random.ts";
import { startServer, voeCommand, type ServerProcess } from "../support/server-process.ts";

const missing = missingForPrograms("nbdinfo", "nbdcopy");
const IMAGE_BYTES = 24 * 2 ** 20;

const portOf = (server: ServerProcess): number =>
  Number(/(?:NBD|voe ready: .*) on (?:http:\/\/)?127\.0\.0\.1:(\d+)/.exec(server.log())?.[1]);
/** The lines after `voe ready` say where it listens. */
async function listening(starting: Promise<ServerProcess>): Promise<ServerProcess> {
  const server = await starting;
  await until("it says where it listens", () => portOf(server) > 0);
  return server;
}

describe.skipIf(missing !== undefined)(titleUnless(missing, "voe nbd-server"), () => {
  let directory: string;
  let store: ServerProcess;
  let casAddress: string;
  const at = (name: string): string => join(directory, name);

  const startStore = (bind: string): Promise<ServerProcess> =>
    listening(startServer({ command: "cas-server", arguments: ["--bind", bind, "--storage", "store"], directory }));
  const startDisk = (name: string, ...more: string[]): Promise<ServerProcess> =>
    listening(
      startServer({
        command: "nbd-server",
        arguments: [
          "--bind",
          "127.0.0.1:0",
          "--cas-server",
          `${casAddress}/${name}`,
          "--size",
          "32",
          "--state",
          name,
          ...more,
        ],
        directory,
      }),
    );
  const uriOf = (disk: ServerProcess): string => `nbd://127.0.0.1:${portOf(disk)}/e1.0`;
  const sizeOf = (disk: ServerProcess): number => Number(run("nbdinfo", "--size", uriOf(disk)));
  const contentOf = (disk: ServerProcess): Buffer => {
    run("nbdcopy", uriOf(disk), at("out"));
    return readFileSync(at("out")).subarray(0, IMAGE_BYTES);
  };
  const image = new Uint8Array(IMAGE_BYTES);
  const packBytes = (): number => Number(run("du", "-sb", at("store")).split("\t")[0]);

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "voe-nbd-server-"));
    mkdirSync(at("store"));
    const random = seededRandom(1);
    random.fill(image.subarray(0));
    writeFileSync(at("image"), image);
    store = await startStore("127.0.0.1:0");
    casAddress = `127.0.0.1:${portOf(store)}`;
  });
  afterAll(async () => {
    await store[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true });
  });

  test("keeps what nbdcopy writes, over a restart, and grows to a larger --size", async () => {
    {
      await using disk = await startDisk("first");
      expect(sizeOf(disk)).toBe(32 * 2 ** 20);
      run("nbdcopy", "--flush", at("image"), uriOf(disk));
      expect(await disk.stop("SIGTERM")).toBe(0);
    }
    await using disk = await startDisk("first", "--size", "40MiB");
    expect(sizeOf(disk)).toBe(40 * 2 ** 20);
    expect(contentOf(disk).equals(image)).toBe(true);
  });

  test("shares blocks with the disks of other servers on the same store", async () => {
    const before = packBytes();
    await using disk = await startDisk("second");
    run("nbdcopy", "--flush", at("image"), uriOf(disk));
    expect(await disk.stop("SIGTERM")).toBe(0);
    expect(packBytes() - before).toBeLessThan(IMAGE_BYTES / 20);
  });

  test("goes on from its journal after SIGKILL, while the store is away, and stores everything when it is back", async () => {
    {
      await using disk = await startDisk("third");
      run("nbdcopy", "--flush", at("image"), uriOf(disk));
      await disk.stop("SIGKILL");
    }
    {
      await using disk = await startDisk("third");
      await store.stop("SIGKILL");
      expect(contentOf(disk).equals(image)).toBe(true);
      store = await startStore(casAddress);
      const [program, ...words] = voeCommand();
      run(program!, ...words, "snapshot", "create", "e1.0", "--control", at("third/voe.sock"));
      await disk.stop("SIGTERM");
    }
    rmSync(at("third/cache"), { recursive: true });
    await using disk = await startDisk("third");
    expect(contentOf(disk).equals(image)).toBe(true);
  });
});
