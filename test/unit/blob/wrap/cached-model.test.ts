/** Everything that a cached store does, at random and at once, over a store that fails: what is read is what was put. */
import { expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync, statSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { allocatedMemoryBytes } from "../../../../ffi/memory.ts";
import { openCacheDirectory } from "../../../../src/blob/wrap/cache-directory.ts";
import { withCache, type CachedStore } from "../../../../src/blob/wrap/cached-store.ts";
import { withLimit } from "../../../../src/blob/wrap/limit.ts";
import { failureOf, getBytes, listAll } from "../../../support/blob-requests.ts";
import { faultyStore } from "../../../support/faulty-store.ts";
import { makeNamedBlob } from "../../../support/named-blob.ts";
import { seededRandom, testSeed } from "../../../support/seeded-random.ts";
import { until } from "../../../support/until.ts";

const KIB = 1024;
const LIMIT_BYTES = 2048 * KIB;
const STEPS = 150;
const AT_ONCE = 8;

test(`random operations at once over a store that fails read what was put (VOE_TEST_SEED=${testSeed})`, async () => {
  const directory = mkdtempSync(join(tmpdir(), "voe-cache-"));
  const random = seededRandom(testSeed);
  const blobs = Array.from({ length: 8 }, (_, seed) => makeNamedBlob(100 * KIB + random.below(1024 * KIB), seed));
  const faulty = faultyStore();
  const memoryBefore = allocatedMemoryBytes();
  const open = async (): Promise<CachedStore> => {
    const limited = withLimit(faulty.store, {
      transfers: 2,
      uploadBytesPerSecond: undefined,
      downloadBytesPerSecond: undefined,
    });
    const cached = withCache(limited.store, {
      directory: (await openCacheDirectory(directory))!,
      limitBytes: LIMIT_BYTES,
      background: limited.background,
      aheadMost: 2,
      report: () => {},
    });
    await listAll(cached.store);
    return cached;
  };
  for (const { name, bytes } of blobs) faulty.contents.blobs.set(name, bytes);
  let cached = await open();
  const files = (): string[] => readdirSync(directory).filter((file) => file.includes("."));

  const step = async (): Promise<void> => {
    const { store } = cached;
    const { name, bytes } = random.pick(blobs);
    const offset = random.below(bytes.length);
    const length = 1 + random.below(Math.min(bytes.length - offset, random.chance(0.1) ? bytes.length : 64 * KIB));
    const choice = random.below(100);
    if (choice < 70) {
      const read = await getBytes(store, name, offset, length).catch((error: Error) => error);
      if (read instanceof Error) expect(read.message).toContain("failed as it was told to");
      else if (Buffer.compare(read, bytes.subarray(offset, offset + length)) !== 0) {
        throw new Error(`${length} bytes of ${name} from ${offset} are others`);
      }
    } else if (choice < 80) store.willRead!(name, offset, length);
    else if (choice < 88) await failureOf(store.put(name, bytes));
    else if (choice < 92) await failureOf(store.forgetCached(name));
    else if (choice < 96) faulty.failures.push("unavailable");
    else if (choice < 98) faulty.held = !faulty.held;
    else {
      // A disk that lost the end of a whole pack.
      const file = files().find(
        (name) => statSync(join(directory, name), { throwIfNoEntry: false })?.size === Number(name.split(".")[1]),
      );
      if (file !== undefined) truncateSync(join(directory, file), random.below(100 * KIB));
    }
  };

  for (let round = 0; round < 3; round++) {
    const running = new Set<Promise<void>>();
    for (let at = 0; at < STEPS; at++) {
      const done = step().then(() => void running.delete(done));
      running.add(done);
      if (running.size < AT_ONCE) continue;
      await until(() => {
        faulty.release();
        return running.size < AT_ONCE;
      });
    }
    faulty.held = false;
    faulty.failures.length = 0;
    // What waits behind what waits is let go in its turn.
    const all = Promise.all(running);
    await until(() => {
      faulty.release();
      return running.size === 0;
    });
    await all;
    expect(cached.statistics().usedBytes).toBeLessThanOrEqual(LIMIT_BYTES);
    await cached.store.close();
    // What is left are whole packs.
    expect(files().length).toBeLessThanOrEqual(blobs.length);
    await until(() => allocatedMemoryBytes() === memoryBefore);
    cached = await open();
    for (const { name, bytes } of blobs) {
      expect(Buffer.compare(await getBytes(cached.store, name, 0, 1000), bytes.subarray(0, 1000))).toBe(0);
    }
  }
  await cached.store.close();
  rmSync(directory, { recursive: true, force: true });
});
