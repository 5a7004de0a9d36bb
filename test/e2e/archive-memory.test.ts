/** What a server with an archive takes of memory, however much is written to it. */
import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { openDisk, type Disk } from "../../src/initiator/disk.ts";
import { SECTOR_BYTES } from "../../src/storage/block-storage.ts";
import { storedBytes } from "../support/archive-files.ts";
import { missingForNetworks, titleUnless } from "../support/requirements.ts";
import { seededRandom, testSeed } from "../support/seeded-random.ts";
import { createBed } from "../support/server-bed.ts";

const missing = missingForNetworks();
const MIB = 2 ** 20;
const CACHE_BYTES = 64 * MIB;
/** What is written once, in whole blocks that are all different. */
const UNIQUE_BYTES = 2 ** 30;
/** What is written in pieces of 1 KiB, again and again to the same part of the disk. */
const SMALL_BYTES = 512 * MIB;
const SMALL_WITHIN_BYTES = 16 * MIB;
/** Besides the configured cache: packs on their way (3 of 16 MiB), new entries of the index (3 times 24 MiB), directories, the heap. */
const OTHER_BYTES = 448 * MIB;
/** The heap is cleaned up now and then, and grows in between. */
const GROWTH_BYTES = 128 * MIB;
const random = seededRandom(testSeed);

/** Resident bytes of a process, without what it shares with the page cache. */
function residentBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const kibibytes = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(status)?.[1]);
  return (kibibytes("RssAnon") + kibibytes("RssShmem")) * 1024;
}

const noise = new Uint8Array(MIB);
for (let at = 0; at < MIB; at += 65_536) crypto.getRandomValues(noise.subarray(at, at + 65_536));
let stamps = 0;
/** Random bytes, of which every 1 KiB differs from all before. */
function stamped(lengthBytes: number): Uint8Array {
  const bytes = noise.slice(0, lengthBytes);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < lengthBytes; at += 1024) view.setFloat64(at, ++stamps);
  return bytes;
}

/** Writes in so many strands at a time. */
async function inParallel(strands: number, count: number, write: (number: number) => Promise<void>): Promise<void> {
  let next = 0;
  const strand = async (): Promise<void> => {
    while (next < count) await write(next++);
  };
  await Promise.all(Array.from({ length: strands }, strand));
}

const writeUnique = (disk: Disk, fromBytes: number, lengthBytes: number): Promise<void> =>
  inParallel(2, lengthBytes / MIB, (number) => disk.write((fromBytes + number * MIB) / SECTOR_BYTES, stamped(MIB)));

const writeSmall = (disk: Disk, lengthBytes: number): Promise<void> =>
  inParallel(32, lengthBytes / 1024, () => disk.write(2 * random.below(SMALL_WITHIN_BYTES / 1024), stamped(1024)));

/** How many records of its volume a store has had: each checkpoint makes one. */
function recordCount(store: string): number {
  const roots = join(store, "refs/roots");
  const volume = join(roots, readdirSync(roots)[0]!);
  return Math.max(...readdirSync(volume).map(Number));
}

test.skipIf(missing !== undefined)(
  titleUnless(
    missing,
    "a server takes no more memory the more is written to its archive, or the more often it is checkpointed",
  ),
  async () => {
    await using bed = await createBed([9000]);
    const store = join(bed.directory, "blobs");
    await bed.configure([{ shelf: 1, slot: 0, backend: "cas", size: "2GiB", sync: "1s", compression: "none" }], {
      journalSize: "64MiB",
      cacheSize: `${CACHE_BYTES / MIB}MiB`,
    });
    const server = await bed.start();
    const disk = await openDisk(bed.initiator(), { shelf: 1, slot: 0 }, { timeoutMs: 20_000 });
    const sampleWhile = async (parts: number, work: (part: number) => Promise<void>): Promise<number[]> => {
      const samples: number[] = [];
      for (let part = 0; part < parts; part++) {
        await work(part);
        samples.push(residentBytes(server.pid));
      }
      return samples;
    };
    const atStart = residentBytes(server.pid);
    const unique = await sampleWhile(8, (part) => writeUnique(disk, (part * UNIQUE_BYTES) / 8, UNIQUE_BYTES / 8));
    const recordsBefore = recordCount(store);
    const small = await sampleWhile(16, () => writeSmall(disk, SMALL_BYTES / 16));
    const checkpoints = recordCount(store) - recordsBefore;
    expect(await server.stop("SIGTERM")).toBe(0);

    const inMib = (samples: readonly number[]): string => samples.map((bytes) => (bytes / MIB).toFixed(0)).join(" ");
    console.log(
      `archive memory, MiB: ${inMib([atStart])} at start; ${inMib(unique)} while ${UNIQUE_BYTES / MIB} MiB were written; ` +
        `${inMib(small)} while ${SMALL_BYTES / MIB} MiB were in pieces of 1 KiB, with ${checkpoints} checkpoints`,
    );
    expect(storedBytes(store)).toBeGreaterThan(UNIQUE_BYTES);
    expect(checkpoints).toBeGreaterThan(12);
    expect(Math.max(...unique, ...small)).toBeLessThan(CACHE_BYTES + OTHER_BYTES);
    expect(Math.max(...small.slice(8))).toBeLessThan(Math.max(...small.slice(0, 8)) + GROWTH_BYTES);
  },
  300_000,
);
