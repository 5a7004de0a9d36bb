/** Files beside the configuration that hold credentials. */
import { readFileSync, statSync } from "node:fs";

const READ_ADVICE: Readonly<Record<string, string>> = {
  ENOENT: "is not there: check the path",
  EACCES: "may not be read by the user of voe: change its owner or mode",
  EISDIR: "is a directory: name the file in it",
};

/** Bits of a file's mode: everybody on this host may read it. */
const OTHERS_READ = 0o004;

/** The text of a file that the configuration names under `key`. Throws an Error that says what to do. */
export function readNamedFile(key: string, path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const { code = "", message } = error as NodeJS.ErrnoException;
    throw new Error(`${key}: ${path} ${READ_ADVICE[code] ?? `cannot be read (${message}): check the path`}`, {
      cause: error,
    });
  }
}

/** What to do where a file with secrets can be read by everybody, or undefined where it cannot, or is not there. */
export function exposureOf(path: string): string | undefined {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined || (stat.mode & OTHERS_READ) === 0) return undefined;
  return `${path} holds secrets and every user of this host can read it: chmod o-rwx ${path}`;
}

/** Something that changes when a file does; undefined where it cannot be looked at. */
export function fileVersion(path: string): string | undefined {
  try {
    const { ino, mtimeMs, size } = statSync(path);
    return `${ino}:${mtimeMs}:${size}`;
  } catch {
    return undefined;
  }
}
