import type { Programs } from "./programs.ts";
import type { Row } from "./rows.ts";
import { CLIENT_CPU, type Server } from "./server.ts";

/** What one run, or the medians of several, came to. */
export interface Measurement {
  readonly iops: number;
  readonly p50Us: number;
  readonly p99Us: number;
  /** Server CPU per request, in microseconds. */
  readonly cpuUs: number;
  /** Share of the time in which the client had nothing to do: near 0, the client was the limit. */
  readonly clientIdle: number;
  readonly retransmits: number;
  /** Requests outstanding: fewer than asked for where the target's buffers are fewer. */
  readonly window: number;
}

/** Where a server's clients find it. */
export interface Address {
  readonly namespace: string;
  readonly interface: string;
  readonly shelf: number;
  readonly slot: number;
}

/** load.c's line of JSON, as far as it is used. */
interface LoadReport {
  readonly error?: string;
  readonly iops: number;
  readonly p50_us: number;
  readonly p99_us: number;
  readonly done_in_all: number;
  readonly retransmits: number;
  readonly errors: number;
  readonly bad: number;
  readonly unanswered: number;
  readonly client_idle: number;
  readonly window: number;
}

async function runLoad(programs: Programs, at: Address, options: string[], signal: AbortSignal): Promise<LoadReport> {
  const target = [at.interface, `${at.shelf}`, `${at.slot}`];
  const pinned = ["ip", "netns", "exec", at.namespace, "taskset", "-c", `${CLIENT_CPU}`, programs.load];
  const child = Bun.spawn([...pinned, ...options, "-j", ...target], { stdout: "pipe", stderr: "pipe", signal });
  const [text, complaints] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  signal.throwIfAborted();
  if (!text.trim()) throw new Error(`the load generator failed (${options.join(" ")}): ${complaints.trim()}`);
  return JSON.parse(text) as LoadReport;
}

/** Resolves when the target has answered. Rejects when it has not within five seconds. */
export async function awaitTarget(programs: Programs, server: Server, at: Address, signal: AbortSignal): Promise<void> {
  const { error } = await runLoad(programs, at, ["-m", "identify"], signal);
  if (error !== undefined) {
    throw new Error(`${server.name} does not answer on ${at.interface}: ${error}\n${server.complaints()}`.trim());
  }
}

/** Measures one row for so many seconds. Rejects when a request failed or was not answered: that is no figure. */
export async function measure(
  programs: Programs,
  server: Server,
  at: Address,
  row: Row,
  seconds: number,
  signal: AbortSignal,
): Promise<Measurement> {
  const size = ["-m", row.mode, "-s", `${row.sectors}`, "-w", `${row.window}`];
  const before = server.cpuSeconds();
  const report = await runLoad(programs, at, [...size, "-t", `${seconds}`, "-W", `${seconds / 5}`], signal);
  const cpuSeconds = server.cpuSeconds() - before;
  const { errors, bad, unanswered } = report;
  if (report.error !== undefined || errors > 0 || bad > 0 || unanswered > 0 || report.done_in_all === 0) {
    const what = report.error ?? `${errors} failed, ${bad} answered wrongly, ${unanswered} unanswered`;
    throw new Error(`${server.name}, ${row.name}: ${what}\n${server.complaints()}`.trim());
  }
  return {
    iops: report.iops,
    p50Us: report.p50_us,
    p99Us: report.p99_us,
    // The warm-up's requests are in both figures.
    cpuUs: (cpuSeconds * 1e6) / report.done_in_all,
    clientIdle: report.client_idle,
    retransmits: report.retransmits,
    window: report.window,
  };
}

/** The median of an even number of values is the mean of the two in the middle. */
function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Each figure's median over the rounds, except for retransmissions, which are all counted. */
export function summarise(rounds: readonly Measurement[]): Measurement {
  const medianOf = (figure: keyof Measurement): number => median(rounds.map((round) => round[figure]));
  return {
    iops: medianOf("iops"),
    p50Us: medianOf("p50Us"),
    p99Us: medianOf("p99Us"),
    cpuUs: medianOf("cpuUs"),
    clientIdle: medianOf("clientIdle"),
    retransmits: rounds.reduce((sum, round) => sum + round.retransmits, 0),
    window: medianOf("window"),
  };
}
