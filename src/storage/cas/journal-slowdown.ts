/**
 * Writes slow down while the journal fills up and the store takes nothing: clients get slow before they get errors, and
 * a store that comes back after a while finds the journal with room left.
 */
import { eventLoop } from "../../base/event-loop.ts";
import type { Journal } from "./journal.ts";

/** The part of the journal's limit from which on writes are slowed. */
const FROM_PART = 0.75;
/** At each moment the room that is left would last for so long at the rate of then: the less there is, the slower. */
const ROOM_LASTS_MS = 60_000;
/** No write is kept waiting for longer: initiators send again what is not answered in some seconds. */
const DELAY_MOST_MS = 1000;

export interface JournalSlowdown {
  /** Whether writes are slowed now. */
  readonly isSlow: boolean;
  /** How long a write of so many bytes, which is about to be made, has to wait, in milliseconds. */
  delayMs(bytes: number): number;
}

export interface JournalSlowdownOptions {
  readonly journal: Pick<Journal, "sizeBytes" | "limitBytes">;
  /** Whether checkpoints fail, or would. Asked only while the journal is that full. */
  readonly isFailing: () => boolean;
  /** Is called when writes begin to be slowed. */
  readonly began: () => void;
}

export function journalSlowdown({ journal, isFailing, began }: JournalSlowdownOptions): JournalSlowdown {
  let wasSlow = false;
  let freeAtMs = 0;

  const isSlow = (): boolean => {
    const slow = journal.sizeBytes >= journal.limitBytes * FROM_PART && isFailing();
    if (slow && !wasSlow) began();
    wasSlow = slow;
    return slow;
  };

  return {
    get isSlow() {
      return isSlow();
    },
    delayMs(bytes) {
      if (bytes === 0 || !isSlow()) return 0;
      const nowMs = eventLoop.nowMs();
      const roomBytes = Math.max(bytes, journal.limitBytes - journal.sizeBytes);
      freeAtMs = Math.max(nowMs, freeAtMs) + (bytes / roomBytes) * ROOM_LASTS_MS;
      freeAtMs = Math.min(freeAtMs, nowMs + DELAY_MOST_MS);
      return freeAtMs - nowMs;
    },
  };
}
