/**
 * Opens an index that was filled and looks blocks up in it, in a process of its own, so that the memory is that of the
 * index alone. Arguments: the directory, the number of entries. Prints JSON.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { ABSENT, FOUND, LATER, openIndex, type BlockIndex } from "../../src/storage/cas/index/block-index.ts";
import { createPlaces } from "../../src/storage/cas/index/places.ts";
import { eventLoop } from "../../src/base/event-loop.ts";
import { realDisk } from "../../src/storage/cas/real-disk.ts";
import { writeHash } from "./synthetic-packs.ts";

export interface Reopened {
  /** With nothing of the index in the page cache, and with all that opening reads there. */
  readonly coldOpenMs: number;
  readonly openMs: number;
  readonly residentBytes: number;
  /** Resident memory of the whole process with the index open. */
  readonly processBytes: number;
  /** Lookups a second. */
  readonly presentPerSecond: number;
  readonly absentPerSecond: number;
  readonly coldPresentPerSecond: number;
}

const LOOKUPS = 2_000_000;
const COLD_LOOKUPS = 20_000;
const COLD_OUTSTANDING = 16;

const fail = (what: string): never => {
  throw new Error(`the index does not hold what was put into it: ${what}`);
};

const perSecond = (count: number, start: number): number => count / ((performance.now() - start) / 1000);

async function measureReopened(directory: string, entries: number): Promise<Reopened> {
  const place = { disk: realDisk, directory, pause: () => eventLoop.turn() };
  const open = async (): Promise<[BlockIndex, number]> => {
    const start = performance.now();
    const index = await openIndex(place, { damaged: (error) => fail(error.message), report: (_, what) => fail(what) });
    return [index, performance.now() - start];
  };
  const files = readdirSync(directory).map((name) => join(directory, name));
  const dropCached = async (): Promise<void> => {
    for (const path of files) {
      const file = realDisk.open(path, true);
      file.forgetCached();
      await file.close();
    }
  };

  const hash = new Uint8Array(32);
  const view = new DataView(hash.buffer);
  const places = createPlaces();
  let random = 1;
  /** A number below `entries`: a multiplicative generator, for `Math.random` has no seed. */
  const next = (): number => {
    random = (random * 48_271) % 0x7fff_ffff;
    return Math.floor((random / 0x7fff_ffff) * entries);
  };

  await dropCached();
  Bun.gc(true);
  const before = process.memoryUsage.rss();
  const [index, coldOpenMs] = await open();
  const processBytes = process.memoryUsage.rss();

  const coldStart = performance.now();
  const lookUp = async (): Promise<void> => {
    const hash = new Uint8Array(32);
    const places = createPlaces();
    for (let i = 0; i < COLD_LOOKUPS / COLD_OUTSTANDING; i++) {
      writeHash(new DataView(hash.buffer), 0, next());
      if ((await index.lookup(hash, 0, places)) !== FOUND) fail("a block is absent");
    }
  };
  await Promise.all(Array.from({ length: COLD_OUTSTANDING }, lookUp));
  const coldPresentPerSecond = perSecond(COLD_LOOKUPS, coldStart);

  for (const path of files) for await (const chunk of Bun.file(path).stream()) void chunk;
  const tryAll = (first: number, expected: number): number => {
    const start = performance.now();
    for (let i = 0; i < LOOKUPS; i++) {
      writeHash(view, 0, first + next());
      const status = index.tryLookup(hash, 0, places);
      // A page may have left the page cache again.
      if (status !== expected && status !== LATER) fail(`status ${status} instead of ${expected}`);
    }
    return perSecond(LOOKUPS, start);
  };
  // The first round of each compiles.
  tryAll(0, FOUND);
  const presentPerSecond = tryAll(0, FOUND);
  tryAll(entries, ABSENT);
  const absentPerSecond = tryAll(entries, ABSENT);
  await index.close();

  const [again, openMs] = await open();
  await again.close();
  return {
    coldOpenMs,
    openMs,
    residentBytes: processBytes - before,
    processBytes,
    presentPerSecond,
    absentPerSecond,
    coldPresentPerSecond,
  };
}

if (import.meta.main) {
  const [directory = "", entries = ""] = process.argv.slice(2);
  console.log(JSON.stringify(await measureReopened(directory, Number(entries))));
}
