/**
 * Readers who go through a volume from front to back, and the extents that they come to next, which are fetched before
 * they ask for them. Many requests of one reader are outstanding at once, so their order is only about right.
 */
import { eventLoop } from "../../base/event-loop.ts";
import { EXTENT_SECTORS } from "./sector-mask.ts";

/** Readers that are followed at once in a volume. */
const STREAMS = 4;
/** How far from where a reader is expected a request may be to be taken for its. */
const SLACK_SECTORS = 2 * EXTENT_SECTORS;
/** Requests that follow on each other before they are taken for a reader: two can be chance. */
const LEAST_RUN = 2;
/** Extents on their way from a medium at once. */
const MOST_UNDER_WAY = 8;
/** How long extents are fetched from memory before requests get their turn. One takes about 70 us. */
const SLICE_MS = 0.1;

/** What `fetch` says besides a promise, which ends when what was begun has: it is there; there is no room for it. */
export const FETCHED = 0;
export const NO_ROOM = 1;

export interface ReadAheadOptions {
  /** How far ahead of a reader, in extents; 0: not at all. */
  readonly mostExtents: number;
  /** Extents of the volume now. */
  readonly extentCount: () => number;
  readonly fetch: (extent: number) => typeof FETCHED | typeof NO_ROOM | Promise<unknown>;
}

export interface ReadAhead {
  /** Notes a read that the cache has no answer to. True: it is one of a reader who goes through from front to back. */
  missed(sector: number, count: number): boolean;
  /** Notes that a reader has come to an extent that was fetched ahead. */
  reached(extent: number): void;
  /** Fetches nothing more. */
  close(): void;
}

interface Stream {
  nextSector: number;
  run: number;
  /** The next extent to be fetched, and the one before which fetching ends for now. */
  ahead: number;
  goal: number;
  window: number;
  /** The extent that the reader is at. */
  at: number;
  usedAt: number;
}

export function readAhead({ mostExtents, extentCount, fetch }: ReadAheadOptions): ReadAhead {
  const streams: Stream[] = Array.from({ length: STREAMS }, () => ({
    nextSector: -Infinity,
    run: 0,
    ahead: 0,
    goal: 0,
    window: 1,
    at: -1,
    usedAt: 0,
  }));
  let time = 0;
  let underWay = 0;
  let scheduled = false;
  let closed = false;

  const begin = (nextSector: number, run: number): Stream => {
    let oldest = streams[0]!;
    for (const stream of streams) if (stream.usedAt < oldest.usedAt) oldest = stream;
    return Object.assign(oldest, { nextSector, run, ahead: 0, goal: 0, window: 1, at: -1 });
  };

  const schedule = (): void => {
    if (scheduled || closed) return;
    scheduled = true;
    // Behind the requests that wait.
    void eventLoop.turn().then(() => {
      scheduled = false;
      if (!closed) pump();
    });
  };

  const pump = (): void => {
    const startMs = eventLoop.nowMs();
    for (const stream of streams) {
      const end = extentCount();
      while (stream.ahead < Math.min(stream.goal, end)) {
        if (underWay >= MOST_UNDER_WAY) return;
        if (eventLoop.nowMs() - startMs > SLICE_MS) {
          schedule();
          return;
        }
        const outcome = fetch(stream.ahead);
        if (outcome === NO_ROOM) {
          // The reader asks again when it gets there.
          stream.goal = stream.ahead;
          break;
        }
        stream.ahead++;
        if (outcome === FETCHED) continue;
        underWay++;
        void outcome.then(() => {
          underWay--;
          schedule();
        });
      }
    }
  };

  /** A stream's reader is at an extent: what it comes to next is wanted, the more the longer it has gone on. */
  const follow = (stream: Stream, extent: number): void => {
    if (mostExtents === 0 || extent <= stream.at) return;
    stream.at = extent;
    stream.window = Math.min(stream.window * 2, mostExtents);
    stream.ahead = Math.max(stream.ahead, extent + 1);
    stream.goal = Math.max(stream.goal, extent + 1 + stream.window);
    schedule();
  };

  return {
    missed(sector, count) {
      time++;
      const end = sector + count;
      for (const stream of streams) {
        if (Math.abs(sector - stream.nextSector) > SLACK_SECTORS) continue;
        stream.usedAt = time;
        // A read that is tried first and waits then is noted twice.
        if (end > stream.nextSector) {
          stream.nextSector = end;
          stream.run++;
        }
        if (stream.run < LEAST_RUN) return false;
        follow(stream, Math.floor((end - 1) / EXTENT_SECTORS));
        return true;
      }
      begin(end, 0).usedAt = time;
      return false;
    },
    reached(extent) {
      time++;
      const sector = extent * EXTENT_SECTORS;
      const known = streams.find(({ ahead }) => extent < ahead && extent >= ahead - 2 * mostExtents - 1);
      const stream = known ?? begin(sector, LEAST_RUN);
      stream.usedAt = time;
      stream.nextSector = Math.max(stream.nextSector, sector);
      follow(stream, extent);
    },
    close() {
      closed = true;
    },
  };
}
