/** What was answered and is in the journal alone: how much, since when, and that writes slow down for it. */
import { formatBytes, formatDuration } from "../../base/human.ts";
import type { Journal } from "./journal.ts";
import { journalSlowdown, type JournalSlowdown } from "./journal-slowdown.ts";
import type { KeptVolume } from "./kept-volume.ts";
import { watchOldestWrite } from "./oldest-write.ts";

export interface StoreBacklogOptions {
  readonly journal: Pick<Journal, "sizeBytes" | "limitBytes" | "nextSequence">;
  readonly volumes: () => readonly Pick<KeptVolume, "volume" | "coveredSequence">[];
  /** Whether the store takes nothing. Asked only while the journal is getting full. */
  readonly isFailing: () => boolean;
  /** The store, for people. */
  readonly store: string;
  /** Milliseconds since 1970. */
  readonly nowMs: () => number;
  readonly report: (key: string, message: string) => void;
}

export interface BacklogStatistics {
  /** Bytes of the journal, where anything in it is not in the store. */
  readonly bytes: number;
  /** Since when the oldest of it waits, in milliseconds since 1970; undefined: there is none. */
  readonly sinceMs: number | undefined;
  /** Whether writes are slowed because the store takes nothing. */
  readonly slowsWrites: boolean;
}

export interface StoreBacklog {
  readonly slowdown: JournalSlowdown;
  statistics(): BacklogStatistics;
  close(): void;
}

export function storeBacklog(options: StoreBacklogOptions): StoreBacklog {
  const { journal, volumes, isFailing, store, nowMs, report } = options;
  const oldest = watchOldestWrite({
    nextSequence: () => journal.nextSequence,
    coveredSequence: () => Math.min(...volumes().map((kept) => kept.coveredSequence)),
    nowMs,
  });
  const isEmpty = (): boolean => volumes().every(({ volume }) => volume.dirtyBlockCount === 0);
  const slowdown = journalSlowdown({
    journal,
    isFailing,
    began() {
      const age = formatDuration((nowMs() - (oldest.sinceMs() ?? nowMs())) / 1000);
      report(
        "journal:slow",
        `${store} takes nothing, and the journal fills up: ${formatBytes(journal.sizeBytes)} of ` +
          `${formatBytes(journal.limitBytes)} wait for it, the oldest for ${age}. Writes are slowed from now on, and ` +
          `refused when it is full. See that the store can be reached`,
      );
    },
  });
  return {
    slowdown,
    statistics: () =>
      isEmpty()
        ? { bytes: 0, sinceMs: undefined, slowsWrites: false }
        : { bytes: journal.sizeBytes, sinceMs: oldest.sinceMs(), slowsWrites: slowdown.isSlow },
    close: () => oldest.close(),
  };
}
