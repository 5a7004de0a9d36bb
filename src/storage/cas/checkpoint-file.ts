/**
 * What the last checkpoint says of journal and store: which journal it is, the first record that the checkpoint does not
 * cover, and the records of volumes that the blob store must have. Without it a journal whose beginning was released
 * could not be told from one that lost it, nor an empty or old blob store from the right one.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { ENOENT, ENOSPC, SystemError } from "../../../ffi/libc.ts";
import { allocateMemory, freeMemory } from "../../../ffi/memory.ts";
import type { Disk, DiskFile } from "./disk.ts";

const NAME = "checkpoint.json";
const VERSION = 1;

export interface LastCheckpoint {
  readonly journalId: string;
  readonly fromSequence: number;
  /** Number of the newest record of each volume, by its id. */
  readonly volumes: Readonly<Record<string, number>>;
}

const checksumOf = (line: string): string => createHash("sha256").update(line).digest("hex");

/** Writes the file anew, whole or not at all, and durably. Rejects with `SystemError`. */
export async function writeCheckpointFile(disk: Disk, directory: string, last: LastCheckpoint): Promise<void> {
  const temporary = join(directory, `${NAME}.new`);
  removeIfThere(disk, temporary);
  const line = `${JSON.stringify({ version: VERSION, ...last })}\n`;
  const text = new TextEncoder().encode(`${line}${checksumOf(line)}\n`);
  const file = disk.create(temporary);
  const memory = allocateMemory(text.length);
  try {
    memory.bytes.set(text);
    const written = file.write(memory, 0, text.length, 0);
    if (written !== text.length)
      throw new SystemError(`${temporary} cannot be written`, written < 0 ? -written : ENOSPC);
    await file.sync();
  } finally {
    freeMemory(memory);
    await file.close();
  }
  disk.rename(temporary, join(directory, NAME));
  await disk.syncDirectory(directory);
}

/** Reads it; undefined where there is none, as before the first checkpoint. Rejects where it is damaged. */
export async function readCheckpointFile(disk: Disk, directory: string): Promise<LastCheckpoint | undefined> {
  const path = join(directory, NAME);
  const file = openIfThere(disk, path);
  if (file === undefined) return undefined;
  const sizeBytes = file.sizeBytes();
  const memory = allocateMemory(Math.max(1, sizeBytes));
  try {
    const read = await file.read(memory, 0, sizeBytes, 0);
    if (read < 0) throw new SystemError(`${path} cannot be read`, -read);
    return parse(path, new TextDecoder().decode(memory.bytes.subarray(0, read)));
  } finally {
    freeMemory(memory);
    await file.close();
  }
}

function parse(path: string, text: string): LastCheckpoint {
  const [, line = "", checksum] = /^([^\n]*\n)([0-9a-f]{64})\n$/.exec(text) ?? [];
  // The checksum is right where voe wrote it, so what it says need not be looked at: of another version it may be.
  const { version, ...last } = checksumOf(line) === checksum ? (JSON.parse(line) as Record<string, unknown>) : {};
  if (version === VERSION) return last as unknown as LastCheckpoint;
  throw new Error(
    `${path} is damaged: it says which journal and which volumes belong to this archive. Restore it from a backup; or, ` +
      `to give up what was written since the last checkpoint, move the state directory away and run voe recover`,
  );
}

function openIfThere(disk: Disk, path: string): DiskFile | undefined {
  try {
    return disk.open(path);
  } catch (error) {
    if (error instanceof SystemError && error.errno === ENOENT) return undefined;
    throw error;
  }
}

function removeIfThere(disk: Disk, path: string): void {
  try {
    disk.remove(path);
  } catch (error) {
    if (!(error instanceof SystemError) || error.errno !== ENOENT) throw error;
  }
}
