/**
 * What the last checkpoint says of journal and store: which journal it is, the first record that the checkpoint does not
 * cover, and the records of volumes that the blob store must have. Without it a journal whose beginning was released
 * could not be told from one that lost it, nor an empty or old blob store from the right one.
 */
import { join } from "node:path";
import { readCheckedFile, writeCheckedFile } from "./checked-file.ts";
import type { Disk } from "./disk.ts";

const NAME = "checkpoint.json";
const VERSION = 1;

export interface LastCheckpoint {
  readonly journalId: string;
  readonly fromSequence: number;
  /** Number of the newest record of each volume, by its id. */
  readonly volumes: Readonly<Record<string, number>>;
}

/** Writes the file anew, whole or not at all, and durably. Rejects with `SystemError`. */
export const writeCheckpointFile = (disk: Disk, directory: string, last: LastCheckpoint): Promise<void> =>
  writeCheckedFile(disk, directory, NAME, { version: VERSION, ...last });

/** Reads it; undefined where there is none, as before the first checkpoint. Rejects where it is damaged. */
export async function readCheckpointFile(disk: Disk, directory: string): Promise<LastCheckpoint | undefined> {
  const read = await readCheckedFile(disk, directory, NAME);
  if (read === undefined) return undefined;
  // What is in it need not be looked at: its checksum is right.
  const { version, ...last } = read === "damaged" ? {} : read;
  if (version === VERSION) return last as unknown as LastCheckpoint;
  throw new Error(
    `${join(directory, NAME)} is damaged: it says which journal and which volumes belong to this archive. Restore it ` +
      `from a backup; or, to give up what was written since the last checkpoint, move the state directory away and run ` +
      `voe recover`,
  );
}
