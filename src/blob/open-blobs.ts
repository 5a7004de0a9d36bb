/** The descriptors of a file store: blobs never change, so one that was opened once is kept for the next read. */
import { close, open, read } from "node:fs";
import { promisify } from "node:util";
import { dropCached, readAhead, readCached } from "../../ffi/file.ts";
import type { Memory } from "../base/memory.ts";

interface OpenBlob {
  /** -1 until it is open. */
  fd: number;
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
export function createOpenBlobs(pathOf: (name: string) => string, most: number): OpenBlobs {
  const blobs = new Map<string, OpenBlob>();
  const closing = new Set<Promise<void>>();

  const letGo = (blob: OpenBlob): void => {
    if (!blob.dropped || blob.users > 0 || blob.fd < 0) return;
    // Off the event loop: where the blob was deleted, its space is freed now.
    const closed = promisify(close)(blob.fd).catch(() => {
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
    const blob: OpenBlob = { fd: -1, opening: Promise.resolve(), users: 0, recent: true, dropped: false };
    blob.opening = promisify(open)(pathOf(name), "r").then(
      (fd) => void (blob.fd = fd),
      (error: unknown) => {
        if (blobs.get(name) === blob) blobs.delete(name);
        throw error;
      },
    );
    blobs.set(name, blob);
    return blob;
  };

  const withOpen = async <T>(name: string, work: (fd: number) => T | Promise<T>): Promise<T> => {
    const blob = blobs.get(name) ?? openBlob(name);
    blob.users++;
    blob.recent = true;
    try {
      await blob.opening;
      return await work(blob.fd);
    } finally {
      blob.users--;
      letGo(blob);
      closeOldest();
    }
  };

  return {
    tryRead(name, offsetBytes, lengthBytes, target, at) {
      const blob = blobs.get(name);
      if (blob === undefined || blob.fd < 0) return false;
      blob.recent = true;
      return readCached(blob.fd, target.address + at, lengthBytes, offsetBytes) === lengthBytes;
    },
    read: (name, offsetBytes, lengthBytes, target, at) =>
      withOpen(name, async (fd) => {
        let doneBytes = 0;
        while (doneBytes < lengthBytes) {
          const bytesRead = await readSome(
            fd,
            target,
            at + doneBytes,
            lengthBytes - doneBytes,
            offsetBytes + doneBytes,
          );
          if (bytesRead === 0) break;
          doneBytes += bytesRead;
        }
        return doneBytes;
      }),
    forgetCached: (name) => withOpen(name, (fd) => dropCached(fd)),
    willRead(name, offsetBytes, lengthBytes) {
      const blob = blobs.get(name);
      if (blob !== undefined && blob.fd >= 0) readAhead(blob.fd, offsetBytes, lengthBytes);
    },
    drop,
    async close() {
      for (const name of blobs.keys()) drop(name);
      await Promise.all(closing);
    },
  };
}

const readSome = (fd: number, target: Memory, at: number, lengthBytes: number, offsetBytes: number): Promise<number> =>
  new Promise((resolve, reject) => {
    read(fd, target.bytes, at, lengthBytes, offsetBytes, (error, bytesRead) => {
      if (error) reject(error);
      else resolve(bytesRead);
    });
  });
