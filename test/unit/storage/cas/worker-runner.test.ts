import { expect, test } from "bun:test";
import { join } from "node:path";
import { createCompression } from "../../../../src/base/compression.ts";
import { createHasher, DIGEST_BYTES } from "../../../../src/base/hash.ts";
import { allocateBatch, type BlockBatch } from "../../../../src/storage/cas/block-batch.ts";
import { allocatePackSpace } from "../../../../src/storage/cas/pack-builder.ts";
import { KIND_DATA } from "../../../../src/storage/cas/pack-format.ts";
import { parsePack } from "../../../../src/storage/cas/pack.ts";
import { inThreadRunner, type PackRunner } from "../../../../src/storage/cas/pack-runner.ts";
import { workerRunner } from "../../../../src/storage/cas/worker-runner.ts";
import { fillRandom, fillText } from "../../../support/block-content.ts";
import { seededRandom } from "../../../support/seeded-random.ts";

const hasher = createHasher("blake3");
const jobs = { hasher, compression: createCompression(), packBytes: 160 * 1024 };

/** 64 blocks of 4 KiB: text, zeros and random in turn, so that not all fit into a pack of 160 KiB. */
function filledBatch(): BlockBatch {
  const random = seededRandom(11);
  const batch = allocateBatch();
  for (let block = 0; block < 64; block++) {
    const bytes = batch.memory.bytes.subarray(block * 4096, (block + 1) * 4096);
    if (block % 8 === 0) fillText(random, bytes);
    else if (block % 8 !== 1) fillRandom(random, bytes);
  }
  return batch;
}

/** Hashes a batch, fills a pack with it, finishes it: what a runner makes of it. */
async function packWith(runner: PackRunner): Promise<{ hashes: Uint8Array; pack: Uint8Array; next: number }> {
  const batch = filledBatch();
  const space = allocatePackSpace(jobs.packBytes);
  const state = { dataAddress: space.data.address, directoryAddress: space.directory.address };
  const batchAddress = batch.address;
  await runner.run({ kind: "hash", batchAddress, blockBytes: 4096, from: 0, to: 64 });
  let chosen = 0;
  for (let block = 0; block < 64; block++) if (block % 8 !== 1) batch.chosen[chosen++] = block;
  let pack = { ...state, entryCount: 0, dataBytes: 0 };
  let next = 0;
  for (const to of [3, chosen]) {
    const job = { kind: "append", batchAddress, blockBytes: 4096, blockKind: KIND_DATA, from: next, to, pack } as const;
    const result = await runner.run(job);
    next = result.next;
    pack = { ...state, entryCount: result.entryCount, dataBytes: result.dataBytes };
  }
  const finished = await runner.run({ kind: "finish", pack });
  const bytes = space.data.bytes.slice(0, finished.packBytes);
  expect(new Uint8Array(finished.name).toHex()).toBe(nameOf(bytes));
  return { hashes: batch.hashes.slice(0, 64 * DIGEST_BYTES), pack: bytes, next };
}

function nameOf(bytes: Uint8Array): string {
  const name = new Uint8Array(DIGEST_BYTES);
  hasher.hash(bytes, 0, bytes.length, name, 0);
  return name.toHex();
}

const throwing = (key: string, message: string): never => {
  throw new Error(`${key}: ${message}`);
};

test("a job in this thread hashes blocks, leaves zeros for zeros, and fills a pack until it is full", async () => {
  const { hashes, pack, next } = await packWith(inThreadRunner(jobs));
  const batch = filledBatch();
  const digest = new Uint8Array(DIGEST_BYTES);
  for (let block = 0; block < 64; block++) {
    if (block % 8 === 1) digest.fill(0);
    else hasher.hash(batch.memory.bytes, block * 4096, 4096, digest, 0);
    expect(hashes.subarray(block * DIGEST_BYTES, (block + 1) * DIGEST_BYTES).toHex()).toBe(digest.toHex());
  }
  const parsed = parsePack(pack, hasher);
  if ("reason" in parsed) throw new Error(parsed.reason);
  expect(parsed.directory.entryCount).toBe(next);
  // 48 of the blocks that were chosen are random and take 192 KiB.
  expect(next).toBeLessThan(50);
  expect(pack.length).toBeGreaterThan(jobs.packBytes - 4096 - 48);
});

test("a worker makes the same pack as this thread, byte for byte", async () => {
  const runner = workerRunner({ ...jobs, report: throwing });
  const [one, other] = [await packWith(runner), await packWith(inThreadRunner(jobs))];
  await runner.close();
  expect(one.next).toBe(other.next);
  expect(Buffer.compare(one.hashes, other.hashes)).toBe(0);
  expect(Buffer.compare(one.pack, other.pack)).toBe(0);
});

test("a job that fails rejects, and the next one is done", async () => {
  const runner = workerRunner({ ...jobs, report: throwing });
  const space = allocatePackSpace(jobs.packBytes);
  const pack = { dataAddress: space.data.address, directoryAddress: space.directory.address };
  const failing = runner.run({ kind: "finish", pack: { ...pack, entryCount: 0, dataBytes: 0 } });
  expect(await failing.catch((error: Error) => error.message)).toContain("without blocks cannot be finished");
  await packWith(runner);
  await runner.close();
});

test("the jobs of a worker that ends are done by this thread, those under way too, and it is said", async () => {
  const said: string[] = [];
  const entry = join(import.meta.dir, "../../../support/silent-worker.ts");
  const runner = workerRunner({ ...jobs, entry, report: (key, message) => void said.push(`${key}: ${message}`) });
  const batches = [filledBatch(), filledBatch(), filledBatch()];
  await Promise.all(
    batches.map(({ address }) =>
      runner.run({ kind: "hash", batchAddress: address, blockBytes: 4096, from: 0, to: 64 }),
    ),
  );
  const { hashes } = await packWith(runner);
  for (const batch of batches) expect(Buffer.compare(batch.hashes.subarray(0, hashes.length), hashes)).toBe(0);
  await runner.close();
  expect(said.length).toBe(1);
  expect(said[0]).toContain("no more of this");
});

test("where no worker can be started this thread does its jobs, and it is said", async () => {
  const said: string[] = [];
  const runner = workerRunner({ ...jobs, entry: "/nowhere/worker.ts", report: (key) => void said.push(key) });
  await packWith(runner);
  await runner.close();
  expect(said).toEqual(["pack:worker"]);
});
