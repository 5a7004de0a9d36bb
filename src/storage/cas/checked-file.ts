/**
 * A small file of the state directory that is written whole: a line of JSON, and a line with the SHA-256 of the first.
 * After a crash there is the old content or the new one.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { ENOENT, ENOSPC, SystemError } from "../../../ffi/libc.ts";
import { allocateMemory, freeMemory } from "../../../ffi/memory.ts";
import type { Disk, DiskFile } from "./disk.ts";

/** The bytes of a value: the line of JSON and that of its checksum. */
export function encodeChecked(value: object): Uint8Array {
  const line = `${JSON.stringify(value)}\n`;
  return new TextEncoder().encode(`${line}${checksumOf(line)}\n`);
}

/** The value that these bytes are of; undefined where they are not what `encodeChecked` makes. */
export function parseChecked(bytes: Uint8Array): Record<string, unknown> | undefined {
  const [, line = "", checksum] = /^([^\n]*\n)([0-9a-f]{64})\n$/.exec(new TextDecoder().decode(bytes)) ?? [];
  // Where the checksum is right voe wrote the line, though perhaps another version of it.
  return checksumOf(line) === checksum ? (JSON.parse(line) as Record<string, unknown>) : undefined;
}

const checksumOf = (line: string): string => createHash("sha256").update(line).digest("hex");

/** Writes the file anew, whole or not at all, and durably. Rejects with `SystemError`. */
export async function writeCheckedFile(disk: Disk, directory: string, name: string, value: object): Promise<void> {
  const temporary = join(directory, `${name}.new`);
  removeIfThere(disk, temporary);
  const bytes = encodeChecked(value);
  const file = disk.create(temporary);
  const memory = allocateMemory(bytes.length);
  try {
    memory.bytes.set(bytes);
    const written = file.write(memory, 0, bytes.length, 0);
    if (written !== bytes.length)
      throw new SystemError(`${temporary} cannot be written`, written < 0 ? -written : ENOSPC);
    await file.sync();
  } finally {
    freeMemory(memory);
    await file.close();
  }
  disk.rename(temporary, join(directory, name));
  await disk.syncDirectory(directory);
}

/** Reads it; undefined where there is none, "damaged" where it is not what was written. Rejects with `SystemError`. */
export async function readCheckedFile(
  disk: Disk,
  directory: string,
  name: string,
): Promise<Record<string, unknown> | "damaged" | undefined> {
  const path = join(directory, name);
  const file = openIfThere(disk, path);
  if (file === undefined) return undefined;
  const sizeBytes = file.sizeBytes();
  const memory = allocateMemory(Math.max(1, sizeBytes));
  try {
    const read = await file.read(memory, 0, sizeBytes, 0);
    if (read < 0) throw new SystemError(`${path} cannot be read`, -read);
    return parseChecked(memory.bytes.subarray(0, read)) ?? "damaged";
  } finally {
    freeMemory(memory);
    await file.close();
  }
}

function openIfThere(disk: Disk, path: string): DiskFile | undefined {
  try {
    return disk.open(path);
  } catch (error) {
    if (error instanceof SystemError && error.errno === ENOENT) return undefined;
    throw error;
  }
}

/** Takes a file away where there is one. Throws `SystemError` where it stays. */
export function removeIfThere(disk: Disk, path: string): void {
  try {
    disk.remove(path);
  } catch (error) {
    if (!(error instanceof SystemError) || error.errno !== ENOENT) throw error;
  }
}
