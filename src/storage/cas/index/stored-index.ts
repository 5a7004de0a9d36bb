/** What of an index is on disk: which files count after a crash, and whether they belong together. */
import { join } from "node:path";
import { openPackTable, PACK_TABLE_NAME, type PackTable } from "./pack-table.ts";
import { closeFile, type IndexPlace } from "./run-file.ts";
import { IndexDamaged, parseRunName, runName, TEMPORARY_SUFFIX, type FlushRange } from "./run-format.ts";
import { openRun, type Run } from "./run.ts";

export interface StoredIndex {
  /** Oldest first. Together they hold all flushes from the first to the last. */
  readonly runs: Run[];
  readonly packs: PackTable;
}

/** Opens what is there, and removes what a crash left half done. Throws IndexDamaged. */
export async function openStored(place: IndexPlace): Promise<StoredIndex> {
  const { disk, directory } = place;
  // A process that was killed may have left names that power loss would take away again: the run that has replaced
  // others must be there to stay before those are removed.
  await disk.syncDirectory(directory);
  const names = await disk.list(directory);
  for (const name of names) if (name.endsWith(TEMPORARY_SUFFIX)) disk.remove(join(directory, name));
  const ranges = currentRanges(place, names);
  const packs = await openPackTable(place, names.includes(PACK_TABLE_NAME));
  const runs: Run[] = [];
  try {
    for (const range of ranges) {
      const run = await openRun(place, range);
      runs.push(run);
      if (run.packCount > packs.count || packs.chainAt(run.packCount) !== run.packChain) {
        throw new IndexDamaged(`${run.name} belongs to another pack table than the one that is there`);
      }
    }
    return { runs, packs };
  } catch (error) {
    packs.close();
    for (const run of runs) closeFile(run.file);
    throw error;
  }
}

/** The runs that count. Those that a merge has replaced and had no time to remove are removed. */
function currentRanges({ disk, directory }: IndexPlace, names: readonly string[]): FlushRange[] {
  const ranges = names.map(parseRunName).filter((range) => range !== undefined);
  ranges.sort((a, b) => a.first - b.first || b.last - a.last);
  const current: FlushRange[] = [];
  let covered = 0;
  for (const range of ranges) {
    if (range.last <= covered) {
      disk.remove(join(directory, runName(range)));
      continue;
    }
    if (range.first !== covered + 1) {
      throw new IndexDamaged(`${runName(range)} does not follow on flush ${covered}: a run is missing`);
    }
    current.push(range);
    covered = range.last;
  }
  return current;
}

/**
 * Removes the runs, and the pack table too where that is wanted, durably. The newest first, and one after the other,
 * since names that are taken away together may go in any order when power is lost: so what is left fits together.
 */
export async function discardStored({ disk, directory }: IndexPlace, packTableToo: boolean): Promise<void> {
  const names = await disk.list(directory);
  for (const name of names.toReversed()) {
    const ours = parseRunName(name) !== undefined || name.endsWith(TEMPORARY_SUFFIX);
    if (!ours && !(packTableToo && name === PACK_TABLE_NAME)) continue;
    disk.remove(join(directory, name));
    await disk.syncDirectory(directory);
  }
}
