/** How much of what was answered is in a journal and not in its store. */
import { join } from "node:path";
import { SECTOR_BYTES } from "../block-storage.ts";
import { readCheckpointFile } from "./checkpoint-file.ts";
import type { Disk } from "./disk.ts";
import { WRITE } from "./journal-format.ts";
import { readJournal } from "./open-journal.ts";

/**
 * Bytes of the writes that the last checkpoint of this state directory does not cover, at most: what was written twice
 * counts twice. 0 where there is no journal; undefined where it cannot be read.
 */
export async function unsentBytes(disk: Disk, stateDirectory: string): Promise<number | undefined> {
  let sectorCount = 0;
  try {
    const expected = await readCheckpointFile(disk, stateDirectory);
    await readJournal(disk, join(stateDirectory, "journal"), expected, ({ kind, sequence, ...record }) => {
      if (kind === WRITE && sequence >= (expected?.fromSequence ?? 0)) sectorCount += record.sectorCount;
    });
  } catch {
    return undefined;
  }
  return sectorCount * SECTOR_BYTES;
}
