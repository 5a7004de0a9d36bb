import { expect, test } from "bun:test";
import { createHasher } from "../../../../src/base/hash.ts";
import type { BlobStore } from "../../../../src/blob/blob-store.ts";
import { createMemoryStore, emptyContents } from "../../../../src/blob/memory-store.ts";
import { packBlobName } from "../../../../src/storage/cas/pack-format.ts";
import { openStoreIndex } from "../../../../src/storage/cas/store-index.ts";
import { SimulatedDisk } from "../../../simulation/simulated-disk.ts";
import { makeBlocks, packOf } from "../../../support/packed-blocks.ts";
import { seededRandom } from "../../../support/seeded-random.ts";

test("a lost index is built with several requests at a time, one for each pack; one that is there needs none", async () => {
  const contents = emptyContents();
  const packs = Array.from({ length: 40 }, (_, seed) => packOf(makeBlocks(3, 100 + seed)));
  for (const { name, bytes } of packs) contents.blobs.set(packBlobName(name), bytes);
  const memory = createMemoryStore(contents);
  let gets = 0;
  let underWay = 0;
  let most = 0;
  const blobs: BlobStore = {
    ...memory,
    async get(...asked) {
      gets++;
      most = Math.max(most, ++underWay);
      await new Promise((resolve) => setImmediate(resolve));
      await memory.get(...asked);
      underWay--;
    },
  };
  const disk = new SimulatedDisk(seededRandom(1));
  await disk.session().makeDirectory("/state");
  const progress: number[] = [];
  const open = () =>
    openStoreIndex({
      disk: disk.session(),
      stateDirectory: "/state",
      blobs,
      hasher: createHasher("blake3"),
      report: () => {},
      progress: (done) => void progress.push(done),
    });
  const { index } = await open();
  expect(index.packNames().length).toBe(40);
  expect(gets).toBe(40);
  expect(most).toBe(16);
  expect(progress).toEqual(Array.from({ length: 40 }, (_, at) => at + 1));
  await index.close();

  gets = 0;
  const again = await open();
  expect(again.index.packNames().length).toBe(40);
  expect(gets).toBe(0);
  await again.index.close();
});
