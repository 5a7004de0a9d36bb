import { BlobStoreError, type BlobFailure } from "./blob-store.ts";
import { codeOf } from "./file-system.ts";

const FAILURES: Readonly<Record<string, BlobFailure>> = {
  ENOENT: "missing",
  EACCES: "denied",
  EPERM: "denied",
  EROFS: "denied",
  ENOSPC: "full",
  EDQUOT: "full",
  EFBIG: "full",
  ENOTDIR: "corrupt",
  EISDIR: "corrupt",
  ELOOP: "corrupt",
};

/** The class of an error of node:fs. What is not known, a medium that failed among it, may work when tried again. */
export const failureOf = (error: unknown): BlobFailure => FAILURES[codeOf(error) ?? ""] ?? "unavailable";

const advice = (failure: BlobFailure, path: string): string => {
  switch (failure) {
    case "denied":
      return `: check that user ${process.getuid?.()} may read and write ${path}, and that it is not mounted read-only`;
    case "full":
      return `: free space on the filesystem of ${path}, or enlarge it`;
    case "corrupt":
      return `: something other than voe changed ${path}, restore what is missing from a copy`;
    default:
      return `: see the system's log about the medium of ${path}`;
  }
};

/** The store's error for one of node:fs, saying what could not be done (`blob X could not be read`) in the store at `path`. */
export function fileError(what: string, path: string, failure: BlobFailure, cause: unknown): BlobStoreError {
  const { message } = cause as Error;
  return new BlobStoreError(failure, `${what} (${message})${advice(failure, path)}`, cause);
}
