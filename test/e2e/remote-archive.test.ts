/** Archives whose packs are in a store far away, served by real servers from real stores. */
import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { allocateMemory, freeMemory } from "../../ffi/memory.ts";
import { missingForRadosgw, RADOSGW_BUCKET, sharedRadosgw } from "../support/object-stores/radosgw.ts";
import { freePort } from "../support/object-stores/server-directory.ts";
import { createRemoteBed, sameFile, type RemoteBed } from "../support/remote-bed.ts";
import { titleUnless } from "../support/requirements.ts";
import { until } from "../support/server-bed.ts";
import { voeCommand } from "../support/server-process.ts";

const MIB = 2 ** 20;

/** A file of bytes that no compression makes smaller, of which no block is there twice. */
function makeImage(bed: RemoteBed, sizeBytes: number): string {
  const path = join(bed.directory, "image");
  const memory = allocateMemory(sizeBytes);
  for (let at = 0; at < sizeBytes; at += 65536) {
    crypto.getRandomValues(memory.bytes.subarray(at, at + 65536) as Uint8Array<ArrayBuffer>);
  }
  writeFileSync(path, memory.bytes);
  freeMemory(memory);
  return path;
}

const noRadosgw = missingForRadosgw();

test.skipIf(noRadosgw !== undefined)(
  titleUnless(
    noRadosgw,
    "an archive on Ceph reads back after a restart, from its cache, without it, and past what is damaged in it",
  ),
  async () => {
    const { endpoint, region, credentials } = await sharedRadosgw();
    await using bed = createRemoteBed(
      [
        'type = "s3"',
        `endpoint = "${endpoint}"`,
        `region = "${region}"`,
        `bucket = "${RADOSGW_BUCKET}"`,
        `prefix = "${crypto.randomUUID()}/"`,
        `access_key_id = "${credentials.accessKeyId}"`,
        `secret_access_key = "${credentials.secretAccessKey}"`,
        'cache_size = "256MiB"',
      ],
      // Little memory, so that reads go to the packs.
      ['cache_size = "16MiB"', 'journal_size = "64MiB"'],
      "64MiB",
    );
    const image = makeImage(bed, 48 * MIB);
    const out = join(bed.directory, "out");
    const readBack = async (): Promise<void> => {
      await bed.voe("export", "e1.0", out, "--force");
      // The disk is larger than the image.
      writeFileSync(out, readFileSync(out).subarray(0, 48 * MIB));
      expect(sameFile(image, out)).toBe(true);
    };

    let server = await bed.start();
    await bed.voe("import", image, "e1.0");
    await bed.voe("snapshot", "create", "e1.0");
    const stored = (await bed.status()).archive;
    expect(stored.backlog.bytes).toBe(0);
    expect(stored.remote.requests.put.requests).toBeLessThan(8);
    expect(stored.remote.awaySince).toBe("");
    expect(await server.stop("SIGTERM")).toBe(0);

    server = await bed.start();
    await readBack();
    const fromCache = (await bed.status()).archive.remote;
    expect(fromCache.requests.get.requests).toBe(0);
    expect(fromCache.cache?.usedBytes).toBeGreaterThan(48 * MIB);
    expect(await server.stop("SIGTERM")).toBe(0);

    bed.removeCache();
    server = await bed.start();
    await readBack();
    const fetched = (await bed.status()).archive.remote;
    expect(fetched.requests.get.bytes).toBeGreaterThan(48 * MIB);
    // Everything once, in pieces that are worth a request.
    expect(fetched.requests.get.bytes).toBeLessThan(52 * MIB);
    expect(fetched.requests.get.requests).toBeLessThan(120);
    expect(fetched.requests.put.requests).toBe(0);
    expect(await server.stop("SIGTERM")).toBe(0);

    expect(bed.cachedPacks().length).toBeGreaterThan(2);
    for (const file of bed.cachedPacks()) {
      const bytes = readFileSync(file);
      for (let at = 5000; at < bytes.length; at += MIB) bytes[at]! ^= 1;
      writeFileSync(file, bytes);
    }
    server = await bed.start();
    await readBack();
    const healed = await bed.status();
    expect(healed.archive.remote.requests.get.requests).toBeGreaterThan(0);
    expect(server.log()).not.toContain("is damaged");
    expect(await server.stop("SIGTERM")).toBe(0);
  },
  60_000,
);

