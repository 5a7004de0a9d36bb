import { open, rename } from "node:fs/promises";
import { dirname } from "node:path";

/**
 * Writes a file whole and durably: PATH.new, synced, renamed over PATH, and the directory synced. After a crash there is
 * the old content or the new one. Mode 0600.
 */
export async function replaceFile(path: string, text: string): Promise<void> {
  const temporary = `${path}.new`;
  const file = await open(temporary, "w", 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  await syncDirectory(dirname(path));
}

/** Makes the names in a directory durable. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
