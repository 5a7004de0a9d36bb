/**
 * `writer.json` of the state directory: the claim by which this host writes the store. Whoever has the journal has it,
 * and so a host that lost its state is another writer than it was.
 */
import { join } from "node:path";
import { readCheckedFile, writeCheckedFile } from "./checked-file.ts";
import type { Disk } from "./disk.ts";

const NAME = "writer.json";
const VERSION = 1;

export interface OwnClaim {
  readonly epoch: number;
  /** As in the claim's ref. */
  readonly writerId: string;
  /** `recovering`: the state directory is being made from the store, and what is in it yet means nothing. */
  readonly state: "writing" | "recovering";
}

/** Writes the file anew, whole or not at all, and durably. Rejects with `SystemError`. */
export const writeOwnClaim = (disk: Disk, directory: string, { epoch, writerId, state }: OwnClaim): Promise<void> =>
  writeCheckedFile(disk, directory, NAME, { version: VERSION, epoch, writer: writerId, state });

/** Reads it; undefined where there is none. Rejects where it is damaged. */
export async function readOwnClaim(disk: Disk, directory: string): Promise<OwnClaim | undefined> {
  const read = await readCheckedFile(disk, directory, NAME);
  if (read === undefined) return undefined;
  const { version, epoch, writer, state } = read === "damaged" ? ({} as Record<string, unknown>) : read;
  if (version === VERSION) return { epoch, writerId: writer, state } as OwnClaim;
  throw new Error(
    `${join(directory, NAME)} is damaged: it says by which claim this host writes the store. Restore it from a backup, ` +
      `or write it anew after the newest file of refs/writer in the store, as docs/format.md has it`,
  );
}
