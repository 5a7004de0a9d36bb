/** Since when the oldest write waits that is in the journal and not in the store. */
import { eventLoop } from "../../base/event-loop.ts";

const LOOK_EVERY_MS = 1000;
/** Moments that are remembered; of more, every other one, and new ones twice as far apart: the age is told roughly. */
const MOMENTS_MOST = 256;

export interface OldestWriteOptions {
  /** Number of the next record of the journal, and of the last one that the store has everything up to. */
  readonly nextSequence: () => number;
  readonly coveredSequence: () => number;
  /** Milliseconds since 1970. */
  readonly nowMs: () => number;
}

export interface OldestWrite {
  /** Since when the oldest write waits, in milliseconds since 1970 and to a second; undefined: none does, as far as was seen. */
  sinceMs(): number | undefined;
  close(): void;
}

/** Looks at the journal every second. What it has from an earlier run counts from now. */
export function watchOldestWrite({ nextSequence, coveredSequence, nowMs }: OldestWriteOptions): OldestWrite {
  /** When it was seen first that the journal had records from a number on. */
  let moments: { readonly fromSequence: number; readonly atMs: number }[] = [];
  let apartMs = 0;
  let seenSequence = Math.min(nextSequence(), coveredSequence() + 1);

  const look = (): void => {
    const next = nextSequence();
    if (next > seenSequence && nowMs() - (moments.at(-1)?.atMs ?? 0) >= apartMs) {
      moments.push({ fromSequence: seenSequence, atMs: nowMs() });
      seenSequence = next;
    }
    const covered = coveredSequence();
    // A moment is past once the next one begins within what is covered: its records are all before that.
    while (moments.length > 0 && (moments[1]?.fromSequence ?? next) <= covered + 1) moments.shift();
    if (moments.length === 0) {
      seenSequence = Math.max(seenSequence, Math.min(next, covered + 1));
      apartMs = 0;
    }
    if (moments.length <= MOMENTS_MOST) return;
    moments = moments.filter((_, index) => index % 2 === 0);
    apartMs = Math.max(LOOK_EVERY_MS, apartMs) * 2;
  };
  look();
  const stop = eventLoop.every(LOOK_EVERY_MS, look);

  return {
    sinceMs() {
      look();
      return moments[0]?.atMs;
    },
    close: stop,
  };
}
