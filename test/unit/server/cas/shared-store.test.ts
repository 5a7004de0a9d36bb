import { expect, test } from "bun:test";
import { join } from "node:path";
import type { BlobStoreConfig } from "../../../../src/config/config.ts";
import { Secret } from "../../../../src/config/secret.ts";
import { createArchiveBed } from "../../../support/archive-bed.ts";
import { CAS_TOKEN, startCasServer } from "../../../support/cas-server.ts";
import { seededRandom } from "../../../support/seeded-random.ts";
import { readSectors, writeSectors } from "../../../support/storage-requests.ts";

const SECTORS = 512;

test("two hosts with a namespace each store once what both have, and neither disturbs the other", async () => {
  await using under = await startCasServer({ allowsDelete: false });
  const data = new Uint8Array(SECTORS * 512);
  seededRandom(5).fill(data.subarray(0));
  const stored: number[] = [];
  for (const host of ["host1", "host2"]) {
    const bed = createArchiveBed();
    const blobStore: BlobStoreConfig = {
      type: "cas",
      endpoint: under.server.url + host,
      token: new Secret(CAS_TOKEN),
      tokenFile: undefined,
      ca: undefined,
      cache: { path: join(bed.directory, "cache"), sizeBytes: 2 ** 24 },
      transfers: { atOnce: 4, uploadBytesPerSecond: undefined, downloadBytesPerSecond: undefined },
    };
    let running = await bed.start([bed.target("e1.0", {}, { blobStore })]);
    await writeSectors(running.storage("e1.0"), 0, data);
    await running.fill("e1.0", host === "host1" ? 1 : 2);
    await running.stop();
    running = await bed.start([bed.target("e1.0", {}, { blobStore })]);
    expect(await running.content("e1.0")).toBe(host === "host1" ? 1 : 2);
    const rest = await readSectors(running.storage("e1.0"), 8, SECTORS - 8);
    expect(Buffer.compare(rest, data.subarray(8 * 512))).toBe(0);
    await running.stop();
    bed.remove();
    const list = await fetch(new URL("blobs", under.server.url), { headers: { authorization: `Bearer ${CAS_TOKEN}` } });
    const sizes = (await list.text()).split("\n").map((line) => Number(line.split(" ")[1] ?? 0));
    stored.push(sizes.reduce((sum, bytes) => sum + bytes, 0));
  }
  expect(stored[0]).toBeGreaterThan(data.length - 4096);
  // The second one's own block, nodes, and directories of packs.
  expect(stored[1]! - stored[0]!).toBeLessThan(40_000);
});
