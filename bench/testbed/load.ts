import { median } from "./median.ts";
import { CLIENT_CPU, type Server } from "./server.ts";

const MODE_NAMES = {
  read: "random read",
  write: "random write",
  seqread: "sequential read",
  seqwrite: "sequential write",
};

/** What a client asks for. */
export interface Load {
  readonly name: string;
  readonly mode: keyof typeof MODE_NAMES;
  readonly sectors: number;
  /** Requests outstanding at any time. */
  readonly window: number;
  /** What is written: `rand`, or `dupN`, N different blocks of 4 KiB; `rand` unless given. */
  readonly data?: string;
}

export const load = (mode: Load["mode"], kib: number, window: number): Load => ({
  name: `${MODE_NAMES[mode]} ${kib} KiB, ${window} outstanding`,
  mode,
  sectors: kib * 2,
  window,
});

/** How long a client goes on: so many seconds after a fifth of them as warm-up, or so many requests. */
export type Extent = { readonly seconds: number } | { readonly requests: number };

/** Any number of requests has to be done by then. */
const REQUESTS_LIMIT_S = 600;

/** What one run, or the medians of several, came to. */
export interface Measurement {
  readonly iops: number;
  readonly p50Us: number;
  readonly p99Us: number;
  /** The longest that a request took. */
  readonly longestUs: number;
  /** Server CPU per request, in microseconds. */
  readonly cpuUs: number;
  /** Share of the time in which the client had nothing to do: near 0, the client was the limit. */
  readonly clientIdle: number;
  readonly retransmits: number;
  /** Requests outstanding: fewer than asked for where the target's buffers are fewer. */
  readonly window: number;
  /** All requests of the run, those of the warm-up included. */
  readonly requests: number;
}

/** Where a server's clients find it. */
export interface Address {
  readonly namespace: string;
  readonly interface: string;
  readonly shelf: number;
  readonly slot: number;
}

/** A client, ready to run. */
export interface Client {
  /** Path of the compiled load.c. */
  readonly program: string;
  readonly server: Server;
  readonly at: Address;
  /** Ends whatever it does. */
  readonly signal: AbortSignal;
}

/** load.c's line of JSON, as far as it is used. */
interface LoadReport {
  readonly error?: string;
  readonly iops: number;
  readonly p50_us: number;
  readonly p99_us: number;
  readonly max_us: number;
  readonly done_in_all: number;
  readonly retransmits: number;
  readonly errors: number;
  readonly bad: number;
  readonly unanswered: number;
  readonly client_idle: number;
  readonly window: number;
}

interface Run {
  readonly report: Promise<LoadReport>;
  /** Ends it as its time does. */
  end(): void;
}

function startLoad({ program, at, signal }: Client, options: readonly string[]): Run {
  const target = [at.interface, `${at.shelf}`, `${at.slot}`];
  const pinned = ["ip", "netns", "exec", at.namespace, "taskset", "-c", `${CLIENT_CPU}`, program];
  const child = Bun.spawn([...pinned, ...options, "-j", ...target], { stdout: "pipe", stderr: "pipe", signal });
  const finish = async (): Promise<LoadReport> => {
    const [text, complaints] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
    signal.throwIfAborted();
    if (!text.trim()) throw new Error(`the load generator failed (${options.join(" ")}): ${complaints.trim()}`);
    return JSON.parse(text) as LoadReport;
  };
  return { report: finish(), end: () => child.kill("SIGTERM") };
}

/** Resolves when the target has answered. Rejects when it has not within five seconds. */
export async function awaitTarget(client: Client): Promise<void> {
  const { server, at } = client;
  const { error } = await startLoad(client, ["-m", "identify"]).report;
  if (error !== undefined) {
    throw new Error(`${server.name} does not answer on ${at.interface}: ${error}\n${server.complaints()}`.trim());
  }
}

/** Throws when a request failed or was not answered: that is no figure. */
function assertAnswered({ server }: Client, name: string, report: LoadReport): void {
  const { errors, bad, unanswered } = report;
  if (report.error === undefined && errors === 0 && bad === 0 && unanswered === 0 && report.done_in_all > 0) return;
  const what = report.error ?? `${errors} failed, ${bad} answered wrongly, ${unanswered} unanswered`;
  throw new Error(`${server.name}, ${name}: ${what}\n${server.complaints()}`.trim());
}

const optionsOf = ({ mode, sectors, window, data }: Load): string[] => [
  "-m",
  mode,
  "-s",
  `${sectors}`,
  "-w",
  `${window}`,
  ...(data === undefined ? [] : ["-d", data]),
];

/** Measures one load. Rejects when a request failed or was not answered. */
export async function measure(client: Client, work: Load, extent: Extent): Promise<Measurement> {
  const { server } = client;
  const until =
    "seconds" in extent
      ? ["-t", `${extent.seconds}`, "-W", `${extent.seconds / 5}`]
      : ["-N", `${extent.requests}`, "-t", `${REQUESTS_LIMIT_S}`];
  const before = server.cpuSeconds();
  const report = await startLoad(client, [...optionsOf(work), ...until]).report;
  const cpuSeconds = server.cpuSeconds() - before;
  assertAnswered(client, work.name, report);
  return {
    iops: report.iops,
    p50Us: report.p50_us,
    p99Us: report.p99_us,
    longestUs: report.max_us,
    // The warm-up's requests are in both figures.
    cpuUs: (cpuSeconds * 1e6) / report.done_in_all,
    clientIdle: report.client_idle,
    retransmits: report.retransmits,
    window: report.window,
    requests: report.done_in_all,
  };
}

/** What a load saw while something else was done. */
export interface Watched<T> {
  readonly result: T;
  /** The longest that a request took, in milliseconds. */
  readonly longestMs: number;
  readonly iops: number;
}

/** No request is sent again, so that the one that took longest counts once and whole. */
const NEVER_MS = 60_000;

/** Does something while a client asks at most so many times a second. */
export async function watch<T>(
  client: Client,
  work: Load,
  perSecond: number,
  during: () => Promise<T>,
): Promise<Watched<T>> {
  const pace = ["-R", `${perSecond}`, "-r", `${NEVER_MS}`, "-t", `${REQUESTS_LIMIT_S}`];
  const run = startLoad(client, [...optionsOf(work), ...pace]);
  let result: T;
  try {
    result = await during();
  } catch (error) {
    run.end();
    await run.report.catch(() => {});
    throw error;
  }
  run.end();
  const report = await run.report;
  assertAnswered(client, work.name, report);
  return { result, longestMs: report.max_us / 1000, iops: report.iops };
}

/** Each figure's median over the rounds, except for retransmissions, which are all counted. */
export function summarise(rounds: readonly Measurement[]): Measurement {
  const medianOf = (figure: keyof Measurement): number => median(rounds.map((round) => round[figure]));
  return {
    iops: medianOf("iops"),
    p50Us: medianOf("p50Us"),
    p99Us: medianOf("p99Us"),
    longestUs: medianOf("longestUs"),
    cpuUs: medianOf("cpuUs"),
    clientIdle: medianOf("clientIdle"),
    retransmits: rounds.reduce((sum, round) => sum + round.retransmits, 0),
    window: medianOf("window"),
    requests: medianOf("requests"),
  };
}
