import { setTimeout as sleep } from "node:timers/promises";
import { defineCommand } from "citty";
import { log } from "../base/log.ts";
import { controlPaths, fetchStatus } from "../control/client.ts";
import type { StatusReport } from "../control/status.ts";
import { renderStatus } from "./status-tables.ts";

const WATCH_INTERVAL_MS = 1000;

const CLEAR_REST_OF_LINE = "\u001b[K";
const CLEAR_REST_OF_SCREEN = "\u001b[J";
const TO_TOP = "\u001b[H";
const ENTER_SCREEN = "\u001b[?1049h\u001b[?25l";
const LEAVE_SCREEN = "\u001b[?25h\u001b[?1049l";

export const statusCommand = defineCommand({
  meta: { name: "status", description: "Targets, interfaces and clients of a running server" },
  args: {
    json: { type: "boolean", description: "Print the report as JSON, with --watch one line each second" },
    watch: { type: "boolean", description: "Show it again each second, with rates" },
    control: { type: "string", valueHint: "PATH", description: "Control socket of the server" },
  },
  async run({ args }) {
    const paths = controlPaths(args.control, process.env);
    const output = terminalOutput(process.stdout);
    if (args.watch === true) await watch(paths, args.json === true, output);
    else output.write(lines(await fetchStatus(paths), args.json === true));
  },
});

const lines = (report: StatusReport, json: boolean): readonly string[] =>
  json ? [JSON.stringify(report, undefined, 2)] : renderStatus(report);

interface Output {
  readonly write: (text: readonly string[]) => void;
  /** The screen to draw in again and again; absent where stdout is no terminal. */
  readonly screen?: { enter(): void; draw(text: readonly string[]): void; leave(): void };
}

function terminalOutput(stdout: NodeJS.WriteStream): Output {
  const write = (text: readonly string[]): void => void stdout.write(`${text.join("\n")}\n`);
  if (!stdout.isTTY) return { write };
  return {
    write,
    screen: {
      enter: () => void stdout.write(ENTER_SCREEN),
      draw: (text) => void stdout.write(screenful(text, stdout.columns, stdout.rows)),
      leave: () => void stdout.write(LEAVE_SCREEN),
    },
  };
}

/** What replaces the screen's content with these lines, cut to its size. Drawn over, not cleared: that flickers. */
export function screenful(text: readonly string[], columns: number, rows: number): string {
  const shown = text.slice(0, rows).map((line) => Bun.sliceAnsi(line, 0, columns) + CLEAR_REST_OF_LINE);
  return TO_TOP + shown.join("\r\n") + CLEAR_REST_OF_SCREEN;
}

/**
 * Shows the report each second until SIGINT or SIGTERM. A server that does not answer at first is an error; one that
 * stops answering may be on its way back.
 */
async function watch(paths: readonly string[], json: boolean, output: Output): Promise<void> {
  const stopped = new AbortController();
  const stop = (): void => stopped.abort();
  process.once("SIGINT", stop).once("SIGTERM", stop);
  let earlier = await fetchStatus(paths);
  const screen = json ? undefined : output.screen;
  const show = (text: readonly string[]): void => (screen === undefined ? output.write(text) : screen.draw(text));
  screen?.enter();
  try {
    show(json ? [JSON.stringify(earlier)] : renderStatus(earlier));
    while (await pause(stopped.signal)) {
      try {
        const report = await fetchStatus(paths);
        const text = json ? [JSON.stringify(report)] : renderStatus(report, earlier);
        show(screen === undefined && !json ? ["", ...text] : text);
        earlier = report;
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        if (screen === undefined) log.warn(reason);
        else screen.draw([reason, "", "Asking again each second."]);
      }
    }
  } finally {
    screen?.leave();
  }
}

/** Waits until the next report is due: true, or false as soon as the watch was stopped. */
const pause = (signal: AbortSignal): Promise<boolean> => sleep(WATCH_INTERVAL_MS, true, { signal }).catch(() => false);
