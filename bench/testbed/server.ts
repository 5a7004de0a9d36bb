import { existsSync, readFileSync } from "node:fs";

/** Where servers run, and the load generator; no other process is kept off them. */
const SERVER_CPU = "0";
export const CLIENT_CPU = 1;

/** How to start a server. */
export interface Launch {
  readonly command: readonly string[];
  /** What the server says on stdout when it serves. Without it, it serves when it answers. */
  readonly readyLine?: string;
  /** For a server that goes into the background: where it leaves its process number. */
  readonly pidFile?: string;
}

const START_MS = 10_000;
const STOP_MS = 10_000;
const POLL_MS = 5;
const TICKS_PER_SECOND = Number(Bun.spawnSync(["getconf", "CLK_TCK"]).stdout.toString()) || 100;

export interface Server extends AsyncDisposable {
  readonly name: string;
  /** User and system time of all its threads so far, in seconds; the kernel counts in ticks, mostly of 10 ms. */
  cpuSeconds(): number;
  /** What it last said on stderr. */
  complaints(): string;
}

/** From stat(5) of a process: fields 14 and 15, after the name in parentheses, which may hold anything. */
function cpuTicks(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return Number(fields[11]) + Number(fields[12]);
}

const isAlive = (pid: number): boolean => existsSync(`/proc/${pid}/stat`);

async function follow(stream: ReadableStream<Uint8Array>, told: (text: string) => void): Promise<void> {
  const decoder = new TextDecoder();
  for await (const piece of stream) told(decoder.decode(piece, { stream: true }));
}

/** Resolves when the server serves, as far as it can tell us. Rejects when it ends or takes too long. */
async function untilReady(launch: Launch, said: Promise<void>, ended: Promise<number>): Promise<void> {
  const deadline = performance.now() + START_MS;
  if (launch.pidFile !== undefined) {
    while (!existsSync(launch.pidFile) || readFileSync(launch.pidFile, "utf8").trim() === "") {
      if (performance.now() > deadline) throw new Error(`left no ${launch.pidFile} within ${START_MS / 1000} s`);
      await Bun.sleep(POLL_MS);
    }
  } else if (launch.readyLine !== undefined) {
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(
      () => late.reject(new Error(`did not say "${launch.readyLine}" within ${START_MS / 1000} s`)),
      START_MS,
    );
    try {
      const status = await Promise.race([said, ended, late.promise]);
      if (status !== undefined) throw new Error(`ended with status ${status} before it was ready`);
    } finally {
      clearTimeout(timer);
    }
  }
}

/** For a server that may use all processors there are, as taskset takes it. */
export const ALL_CPUS = "0-4095";

/**
 * Starts a server, in a network namespace unless that is undefined, pinned to its CPU or to a list of them as taskset
 * takes it. Throws when it ends, or says nothing, before it is ready.
 */
export async function startServer(
  name: string,
  launch: Launch,
  namespace: string | undefined,
  cpuList = SERVER_CPU,
): Promise<Server> {
  const inside = namespace === undefined ? [] : ["ip", "netns", "exec", namespace];
  const pinned = [...inside, "taskset", "-c", cpuList, ...launch.command];
  const child = Bun.spawn(pinned, { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  let output = "";
  let complaints = "";
  const said = Promise.withResolvers<void>();
  void follow(child.stderr, (text) => void (complaints = (complaints + text).slice(-4096)));
  void follow(child.stdout, (text) => {
    output = (output + text).slice(-4096);
    if (launch.readyLine !== undefined && output.split("\n").some((line) => line.startsWith(launch.readyLine!))) {
      said.resolve();
    }
  });

  let pid = child.pid;
  // A server in the background is not our child.
  const isRunning = (): boolean =>
    pid === child.pid ? child.exitCode === null && child.signalCode === null : isAlive(pid);
  const stop = async (): Promise<void> => {
    const deadline = performance.now() + STOP_MS;
    if (isRunning()) process.kill(pid, "SIGTERM");
    while (isRunning()) {
      if (performance.now() > deadline) process.kill(pid, "SIGKILL");
      await Bun.sleep(POLL_MS);
    }
  };
  try {
    await untilReady(launch, said.promise, child.exited);
    if (launch.pidFile !== undefined) pid = Number(readFileSync(launch.pidFile, "utf8"));
  } catch (error) {
    await stop();
    throw new Error(`${name} ${(error as Error).message}: ${launch.command.join(" ")}\n${complaints}`.trim(), {
      cause: error,
    });
  }
  return {
    name,
    cpuSeconds: () => cpuTicks(pid) / TICKS_PER_SECOND,
    complaints: () => complaints.trim(),
    [Symbol.asyncDispose]: stop,
  };
}
