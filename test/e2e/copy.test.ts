/** Replication for real: into a bucket, interrupted, and out of it again. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseConfig } from "../../src/config/parse.ts";
import { copyStore } from "../../src/server/copy-stores.ts";
import type { CasBackendConfig } from "../../src/config/config.ts";
import { createArchiveBed, type ArchiveBed, type RunningBed } from "../support/archive-bed.ts";
import { missingForRadosgw, RADOSGW_BUCKET, sharedRadosgw } from "../support/object-stores/radosgw.ts";
import { reasonOf } from "../support/reason-of.ts";
import { titleUnless } from "../support/requirements.ts";
import { seededRandom } from "../support/seeded-random.ts";
import { readSectors, writeSectors } from "../support/storage-requests.ts";
import { recoverStore } from "../../src/server/recover-stores.ts";

const missing = missingForRadosgw();
const MIB = 2 ** 20;
const SIZE_BYTES = 96 * MIB;

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
