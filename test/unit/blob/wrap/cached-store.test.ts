import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { allocatedMemoryBytes, allocateMemory, freeMemory } from "../../../../ffi/memory.ts";
import { openCacheDirectory } from "../../../../src/blob/wrap/cache-directory.ts";
import { withCache, type CachedStore } from "../../../../src/blob/wrap/cached-store.ts";
import { failureOf, getBytes, listAll } from "../../../support/blob-requests.ts";
import { faultyStore, type FaultyStore } from "../../../support/faulty-store.ts";
import { makeNamedBlob } from "../../../support/named-blob.ts";
import { reasonOf } from "../../../support/reason-of.ts";
import { turnsOfLoop, until } from "../../../support/until.ts";

const KIB = 1024;
const MIB = 2 ** 20;
const pack = makeNamedBlob(2 * MIB + 1000, 1);
const SHORT = pack.name.slice(0, 8);

describe("a cached store", () => {
  let directory: string;
  let faulty: FaultyStore;
  let cached: CachedStore;
  let reports: string[];

  const open = async (limitBytes = 64 * MIB): Promise<void> => {
    const opened = await openCacheDirectory(directory);
    if (opened === undefined) throw new Error("the cache is locked");
    cached = withCache(faulty.store, {
      directory: opened,
      limitBytes,
      background: faulty.store,
      aheadMost: 2,
      report: (key, message) => void reports.push(`${key}: ${message}`),
    });
  };
  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), "voe-cache-"));
    reports = [];
    faulty = faultyStore();
    faulty.contents.blobs.set(pack.name, pack.bytes);
    await open();
    // The server lists its packs when it starts, and so their sizes are known.
    await listAll(cached.store);
    faulty.requests.length = 0;
  });
  afterEach(async () => {
    faulty.held = false;
    faulty.release();
    await cached.store.close();
    rmSync(directory, { recursive: true, force: true });
  });
  const reopen = async (limitBytes?: number): Promise<void> => {
    await cached.store.close();
    await open(limitBytes);
    faulty.requests.length = 0;
  };
  const read = async (offset: number, length: number): Promise<void> => {
    const bytes = await getBytes(cached.store, pack.name, offset, length);
    expect(Buffer.compare(bytes, pack.bytes.subarray(offset, offset + length))).toBe(0);
  };
  const packFiles = (): string[] => readdirSync(directory).filter((file) => file.includes("."));
  const isWhole = (): boolean => packFiles().some((file) => statSync(join(directory, file)).size === pack.bytes.length);

  test("a read fetches the range that it needs, rounded up, once", async () => {
    await read(100_000, 4096);
    await read(100_000, 4096);
    await read(300_000, 4096);
    expect(faulty.requests).toEqual([`get ${SHORT} 65536+262144`]);
    const { hits, misses, packs, usedBytes } = cached.statistics();
    // The second one may still find it on its way into the file.
    expect({ reads: hits + misses, packs, usedBytes }).toEqual({ reads: 3, packs: 1, usedBytes: 256 * KIB });
  });

  test("the end of a pack is fetched with what is before it", async () => {
    await read(pack.bytes.length - 40, 40);
    await read(pack.bytes.length - 150_000, 4096);
    expect(faulty.requests).toEqual([`get ${SHORT} 1900544+197608`]);
  });

  test("after the third request the whole pack is fetched, and then it is read without the store", async () => {
    for (const at of [0, 700_000, 1_400_000]) await read(at, 4096);
    await until(isWhole);
    faulty.requests.length = 0;
    for (let at = 0; at + 4096 <= pack.bytes.length; at += 100_000) await read(at, 4096);
    expect(faulty.requests).toEqual([]);
  });

  test("requests for one range share a fetch, and others beside it their own", async () => {
    faulty.held = true;
    const reads = [read(0, 4096), read(8192, 100_000), read(0, 4096), read(200_000, 100_000)];
    await turnsOfLoop(4);
    expect(faulty.requests).toEqual([`get ${SHORT} 0+262144`, `get ${SHORT} 262144+262144`]);
    faulty.held = false;
    faulty.release();
    await Promise.all(reads);
  });

  test("requests for different ranges do not wait for each other", async () => {
    faulty.held = true;
    const stuck = read(0, 4096);
    await turnsOfLoop(4);
    faulty.held = false;
    await read(1_000_000, 4096);
    faulty.release();
    await stuck;
  });

  test("what a reader comes to next is fetched ahead", async () => {
    cached.store.willRead!(pack.name, 0, MIB);
    await until(() => cached.statistics().usedBytes === MIB);
    await read(0, 256 * KIB);
    await read(MIB - 4096, 4096);
    expect(faulty.requests).toEqual([`get ${SHORT} 0+1048576`]);
  });

  test("what is put is cached, and is in the store", async () => {
    const other = makeNamedBlob(MIB, 2);
    await cached.store.put(other.name, other.bytes);
    expect(Buffer.compare(faulty.contents.blobs.get(other.name)!, other.bytes)).toBe(0);
    faulty.requests.length = 0;
    expect(Buffer.compare(await getBytes(cached.store, other.name, 5000, 4096), other.bytes.subarray(5000, 9096))).toBe(
      0,
    );
    expect(await cached.store.size(other.name)).toBe(MIB);
    expect(faulty.requests).toEqual([]);
  });

  test("what the store would not take is not cached", async () => {
    const other = makeNamedBlob(MIB, 2);
    faulty.failures.push("unavailable");
    expect(await failureOf(cached.store.put(other.name, other.bytes))).toBe("unavailable");
    expect(cached.statistics().packs).toBe(0);
    await until(() => packFiles().length === 0);
    expect(await failureOf(getBytes(cached.store, other.name, 0, 1))).toBe("missing");
  });

  test("whole packs survive a restart, and parts of packs do not", async () => {
    const other = makeNamedBlob(MIB, 2);
    await cached.store.put(other.name, other.bytes);
    await read(0, 4096);
    await reopen();
    expect(cached.statistics()).toMatchObject({ packs: 1, usedBytes: MIB });
    expect(Buffer.compare(await getBytes(cached.store, other.name, 0, 4096), other.bytes.subarray(0, 4096))).toBe(0);
    expect(faulty.requests).toEqual([]);
  });

  test("a pack that a crash left in part, or that was cut, is not taken for whole", async () => {
    await cached.store.put(pack.name, pack.bytes);
    await cached.store.close();
    const [file] = packFiles().filter((name) => name.startsWith(pack.name));
    truncateSync(join(directory, file!), 5000);
    const another = makeNamedBlob(1000, 7);
    writeFileSync(join(directory, `${another.name}.1000.99`), new Uint8Array(1001));
    await open();
    expect(cached.statistics().packs).toBe(0);
    expect(packFiles()).toEqual([]);
    await read(0, 4096);
  });

  test("without its list of use a cache is rebuilt from its files", async () => {
    await cached.store.put(pack.name, pack.bytes);
    await cached.store.close();
    rmSync(join(directory, "order"));
    await open();
    faulty.requests.length = 0;
    await read(0, 4096);
    expect(faulty.requests).toEqual([]);
  });

  test("the packs that were not used for longest go when there is no room, also after a restart", async () => {
    await reopen(3 * MIB + 10);
    const packs = Array.from({ length: 5 }, (_, seed) => makeNamedBlob(MIB, 10 + seed));
    const has = async ({ name }: { name: string }): Promise<boolean> => {
      faulty.requests.length = 0;
      await getBytes(cached.store, name, 0, 100);
      return faulty.requests.length === 0;
    };
    for (const { name, bytes } of packs.slice(0, 3)) await cached.store.put(name, bytes);
    // Those that come in push out what was not asked for since.
    await cached.store.put(packs[3]!.name, packs[3]!.bytes);
    expect(cached.statistics()).toMatchObject({ packs: 3, usedBytes: 3 * MIB });
    await reopen(3 * MIB + 10);
    expect(await has(packs[1]!)).toBe(true);
    await cached.store.put(packs[4]!.name, packs[4]!.bytes);
    expect(cached.statistics().usedBytes).toBe(3 * MIB);
    expect(await has(packs[1]!)).toBe(true);
    expect(await has(packs[4]!)).toBe(true);
    expect(await has(packs[2]!)).toBe(false);
    expect(packFiles().length).toBeLessThanOrEqual(4);
  });

  test("a pack that is damaged in the cache is fetched again once it was forgotten", async () => {
    await cached.store.put(pack.name, pack.bytes);
    const file = join(directory, packFiles()[0]!);
    const bytes = readFileSync(file);
    bytes[5000]! ^= 1;
    writeFileSync(file, bytes);
    expect(
      Buffer.compare(await getBytes(cached.store, pack.name, 4096, 4096), pack.bytes.subarray(4096, 8192)),
    ).not.toBe(0);
    await cached.store.forgetCached(pack.name);
    await read(4096, 4096);
  });

  test("a pack whose file vanished or was cut is fetched again, and the reader notices nothing", async () => {
    await cached.store.put(pack.name, pack.bytes);
    truncateSync(join(directory, packFiles()[0]!), 5000);
    await read(100_000, 4096);
    expect(reports.join()).toContain("was cut");
    await cached.store.put(pack.name, pack.bytes);
    rmSync(
      join(
        directory,
        packFiles().find((file) => file.startsWith(pack.name))!,
      ),
    );
    await read(0, 4096);
  });

  test("a cache that cannot be written serves from the store, with a warning", async () => {
    rmSync(directory, { recursive: true });
    await read(0, 4096);
    await read(1_000_000, 4096);
    await cached.store.put(pack.name, pack.bytes);
    expect(reports[0]).toContain("cannot be written");
    await read(0, 4096);
    expect(cached.statistics().packs).toBe(0);
  });

  test("a whole pack that is read for a verification passes by, and takes its place again if it had one", async () => {
    await read(0, pack.bytes.length);
    expect(cached.statistics().packs).toBe(0);
    await cached.store.put(pack.name, pack.bytes);
    await cached.store.forgetCached(pack.name);
    expect(cached.statistics().packs).toBe(0);
    await cached.store.size(pack.name);
    faulty.requests.length = 0;
    await read(0, pack.bytes.length);
    expect(faulty.requests).toEqual([`get ${SHORT} 0+${pack.bytes.length}`]);
    await read(0, pack.bytes.length);
    expect(faulty.requests.length).toBe(1);
  });

  test("a fetch that fails fails for those who wait for it, and the next one is tried anew", async () => {
    faulty.failures.push("unavailable");
    const failures = await Promise.all([
      failureOf(getBytes(cached.store, pack.name, 0, 4096)),
      failureOf(getBytes(cached.store, pack.name, 4096, 4096)),
    ]);
    expect(failures).toEqual(["unavailable", "unavailable"]);
    await read(0, 4096);
  });

  test("a pack that became smaller than was known is read as far as it goes", async () => {
    faulty.contents.blobs.set(pack.name, pack.bytes.slice(0, 100_000));
    expect(Buffer.compare(await getBytes(cached.store, pack.name, 0, 4096), pack.bytes.subarray(0, 4096))).toBe(0);
    expect(await failureOf(getBytes(cached.store, pack.name, 99_000, 4096))).toBe("truncated");
  });

  test("a read that is cancelled leaves its target alone and does not disturb the others", async () => {
    faulty.held = true;
    const controller = new AbortController();
    const memory = allocateMemory(4096);
    const cancelled = reasonOf(cached.store.get(pack.name, 0, 4096, memory, 0, controller.signal));
    const other = read(0, 4096);
    await turnsOfLoop(4);
    controller.abort(new Error("no longer wanted"));
    expect(await cancelled).toBe("no longer wanted");
    faulty.held = false;
    faulty.release();
    await other;
    expect(memory.bytes.every((byte) => byte === 0)).toBe(true);
    freeMemory(memory);
  });

  test("what is fetched gives its memory back", async () => {
    const before = allocatedMemoryBytes();
    await read(0, 4096);
    cached.store.willRead!(pack.name, 300_000, MIB);
    for (let at = 0; at < pack.bytes.length - 4096; at += 50_000) await read(at, 4096);
    await until(isWhole);
    await until(() => allocatedMemoryBytes() === before);
  });

  test("a second process finds the cache locked", async () => {
    expect(await openCacheDirectory(directory)).toBeUndefined();
  });

  test("a deleted pack is gone from the cache", async () => {
    await read(0, 4096);
    await cached.store.delete(pack.name);
    expect(await failureOf(getBytes(cached.store, pack.name, 0, 4096))).toBe("missing");
    await until(() => packFiles().length === 0);
  });
});
