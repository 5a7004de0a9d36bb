/**
 * Notices that packs are read from front to back, and has the store fetch what comes next: the system's own read-ahead
 * is 128 KiB on most devices, begins anew with every pack, and does not know that the next pack's directory comes first.
 */
import type { BlobStore } from "../../blob/blob-store.ts";
import type { KnownPack, PackDirectories } from "./pack-directories.ts";

/** How far it goes ahead, and the least that is asked for at a time. */
const AHEAD_BYTES = 4 * 2 ** 20;
const PIECE_BYTES = 2 ** 20;
/** What was read in order before it begins. */
const PROOF_BYTES = 256 * 1024;
/** Requests of one reader overtake each other, and skip what is elsewhere, by less than that. */
const SLACK_BYTES = 2 ** 20;
/** Readers that are told apart. */
const STREAMS = 4;

export interface ReadAhead {
  /** Notes that this part of a pack is being read. Allocates nothing but where it goes on to another pack. */
  note(pack: KnownPack, offsetBytes: number, lengthBytes: number): void;
}

interface Stream {
  /** Pack that is being read; -1: none. */
  number: number;
  /** Up to where it was read, and how much of that in order. */
  endBytes: number;
  orderedBytes: number;
  /** Up to where the store was told of it. */
  toldBytes: number;
}

export function createReadAhead(blobs: BlobStore, directories: PackDirectories): ReadAhead {
  const streams: Stream[] = Array.from({ length: STREAMS }, () => ({
    number: -1,
    endBytes: 0,
    orderedBytes: 0,
    toldBytes: 0,
  }));
  let nextToReplace = 0;

  const streamOf = (number: number, offsetBytes: number): Stream => {
    for (const stream of streams) {
      if (stream.number === number && Math.abs(offsetBytes - stream.endBytes) < SLACK_BYTES) return stream;
      // It goes on with the next pack.
      if (stream.number === number - 1 && stream.orderedBytes >= PROOF_BYTES && offsetBytes < SLACK_BYTES) {
        stream.number = number;
        stream.endBytes = offsetBytes;
        stream.toldBytes = AHEAD_BYTES;
        return stream;
      }
    }
    const stream = streams[nextToReplace]!;
    nextToReplace = (nextToReplace + 1) % STREAMS;
    stream.number = number;
    stream.endBytes = offsetBytes;
    stream.orderedBytes = 0;
    stream.toldBytes = 0;
    return stream;
  };

  /** Fetches the beginning of a pack, and its directory where that is not in memory. */
  const fetchBeginning = async (number: number): Promise<void> => {
    try {
      const pack = directories.tryGet(number) ?? (await directories.load(number));
      if (pack !== undefined) blobs.willRead?.(pack.blobName, 0, Math.min(AHEAD_BYTES, pack.directory.dataBytes));
    } catch {
      // There may be none, and whoever reads it will say what is wrong with it.
    }
  };

  return {
    note(pack, offsetBytes, lengthBytes) {
      if (blobs.willRead === undefined) return;
      const stream = streamOf(pack.number, offsetBytes);
      const endBytes = offsetBytes + lengthBytes;
      if (endBytes <= stream.endBytes) return;
      stream.orderedBytes += lengthBytes;
      stream.endBytes = endBytes;
      if (stream.orderedBytes < PROOF_BYTES) return;
      const from = Math.max(endBytes, stream.toldBytes);
      if (from - endBytes > AHEAD_BYTES - PIECE_BYTES) return;
      const { dataBytes } = pack.directory;
      if (from >= dataBytes) return;
      const to = Math.min(dataBytes, endBytes + AHEAD_BYTES);
      stream.toldBytes = to;
      blobs.willRead(pack.blobName, from, to - from);
      if (to === dataBytes) void fetchBeginning(pack.number + 1);
    },
  };
}
