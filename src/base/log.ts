/**
 * Logging for people and for journals: to stderr only, since stdout belongs to what a command prints. On a terminal
 * consola's coloured lines; elsewhere one line per message with a time stamp.
 */
import { createConsola, LogLevels, type ConsolaReporter, type LogObject } from "consola";
import { printable } from "./printable.ts";

/** As in the configuration's `log_level`. */
type LogLevel = "error" | "warn" | "info" | "debug";

/** What the line of a message begins with, by consola's type of it. */
const LINE_NAMES: Record<string, string> = { fatal: "error", log: "info", success: "info", ready: "info" };

/** The text of an error with that of its causes; the stack too where asked for. */
function errorText(error: Error, withStack: boolean): string {
  const own = withStack ? (error.stack ?? error.message) : error.message;
  return error.cause instanceof Error ? `${own}: ${errorText(error.cause, withStack)}` : own;
}

function argumentText(argument: unknown, withStack: boolean): string {
  if (typeof argument === "string") return argument;
  return argument instanceof Error ? errorText(argument, withStack) : Bun.inspect(argument);
}

/** One message as one line without its newline, whatever it holds: `2026-01-31T12:00:00.000Z warn text`. */
export function formatLogLine(entry: Pick<LogObject, "date" | "type" | "args">, withStack = false): string {
  const text = entry.args.map((argument) => argumentText(argument, withStack)).join(" ");
  const line = printable(text.replace(/\s*\n\s*/g, " | "));
  return `${entry.date.toISOString()} ${LINE_NAMES[entry.type] ?? entry.type} ${line}`;
}

const lines: ConsolaReporter = {
  log: (entry) => void process.stderr.write(`${formatLogLine(entry, log.level >= LogLevels.debug)}\n`),
};

const onTerminal = process.stderr.isTTY && process.env["NO_COLOR"] === undefined;

/** The log of this process. */
export const log = createConsola({
  level: LogLevels.info,
  stdout: process.stderr,
  stderr: process.stderr,
  ...(onTerminal ? { formatOptions: { date: false } } : { reporters: [lines] }),
});

/** Shows messages of this level and graver. */
export function setLogLevel(level: LogLevel): void {
  log.level = LogLevels[level];
}

/** Writes a message unless its key had one within the interval. */
export type RateLimitedLog = (key: string, message: string) => void;

/** Keys may come from the wire (a MAC address), so only this many are told apart; the rest share one. */
const MOST_KEYS = 64;
const OTHER_KEYS = "other";

/**
 * Puts a bound on what the wire can make us log: `write` gets at most one message per key and interval. At the end
 * of an interval in which messages were held back it gets the last of them, with the number of those held back.
 */
export function rateLimited(write: (message: string) => void, intervalMs = 10_000): RateLimitedLog {
  const heldBack = new Map<string, { count: number; last: string }>();
  const quietUntilEndOfInterval = (key: string): void => {
    heldBack.set(key, { count: 0, last: "" });
    setTimeout(() => endInterval(key), intervalMs).unref();
  };
  const endInterval = (key: string): void => {
    const held = heldBack.get(key);
    heldBack.delete(key);
    if (held === undefined || held.count === 0) return;
    const others = held.count - 1;
    write(others === 0 ? held.last : `${held.last} (and ${others} more like it in ${intervalMs / 1000} s)`);
    quietUntilEndOfInterval(key);
  };
  return (key, message) => {
    const known = heldBack.has(key) || heldBack.size < MOST_KEYS ? key : OTHER_KEYS;
    const held = heldBack.get(known);
    if (held === undefined) {
      quietUntilEndOfInterval(known);
      write(message);
    } else {
      held.count += 1;
      held.last = message;
    }
  };
}
