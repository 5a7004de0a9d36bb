/** The descriptors of a file store: blobs never change, so one that was opened once is kept for the next read. */
import type { Memory } from "../base/memory.ts";
import type { FileSystem, ReadableFile } from "./file-system.ts";

interface OpenBlob {
  /** Undefined until it is open. */
  file: ReadableFile | undefined;
  opening: Promise<void>;
  users: number;
  /** Read since the last search for one to close. */
  recent: boolean;
  /** No longer found by its name: closed when its last user is done. */
  dropped: boolean;
}

export interface OpenBlobs {
  /** Reads from the page cache alone, from a blob that is open: false where that does not give all. */
  tryRead(name: string, offsetBytes: number, lengthBytes: number, target: Memory, at: number): boolean;
  /** Resolves to the bytes read, fewer than asked where the blob ends. Rejects with an error of node:fs. */
  read(name: string, offsetBytes: number, lengthBytes: number, target: Memory, at: number): Promise<number>;
  /** Begins to read a part of a blob into the page cache, if the blob is open. */
  willRead(name: string, offsetBytes: number, lengthBytes: number): void;
  /** Drops what the page cache holds of a blob. Rejects with an error of node:fs. */
  forgetCached(name: string): Promise<void>;
  /** Forgets a blob that was replaced or deleted. */
  drop(name: string): void;
  /** Closes all; no read may be under way or follow. */
  close(): Promise<void>;
}

/** Keeps at most `most` blobs open, or as many as are being read at once. */
export function createOpenBlobs(
  files: Pick<FileSystem, "open">,
  pathOf: (name: string) => string,
  most: number,
): OpenBlobs {
  const blobs = new Map<string, OpenBlob>();
  const closing = new Set<Promise<void>>();

  const letGo = (blob: OpenBlob): void => {
    if (!blob.dropped || blob.users > 0 || blob.file === undefined) return;
    // Off the event loop: where the blob was deleted, its space is freed now.
    const closed = blob.file.close().catch(() => {
      // Nothing was written through it, so nothing is lost with it.
    });
    closing.add(closed);
    void closed.then(() => closing.delete(closed));
  };

  const drop = (name: string): void => {
    const blob = blobs.get(name);
    if (blob === undefined) return;
    blobs.delete(name);
    blob.dropped = true;
    letGo(blob);
  };

  /** Second chance: what was read since it was last looked at goes to the end of the line. */
  const closeOldest = (): void => {
    for (const [name, blob] of blobs) {
      if (blobs.size <= most) return;
      if (blob.users === 0 && !blob.recent) {
        drop(name);
        continue;
      }
      // The map is walked in order, and what is set anew is met again at its end: with its second chance used up.
      if (blob.users > 0 && !blob.recent) continue;
      blob.recent = false;
      blobs.delete(name);
      blobs.set(name, blob);
    }
  };

  const openBlob = (name: string): OpenBlob => {
    const blob: OpenBlob = { file: undefined, opening: Promise.resolve(), users: 0, recent: true, dropped: false };
    blob.opening = files.open(pathOf(name)).then(
      (file) => void (blob.file = file),
      (error: unknown) => {
        if (blobs.get(name) === blob) blobs.delete(name);
        throw error;
      },
    );
    blobs.set(name, blob);
    return blob;
  };

  const withOpen = async <T>(name: string, work: (file: ReadableFile) => T | Promise<T>): Promise<T> => {
    const blob = blobs.get(name) ?? openBlob(name);
    blob.users++;
    blob.recent = true;
    try {
      await blob.opening;
      return await work(blob.file!);
    } finally {
      blob.users--;
      letGo(blob);
      closeOldest();
    }
  };

  return {
    tryRead(name, offsetBytes, lengthBytes, target, at) {
      const blob = blobs.get(name);
      if (blob?.file === undefined) return false;
      blob.recent = true;
      return blob.file.tryRead(target, at, lengthBytes, offsetBytes);
    },
    read: (name, offsetBytes, lengthBytes, target, at) =>
      withOpen(name, async (file) => {
        let doneBytes = 0;
        while (doneBytes < lengthBytes) {
          const rest = lengthBytes - doneBytes;
          const bytesRead = await file.read(target, at + doneBytes, rest, offsetBytes + doneBytes);
          if (bytesRead === 0) break;
          doneBytes += bytesRead;
        }
        return doneBytes;
      }),
    forgetCached: (name) => withOpen(name, (file) => file.forgetCached()),
    willRead: (name, offsetBytes, lengthBytes) => blobs.get(name)?.file?.willRead(offsetBytes, lengthBytes),
    drop,
    async close() {
      for (const name of blobs.keys()) drop(name);
      await Promise.all(closing);
    },
  };
}
