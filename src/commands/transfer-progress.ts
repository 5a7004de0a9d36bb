/** How far a transfer is: a bar on a terminal, and a line now and then elsewhere. */
import { formatBytes, formatDuration } from "../base/human.ts";

const DRAW_EVERY_MS = 100;
const LINE_EVERY_MS = 10_000;
/** The rate is that of the last seconds: the first of a long transfer say little about the rest. */
const RATE_OVER_MS = 5000;
const BAR_CELLS = 24;
const CLEAR_REST_OF_LINE = "\u001b[K";

export interface Progress {
  /** So many bytes of the whole are done. */
  update(doneBytes: number): void;
  /** Says what happens once all bytes are on their way. */
  say(what: string): void;
  /** Removes the bar. */
  end(): void;
}

export interface ProgressOutput {
  readonly write: (text: string) => unknown;
  /** Columns of the terminal; undefined where it is none. */
  readonly columns: number | undefined;
}

/** The progress of `what` on stderr, beside whatever stdout is for. */
export function stderrProgress(what: string, totalBytes: number | undefined): Progress {
  const { stderr } = process;
  const columns = stderr.isTTY ? stderr.columns : undefined;
  return transferProgress({ write: (text) => stderr.write(text), columns }, what, totalBytes, () => performance.now());
}

/** `totalBytes` is undefined where nobody knows it. */
export function transferProgress(
  { write, columns }: ProgressOutput,
  what: string,
  totalBytes: number | undefined,
  nowMs: () => number,
): Progress {
  const everyMs = columns === undefined ? LINE_EVERY_MS : DRAW_EVERY_MS;
  const samples: { atMs: number; bytes: number }[] = [{ atMs: nowMs(), bytes: 0 }];
  let shownMs = columns === undefined ? samples[0]!.atMs : -Infinity;

  const show = (text: string): void => {
    write(columns === undefined ? `${what}: ${text}\n` : `\r${text.slice(0, columns - 1)}${CLEAR_REST_OF_LINE}`);
  };

  const describe = (doneBytes: number, rate: number): string => {
    const speed = `${formatBytes(rate)}/s`;
    if (totalBytes === undefined) return `${formatBytes(doneBytes)}, ${speed}`;
    const part = totalBytes === 0 ? 1 : doneBytes / totalBytes;
    const cells = Math.round(part * BAR_CELLS);
    const bar = columns === undefined ? "" : `[${"#".repeat(cells)}${"-".repeat(BAR_CELLS - cells)}] `;
    const left = rate > 0 ? `, ${formatDuration(Math.ceil((totalBytes - doneBytes) / rate))} left` : "";
    return `${bar}${Math.floor(part * 100)} %, ${formatBytes(doneBytes)} of ${formatBytes(totalBytes)}, ${speed}${left}`;
  };

  return {
    update(doneBytes) {
      const now = nowMs();
      if (now - shownMs < everyMs) return;
      shownMs = now;
      samples.push({ atMs: now, bytes: doneBytes });
      while (samples.length > 2 && now - samples[1]!.atMs > RATE_OVER_MS) samples.shift();
      const { atMs, bytes } = samples[0]!;
      const rate = now > atMs ? (doneBytes - bytes) / ((now - atMs) / 1000) : 0;
      show(describe(doneBytes, rate));
    },
    say: (text) => {
      if (columns !== undefined) show(text);
    },
    end: () => {
      if (columns !== undefined) write(`\r${CLEAR_REST_OF_LINE}`);
    },
  };
}
