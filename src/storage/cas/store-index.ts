/** The index of a store, brought into line with its packs. */
import { join } from "node:path";
import { eventLoop } from "../../base/event-loop.ts";
import type { Hasher } from "../../base/hash.ts";
import type { BlobStore } from "../../blob/blob-store.ts";
import type { Disk } from "./disk.ts";
import { openIndex, type BlockIndex, type PackEntries } from "./index/block-index.ts";
import { packBlobName } from "./pack-format.ts";
import type { PackDamage } from "./pack-directory.ts";
import type { ParsedPack } from "./pack.ts";
import { readPackDirectory } from "./read-pack-directory.ts";
import { awaitedLater, Lookahead } from "./tree/lookahead.ts";

export interface StoreIndexOptions {
  readonly disk: Disk;
  readonly stateDirectory: string;
  readonly blobs: BlobStore;
  readonly hasher: Hasher;
  readonly indexMemtableEntries?: number;
  readonly report: (key: string, message: string) => void;
  /** Told of packs as their directories are read into the index. */
  readonly progress: (done: number, total: number) => void;
  /** Whether a failure to read a pack leaves it out, as damage does. Absent: it never does. */
  readonly leavesOut?: (failure: unknown) => boolean;
}

/**
 * Opens the index of a store; what it lacks it learns from the packs. Rejects where one of them cannot be read now. One
 * that is damaged is reported and left out: what only it has cannot be read, and is stored anew when it is written.
 */
export async function openStoreIndex(options: StoreIndexOptions): Promise<{ index: BlockIndex; storedBytes: number }> {
  const { disk, stateDirectory, blobs, report } = options;
  const index = await openIndex(
    { disk, directory: join(stateDirectory, "index"), pause: () => eventLoop.turn() },
    {
      ...(options.indexMemtableEntries === undefined ? {} : { memtableEntries: options.indexMemtableEntries }),
      damaged(error) {
        report("index", `${error.message}: it is built again from the packs`);
        // At once, so that lookups wait for it.
        index.rebuild(allEntries(options)).then(
          () => report("index:rebuilt", `the index of ${blobs.description} was built again`),
          (failure: Error) => report("index:rebuild", `the index could not be built again: ${failure.message}`),
        );
      },
      report,
    },
  );
  const there = new Map<string, number>();
  for await (const { name, sizeBytes } of blobs.list()) there.set(name, sizeBytes);
  const wasEmpty = index.packNames().length === 0;
  await index.forgetPacks(index.packNames().filter((name) => !there.has(packBlobName(name))));
  const unknown = [...there.keys()].filter((name) => !index.holds(Uint8Array.fromHex(name)));
  await index.fill(entriesOf(unknown, options));
  if (wasEmpty && unknown.length > 0) {
    const packs = unknown.length === 1 ? "its only pack" : `its ${unknown.length} packs`;
    report("index:built", `the index of ${blobs.description} was missing and has been built from ${packs}`);
  }
  return { index, storedBytes: [...there.values()].reduce((total, bytes) => total + bytes, 0) };
}

async function* allEntries(options: StoreIndexOptions): AsyncGenerator<PackEntries> {
  const names: string[] = [];
  for await (const { name } of options.blobs.list()) names.push(name);
  yield* entriesOf(names, options);
}

/** What packs hold, in the order of their names. Directories are read several at a time: a store may be far away. */
async function* entriesOf(
  names: readonly string[],
  { blobs, hasher, report, progress, leavesOut }: StoreIndexOptions,
): AsyncGenerator<PackEntries> {
  const read = async (blob: string): Promise<{ blob: string; name: Uint8Array; found: ParsedPack | PackDamage }> => {
    const name = Uint8Array.fromHex(blob);
    const found = await readPackDirectory(blobs, name, hasher).catch((error: Error) => {
      if (leavesOut?.(error) === true) return { reason: error.message };
      throw error;
    });
    return { blob, name, found };
  };
  let begun = 0;
  const reads = new Lookahead(() => (begun < names.length ? awaitedLater(read(names[begun++]!)) : undefined));
  let done = 0;
  for (let reading = reads.take(); reading !== undefined; reading = reads.take()) {
    const { blob, name, found } = await reading;
    if ("reason" in found) {
      report(
        `pack:${blob}`,
        `pack ${blob} of ${blobs.description} is damaged: ${found.reason}. What only it has cannot be read. Run voe verify ` +
          `to learn what is affected, and restore the pack from a copy`,
      );
    } else {
      yield { name, hashes: found.directory.hashes(), plainBytes: found.directory.plainTotalBytes() };
    }
    progress(++done, names.length);
  }
}
