/** A store to be verified, what is expected of that, and what comes of it. */
import { createCompression } from "../../src/base/compression.ts";
import type { BlobStore } from "../../src/blob/blob-store.ts";
import { createMemoryStore, emptyContents, type MemoryStoreContents } from "../../src/blob/memory-store.ts";
import { rootsIn } from "../../src/storage/cas/recover-volumes.ts";
import { openStoreIndex } from "../../src/storage/cas/store-index.ts";
import { emptyHistory, type HistoryStore } from "../../src/storage/cas/verify/history.ts";
import { withoutClients } from "../../src/storage/cas/pace.ts";
import type { Damage, VerifyEnd, VerifyEvent, VerifyOptions } from "../../src/storage/cas/verify/verify-events.ts";
import { verifyStore, type VerifiedStore } from "../../src/storage/cas/verify/verify-store.ts";
import {
  BLOCK_SECTORS,
  blockOf,
  hashOf,
  hasher,
  openTestArchive,
  openTestVolume,
  stateDisk,
  writeBlock,
} from "./archive-store.ts";

/** Three levels, of which the first two blocks of the top have something: two parts. */
export const BLOCKS = 20_000;
const FIRST = 100;
export const FAR = 17_000;

/** e1.0 with a snapshot, then changed; e2.0, a clone of the snapshot, changed elsewhere. */
export async function fillStore(): Promise<{ contents: MemoryStoreContents; mondayId: string }> {
  const contents = emptyContents();
  const archive = await openTestArchive(createMemoryStore(contents), await stateDisk());
  const volume = await openTestVolume(archive, "e1.0", BLOCKS);
  for (let block = 0; block < FIRST; block++) await writeBlock(volume, block, blockOf(block));
  await writeBlock(volume, FAR, blockOf(FAR));
  const mondayId = (await archive.createSnapshot("e1.0", "monday")).id;
  await writeBlock(volume, 5, blockOf(1005));
  await archive.clone("e1.0", mondayId, "e2.0");
  const clone = await openTestVolume(archive, "e2.0", BLOCKS);
  await writeBlock(clone, FAR + 1, blockOf(FAR + 1));
  await archive.close();
  return { contents, mondayId };
}

export interface Run {
  readonly end: VerifyEnd;
  readonly damage: readonly Damage[];
  readonly notices: readonly string[];
}

/** A history in memory, and the store that keeps it. */
export function memoryHistory(): HistoryStore {
  let saved = emptyHistory();
  return {
    load: async () => saved,
    async save(history) {
      saved = structuredClone(history);
    },
  };
}

/** A store as verifyStore takes it, its index being what the packs say now. */
export async function storeOver(blobs: BlobStore, history: HistoryStore): Promise<VerifiedStore> {
  const { index } = await openStoreIndex({
    disk: await stateDisk(),
    stateDirectory: "/state",
    blobs,
    hasher,
    report: () => {},
    progress: () => {},
  });
  let nowMs = 1_800_000_000_000;
  return {
    blobs,
    hasher,
    compression: createCompression(),
    index,
    roots: () => rootsIn(blobs),
    history,
    pace: withoutClients(),
    nowMs: () => nowMs++,
    monotonicMs: () => performance.now(),
  };
}

/** What a run has told. */
export async function gather(events: AsyncIterable<VerifyEvent>): Promise<Run> {
  const damage: Damage[] = [];
  const notices: string[] = [];
  let end: VerifyEnd | undefined;
  for await (const event of events) {
    if (event.event === "damage") damage.push(event.damage);
    if (event.event === "notice") notices.push(event.message);
    if (event.event === "end") end = event;
  }
  return { end: end!, damage, notices };
}

/** Verifies a store that was just opened. */
export const verifyWith = async (
  blobs: BlobStore,
  options: VerifyOptions = {},
  history: HistoryStore = memoryHistory(),
): Promise<Run> => gather(verifyStore(await storeOver(blobs, history), options));

/** What is affected, in short: the volume, a snapshot's description, and ranges of blocks. */
export const affected = ({ end }: Run): [string, ...[number, number][]][] =>
  end.affected.map(({ volume, snapshot, ranges }) => [
    snapshot === undefined ? volume : `${volume} ${snapshot.description}`,
    ...ranges.map(({ sector, sectorCount }): [number, number] => [
      sector / BLOCK_SECTORS,
      (sector + sectorCount) / BLOCK_SECTORS,
    ]),
  ]);

/** The blocks that each volume and snapshot has, by number: whose hash. */
function model(): Record<string, Map<number, string>> {
  const monday = new Map<number, string>();
  for (let block = 0; block < FIRST; block++) monday.set(block, hashOf(blockOf(block)).toHex());
  monday.set(FAR, hashOf(blockOf(FAR)).toHex());
  const present = new Map(monday).set(5, hashOf(blockOf(1005)).toHex());
  const clone = new Map(monday).set(FAR + 1, hashOf(blockOf(FAR + 1)).toHex());
  return { "e1.0 monday": monday, "e1.0": present, "e2.0": clone };
}

/** What is affected where these hashes of data blocks cannot be had. */
export function expectedFor(lost: ReadonlySet<string>): [string, ...[number, number][]][] {
  const found: [string, ...[number, number][]][] = [];
  for (const [name, blocks] of Object.entries(model())) {
    const ranges: [number, number][] = [];
    for (const [block, hash] of [...blocks].toSorted(([a], [b]) => a - b)) {
      if (!lost.has(hash)) continue;
      const last = ranges.at(-1);
      if (last !== undefined && last[1] === block) last[1]++;
      else ranges.push([block, block + 1]);
    }
    if (ranges.length > 0) found.push([name, ...ranges]);
  }
  return found;
}
