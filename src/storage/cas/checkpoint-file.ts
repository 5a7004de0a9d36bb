/**
 * What the last checkpoint says of the journal: which journal it is, and the first record that the checkpoint does not
 * cover. Without it a journal whose beginning was released could not be told from one that lost it.
 */
import { join } from "node:path";
import { ENOENT, SystemError } from "../../../ffi/libc.ts";
import { allocateMemory, freeMemory } from "../../../ffi/memory.ts";
import type { Disk, DiskFile } from "./disk.ts";

const NAME = "checkpoint.json";
const VERSION = 1;
const MOST_BYTES = 4096;

export interface JournalExpectation {
  readonly journalId: string;
  readonly fromSequence: number;
}

/** Writes the file anew, whole or not at all, and durably. Rejects with `SystemError`. */
export async function writeCheckpointFile(disk: Disk, directory: string, expected: JournalExpectation): Promise<void> {
  const temporary = join(directory, `${NAME}.new`);
  removeIfThere(disk, temporary);
  const text = new TextEncoder().encode(`${JSON.stringify({ version: VERSION, ...expected })}\n`);
  const memory = allocateMemory(MOST_BYTES);
  const file = disk.create(temporary);
  try {
    memory.bytes.set(text);
    const written = file.write(memory, 0, text.length, 0);
    if (written !== text.length) throw new SystemError(`${temporary} cannot be written`, written < 0 ? -written : 28);
    await file.sync();
  } finally {
    freeMemory(memory);
    await file.close();
  }
  disk.rename(temporary, join(directory, NAME));
  await disk.syncDirectory(directory);
}

/** Reads it; undefined where there is none, as before the first checkpoint. Throws where it is damaged. */
export async function readCheckpointFile(disk: Disk, directory: string): Promise<JournalExpectation | undefined> {
  const path = join(directory, NAME);
  const file = openIfThere(disk, path);
  if (file === undefined) return undefined;
  const memory = allocateMemory(MOST_BYTES);
  try {
    const sizeBytes = Math.min(MOST_BYTES, file.sizeBytes());
    const read = await file.read(memory, 0, sizeBytes, 0);
    if (read < 0) throw new SystemError(`${path} cannot be read`, -read);
    return parse(path, new TextDecoder().decode(memory.bytes.subarray(0, read)));
  } finally {
    freeMemory(memory);
    await file.close();
  }
}

function parse(path: string, text: string): JournalExpectation {
  const damaged = new Error(
    `${path} is damaged: it says which journal belongs to this archive. Restore it from a backup`,
  );
  let saved: unknown;
  try {
    saved = JSON.parse(text);
  } catch {
    throw damaged;
  }
  const { version, journalId, fromSequence } = saved as Record<string, unknown>;
  if (version !== VERSION || typeof journalId !== "string" || !Number.isSafeInteger(fromSequence)) throw damaged;
  return { journalId, fromSequence: fromSequence as number };
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
