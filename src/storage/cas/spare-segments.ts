/**
 * Files of released segments, kept for segments to come: their blocks are allocated and their pages cached, so that
 * what is appended changes no metadata of the filesystem and is written faster. What they hold means nothing.
 */
import { join } from "node:path";
import type { Disk, DiskFile } from "./disk.ts";
import { segmentName } from "./journal-format.ts";

/** Most bytes of spare segments, however large the journal was. */
export const SPARE_MOST_BYTES = 2 ** 30;

const SUFFIX = ".spare";

/** Name of what was the segment that begins with this record. */
const spareName = (firstSequence: number): string => segmentName(firstSequence).replace(/\.journal$/, SUFFIX);

export const isSpareName = (name: string): boolean => /^[0-9a-f]{16}\.spare$/.test(name);

export interface SpareSegments {
  /** Bytes of all of them. */
  readonly sizeBytes: number;
  /** Takes the name of a segment's file away and yields another. It is no spare before that is durable: see `keep`. */
  retire(path: string, firstSequence: number): string;
  /** Keeps a file, whose name as a spare is durable: no crash brings a segment back that is then written over. */
  keep(path: string, sizeBytes: number): void;
  /** The file that was kept last, by a new name, open; undefined where there is none. Throws `SystemError`. */
  take(path: string): DiskFile | undefined;
  /** Removes those kept first, until there are at most this many bytes. Whether that is durable does not matter. */
  trim(mostBytes: number): void;
}

export function spareSegments(disk: Disk, directory: string): SpareSegments {
  const kept: { readonly path: string; readonly sizeBytes: number }[] = [];
  let totalBytes = 0;
  return {
    get sizeBytes() {
      return totalBytes;
    },
    retire(path, firstSequence) {
      const name = join(directory, spareName(firstSequence));
      disk.rename(path, name);
      return name;
    },
    keep(path, sizeBytes) {
      kept.push({ path, sizeBytes });
      totalBytes += sizeBytes;
    },
    take(path) {
      const spare = kept.at(-1);
      if (spare === undefined) return undefined;
      disk.rename(spare.path, path);
      kept.pop();
      totalBytes -= spare.sizeBytes;
      return disk.open(path);
    },
    trim(mostBytes) {
      while (totalBytes > mostBytes) {
        disk.remove(kept[0]!.path);
        totalBytes -= kept.shift()!.sizeBytes;
      }
    },
  };
}
