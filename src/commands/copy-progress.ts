/** How far a copy is, on stderr: a bar on a terminal, a line now and then elsewhere. */
import { log } from "../base/log.ts";
import type { CopyEvents } from "../storage/cas/copy/copy-store.ts";
import { stderrProgress, type Progress } from "./transfer-progress.ts";

const INDEX_EVERY_MS = 2000;

export interface CopyDisplay {
  readonly events: CopyEvents;
  /** Writes something else to stderr. */
  aside(write: () => void): void;
  hide(): void;
}

export function copyEvents(): CopyDisplay {
  let bar: Progress | undefined;
  let nextIndexMs = performance.now() + INDEX_EVERY_MS;
  const hide = (): void => bar?.end();
  return {
    events: {
      indexing(store, done, total) {
        if (performance.now() < nextIndexMs) return;
        nextIndexMs = performance.now() + INDEX_EVERY_MS;
        log.info(`${store}: reading the directories of packs, ${done} of ${total}`);
      },
      planned(volumes, totalBytes) {
        const names = volumes.filter(({ missing }) => missing.length > 0).map(({ name }) => name);
        if (names.length > 0) bar = stderrProgress(`copy of ${names.join(", ")}`, totalBytes);
      },
      progress: (doneBytes) => bar?.update(doneBytes),
      copied() {},
    },
    aside(write) {
      hide();
      write();
    },
    hide,
  };
}
