/** Snapshots by timer: `snapshot_every` of the configuration. */
import type { Archive } from "../storage/cas/archive.ts";
import type { TargetSet } from "./target-set.ts";

/** Description of the snapshots that are made here, by which they are known again after a restart. */
export const SCHEDULED = "scheduled";

export interface ScheduledVolume {
  /** For the log. */
  readonly target: string;
  readonly archive: Pick<Archive, "snapshots" | "createSnapshot" | "hasChanged">;
  readonly volume: string;
  readonly everyMs: number;
}

export interface SnapshotSchedule {
  /** Takes on what is to be snapshotted from now on. What stays as it was keeps its times. */
  follow(volumes: readonly ScheduledVolume[]): void;
  /** Begins no more snapshots and waits for those under way. */
  close(): Promise<void>;
}

export interface ScheduleOptions {
  /** Milliseconds since 1970. */
  readonly nowMs: () => number;
  /** Calls back once after this long; returns what prevents it. */
  readonly setTimer: (callback: () => void, afterMs: number) => () => void;
  readonly tell: (message: string) => void;
  readonly report: (key: string, message: string) => void;
}

/** The volumes of a server that are to be snapshotted by timer. */
export function scheduledVolumes(targets: TargetSet): ScheduledVolume[] {
  return targets.list.flatMap(({ name, config, archive }) => {
    const { backend } = config;
    if (archive === undefined || backend.kind !== "cas" || backend.snapshotEveryMs === undefined) return [];
    return [{ ...archive, target: name, everyMs: backend.snapshotEveryMs }];
  });
}

interface Entry {
  readonly scheduled: ScheduledVolume;
  dueMs: number;
  cancel: () => void;
  cancelled: boolean;
}

/**
 * Makes a snapshot of each volume when its period has gone by since the newest that was made so, before a restart or
 * after: at once where that is overdue, or where there never was one. A volume that is as its newest snapshot says gets
 * none. One that failed is tried again when the next one is due.
 */
export function openSnapshotSchedule({ nowMs, setTimer, tell, report }: ScheduleOptions): SnapshotSchedule {
  let entries: readonly Entry[] = [];
  const running = new Set<Promise<void>>();

  const make = async ({ target, archive, volume, everyMs }: ScheduledVolume): Promise<void> => {
    try {
      if (!(await archive.hasChanged(volume))) return;
      const { id } = await archive.createSnapshot(volume, SCHEDULED);
      tell(`${target}: snapshot ${id} by timer`);
    } catch (error) {
      report(
        `${target}:schedule`,
        `target ${target}: the snapshot by timer failed: ${(error as Error).message}. ` +
          `It is tried again in ${Math.round(everyMs / 1000)} s, or make one with voe snapshot create ${target}`,
      );
    }
  };

  const plan = (entry: Entry): void => {
    entry.cancel = setTimer(
      () => {
        const made = make(entry.scheduled).then(() => {
          running.delete(made);
          if (entry.cancelled) return;
          const { everyMs } = entry.scheduled;
          // Counted from when it was due, so that what a snapshot takes does not add up; what was missed is left out.
          entry.dueMs += everyMs * Math.max(1, Math.ceil((nowMs() - entry.dueMs) / everyMs));
          plan(entry);
        });
        running.add(made);
      },
      // A clock that was set back must not put it off for longer than the period.
      Math.min(Math.max(0, entry.dueMs - nowMs()), entry.scheduled.everyMs),
    );
  };

  const begin = (scheduled: ScheduledVolume): Entry => {
    const newest = scheduled.archive
      .snapshots(scheduled.volume)
      .findLast(({ description }) => description === SCHEDULED);
    const now = nowMs();
    const dueMs = newest === undefined ? now : Math.max(now, newest.createdMs + scheduled.everyMs);
    const entry: Entry = { scheduled, dueMs, cancel: () => {}, cancelled: false };
    plan(entry);
    return entry;
  };

  const end = (entry: Entry): void => {
    entry.cancelled = true;
    entry.cancel();
  };

  return {
    follow(volumes) {
      const before = entries;
      for (const entry of before) if (!volumes.some((volume) => isKept(entry.scheduled, volume))) end(entry);
      entries = volumes.map((volume) => before.find(({ scheduled }) => isKept(scheduled, volume)) ?? begin(volume));
    },
    async close() {
      for (const entry of entries) end(entry);
      entries = [];
      await Promise.all(running);
    },
  };
}

/** Whether a volume is to be snapshotted as before. */
const isKept = (one: ScheduledVolume, other: ScheduledVolume): boolean =>
  one.archive === other.archive && one.volume === other.volume && one.everyMs === other.everyMs;
