/** Replication for real: into a bucket, interrupted, and out of it again. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseConfig } from "../../src/config/parse.ts";
import { copyStore } from "../../src/server/copy-stores.ts";
import type { CasBackendConfig } from "../../src/config/config.ts";
import { createArchiveBed, type ArchiveBed, type RunningBed } from "../support/archive-bed.ts";
import { missingForRadosgw, RADOSGW_BUCKET, sharedRadosgw } from "../support/object-stores/radosgw.ts";
import { reasonOf } from "../support/reason-of.ts";
import { missingForPrograms } from "../support/nbd-clients.ts";
import { writeServerConfig } from "../support/server-config.ts";
import { startServer, voeCommand } from "../support/server-process.ts";
import { titleUnless } from "../support/requirements.ts";
import { seededRandom } from "../support/seeded-random.ts";
import { readSectors, writeSectors } from "../support/storage-requests.ts";
import { recoverStore } from "../../src/server/recover-stores.ts";

const missing = missingForRadosgw();
const MIB = 2 ** 20;
const SIZE_BYTES = 96 * MIB;

const missingForProcess = missingForPrograms();

describe.skipIf(missingForProcess !== undefined)(titleUnless(missingForProcess, "voe copy as a process"), () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "voe-copy-"));
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));
  const at = (...parts: string[]): string => join(directory, ...parts);

  const voe = (...args: string[]) => {
    const { exitCode, stdout, stderr } = Bun.spawnSync([...voeCommand(), ...args], { cwd: directory });
    return { status: exitCode, said: stdout.toString(), log: stderr.toString() };
  };
  const configure = (name: string): Promise<string> => {
    mkdirSync(at(name));
    const target = { shelf: 1, slot: 0, backend: "cas", store: at(name, "store"), size: "32MiB" } as const;
    return writeServerConfig(at(name), { interfaces: [], targets: [target] });
  };

  test("a disk that is served is copied, recovered elsewhere and read back byte for byte", async () => {
    const [here, there] = [await configure("here"), await configure("there")];
    const image = new Uint8Array(32 * MIB);
    seededRandom(4).fill(image.subarray(5 * MIB, 9 * MIB));
    writeFileSync(at("image"), image);
    await using server = await startServer({ arguments: [here], directory });
    const control = ["--control", at("here", "voe.sock")];
    expect(voe("import", "image", "e1.0", ...control).status).toBe(0);
    expect(voe("snapshot", "create", "e1.0", ...control).status).toBe(0);

    const copied = voe("copy", here, "e1.0", "--to", there, "--json");
    expect([copied.status, copied.log]).toEqual([0, ""]);
    expect(JSON.parse(copied.said)).toMatchObject({
      copies: [{ broughtBytes: 4 * MIB, volumes: [{ name: "e1.0", presentCount: 0, copied: [{ kind: "snapshot" }] }] }],
    });
    const again = voe("copy", here, "--to", there);
    expect([again.status, again.said]).toEqual([0, expect.stringContaining("e1.0: nothing is missing")]);
    expect(voe("copy", here, "--to", here)).toMatchObject({
      status: 2,
      log: expect.stringContaining("the same store"),
    });
    expect(voe("copy", here, "e7.7", "--to", there)).toMatchObject({ status: 2 });
    expect(await server.stop("SIGTERM")).toBe(0);

    expect(voe("recover", there).status).toBe(0);
    expect(voe("copy", here, "--to", there)).toMatchObject({ status: 1, log: expect.stringContaining("no replica") });
    await using replica = await startServer({ arguments: [there], directory });
    expect(voe("export", "e1.0", "out", "--control", at("there", "voe.sock")).status).toBe(0);
    expect(Buffer.compare(readFileSync(at("out")), image)).toBe(0);
    expect(await replica.stop("SIGTERM")).toBe(0);
  }, 30_000);
});

describe.skipIf(missing !== undefined)(titleUnless(missing, "voe copy into Ceph radosgw"), () => {
  let directory: string;
  let bed: ArchiveBed;
  let served: RunningBed;
  let bucket: CasBackendConfig["blobStore"];
  const image = new Uint8Array(SIZE_BYTES);

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "voe-copy-"));
    const { endpoint, region, credentials } = await sharedRadosgw();
    const config = parseConfig(
      `[server]
state_dir = "${directory}/state"
[[target]]
shelf = 1
slot = 0
backend = "cas"
[target.cas]
size = "96MiB"
[target.cas.blob_store]
type = "s3"
endpoint = "${endpoint}"
bucket = "${RADOSGW_BUCKET}"
prefix = "${crypto.randomUUID()}/"
region = "${region}"
access_key_id = "${credentials.accessKeyId}"
secret_access_key = "${credentials.secretAccessKey}"
`,
      "voe.toml",
    );
    bucket = (config.targets[0]!.backend as CasBackendConfig).blobStore;
    bed = createArchiveBed();
    served = await bed.start([bed.target("e1.0", {}, { sizeBytes: SIZE_BYTES })]);
    seededRandom(3).fill(image.subarray(0, MIB));
    // Every MiB is another one, and its last half is that of all others.
    for (let at = MIB; at < SIZE_BYTES; at += MIB) {
      image.copyWithin(at, 0, MIB);
      for (let block = 0; block < MIB / 2; block += 4096) new DataView(image.buffer).setUint32(at + block, at + block);
    }
    const storage = served.storage("e1.0");
    const piece = 64 * 1024;
    for (let at = 0; at < SIZE_BYTES; at += piece)
      await writeSectors(storage, at / 512, image.subarray(at, at + piece));
    await served.operations.create("e1.0", "first");
  });
  afterAll(async () => {
    await served?.stop();
    bed?.remove();
    if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
  });

  const copy = (signal: AbortSignal, progress: (doneBytes: number, broughtBytes: number) => void = () => {}) =>
    copyStore(
      {
        source: { type: "file", path: join(bed.directory, "blobs") },
        destination: bucket,
        compression: "lz4",
        wanted: [{ volume: "e1.0" }],
      },
      {
        stateDirectory: join(directory, "copies"),
        signal,
        report: () => {},
        events: { indexing() {}, planned() {}, progress, copied() {} },
      },
    );

  test("a copy that was interrupted goes on with what is not there yet, and the replica serves every byte", async () => {
    const stop = new AbortController();
    const interrupted = copy(stop.signal, (_, brought) => {
      if (brought > 40 * MIB) stop.abort(new Error("enough"));
    });
    expect(await reasonOf(interrupted)).toBe("enough");
    const rest = await copy(new AbortController().signal);
    const uniqueBytes = MIB + (SIZE_BYTES - MIB) / 2;
    expect(rest.broughtBytes).toBeGreaterThan(0);
    // Packs of 16 MiB that were on their way are lost, and those that had arrived are not brought again.
    expect(rest.broughtBytes).toBeLessThan(uniqueBytes - 14 * MIB);
    expect(rest.volumes[0]!.copied.map(({ record }) => record.description)).toEqual(["first"]);

    await recoverStore(
      { blobStore: bucket, volumes: ["e1.0"] },
      {
        stateDirectory: bed.stateDirectory,
        takeOver: false,
        acceptDamage: false,
        verify: false,
        signal: new AbortController().signal,
        report: () => {},
        progress: () => {},
        onVerify: () => {},
      },
    );
    await served.stop();
    served = await bed.start([bed.target("e1.0", {}, { sizeBytes: SIZE_BYTES, blobStore: bucket })]);
    const storage = served.storage("e1.0");
    const piece = 256 * 1024;
    for (let at = 0; at < SIZE_BYTES; at += piece) {
      const read = await readSectors(storage, at / 512, piece / 512);
      if (Buffer.compare(read, image.subarray(at, at + piece)) !== 0) throw new Error(`byte ${at} and on is another`);
    }
  }, 60_000);
});
