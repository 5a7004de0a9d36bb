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

/**
 * What `read` makes of a file with secrets, asked for again and again: the file is read now, and anew when it has changed,
 * so that they can be renewed. Throws what `read` throws now; later that is reported, and what was read before stays.
 */
export function followedFile<T>(path: string, read: () => T, report: (key: string, message: string) => void): () => T {
  let version = fileVersion(path);
  let found = read();
  const exposure = exposureOf(path);
  if (exposure !== undefined) report("credentials", exposure);
  return () => {
    const now = fileVersion(path);
    if (now === version) return found;
    version = now;
    try {
      found = read();
    } catch (error) {
      report("credentials", `the credentials read before are used on: ${(error as Error).message}`);
    }
    return found;
  };
}

/** Something that changes when a file does; undefined where it cannot be looked at. */
function fileVersion(path: string): string | undefined {
  try {
    const { ino, mtimeMs, size } = statSync(path);
    return `${ino}:${mtimeMs}:${size}`;
  } catch {
    return undefined;
  }
}