test.skipIf(noRadosgw !== undefined)(
  titleUnless(noRadosgw, "a wrong secret or bucket fails at the start with what to check, and touches nothing"),
  async () => {
    const { endpoint, region, credentials } = await sharedRadosgw();
    for (const [wrong, said] of [
      [{ secret: "not-the-secret", bucket: RADOSGW_BUCKET }, "secret"],
      [{ secret: credentials.secretAccessKey, bucket: "no-such-bucket" }, "no-such-bucket"],
    ] as const) {
      await using bed = createRemoteBed(
        [
          'type = "s3"',
          `endpoint = "${endpoint}"`,
          `region = "${region}"`,
          `bucket = "${wrong.bucket}"`,
          `access_key_id = "${credentials.accessKeyId}"`,
          `secret_access_key = "${wrong.secret}"`,
        ],
        [],
        "64MiB",
      );
      const failure = await bed.start().then(
        () => "it started",
        (error: Error) => error.message,
      );
      expect(failure).toContain(said);
      expect(failure).not.toContain(credentials.secretAccessKey);
    }
  },
  30_000,
);

const notFull = process.env["VOE_TEST_FULL"] === "1" ? undefined : "VOE_TEST_FULL=1 is not set";

test.skipIf(notFull !== undefined)(
  titleUnless(
    notFull,
    "while the store is gone writes go into the journal and are slowed, and when it is back nothing is lost",
  ),
  async () => {
    const port = await freePort();
    await using bed = createRemoteBed(
      ['type = "cas"', `address = "127.0.0.1:${port}"`],
      ['cache_size = "16MiB"', 'journal_size = "64MiB"'],
      "128MiB",
    );
    const startStore = async (): Promise<Bun.Subprocess> => {
      const store = Bun.spawn(
        [...voeCommand(), "cas-server", "--bind", `127.0.0.1:${port}`, "--storage", join(bed.directory, "store")],
        { stdio: ["ignore", "ignore", "ignore"] },
      );
      const isServing = (): Promise<boolean> =>
        fetch(`http://127.0.0.1:${port}/health`).then(
          () => true,
          () => false,
        );
      await until("the store serves", isServing);
      return store;
    };
    let store = await startStore();
    try {
      const image = makeImage(bed, 56 * MIB);
      const server = await bed.start();
      // It stands still under a checkpoint, and then it is gone.
      store.kill("SIGSTOP");
      const importing = bed.begin("import", image, "e1.0");
      const isRunning = async (): Promise<boolean> => (await bed.status()).archive.checkpoint.runningSeconds !== null;
      await until("a checkpoint runs", isRunning, 30_000);
      store.kill("SIGKILL");
      await store.exited;
      await until("writes are slowed", async () => (await bed.status()).archive.backlog.slowsWrites, 30_000);
      const { archive, warnings } = await bed.status();
      expect(archive.backlog.bytes).toBeGreaterThanOrEqual(48 * MIB);
      expect(archive.backlog.since).not.toBe("");
      expect(archive.remote.awaySince).not.toBe("");
      expect(warnings).toContain("writes are slowed by now, and refused when it is full");
      expect(server.log()).toContain("Writes are slowed from now on");

      store = await startStore();
      expect(await importing).toBe(0);
      await bed.voe("snapshot", "create", "e1.0");
      const after = (await bed.status()).archive;
      expect(after.backlog).toEqual({ bytes: 0, since: "", slowsWrites: false });
      expect(after.remote.awaySince).toBe("");
      bed.removeCache();
      const out = join(bed.directory, "out");
      await bed.voe("export", "e1.0", out);
      expect(Buffer.compare(readFileSync(out).subarray(0, 56 * MIB), readFileSync(image))).toBe(0);
      expect(await server.stop("SIGTERM")).toBe(0);
    } finally {
      store.kill("SIGKILL");
      await store.exited;
    }
  },
  90_000,
);
