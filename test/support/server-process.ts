/** `voe serve` as a process of its own, started the way users start it: from the checkout, or the binary VOE_BINARY. */
import { join } from "node:path";

const repository = join(import.meta.dir, "../..");

/** The words that start voe: the binary that VOE_BINARY names, else the checkout's main.ts under this very Bun. */
export function voeCommand(): string[] {
  const binary = process.env["VOE_BINARY"];
  return binary === undefined ? [process.execPath, join(repository, "src/main.ts")] : [binary];
}

export interface ServerProcess extends AsyncDisposable {
  readonly pid: number;
  /** When it has ended, however that came: as `stop`. */
  readonly exited: Promise<number | null>;
  /** Everything it wrote to stdout and stderr so far. */
  log(): string;
  /** Sends a signal and goes on. */
  signal(name: NodeJS.Signals): void;
  /** Sends a signal and waits for the end; the exit status, or null where the signal itself ended it. */
  stop(name: NodeJS.Signals): Promise<number | null>;
}

/**
 * Starts `voe serve ARGUMENTS`, or another command that serves, and returns once it has printed its `voe ready` line; disposal ends it with SIGKILL.
 * Throws with its output when it ends before that, or is not ready within `readyTimeoutMs` (default 15 s).
 */
export async function startServer(options: {
  /** By default "serve". */
  command?: "serve" | "cas-server" | "nbd-server";
  arguments: readonly string[];
  /** The directory it runs in: the embedded default puts its data there. */
  directory: string;
  /** Network namespace to run in; absent: that of the tests. */
  namespace?: string;
  readyTimeoutMs?: number;
}): Promise<ServerProcess> {
  const { command = "serve" } = options;
  const prefix = options.namespace === undefined ? [] : ["ip", "netns", "exec", options.namespace];
  const child = Bun.spawn([...prefix, ...voeCommand(), command, ...options.arguments], {
    cwd: options.directory,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  let log = "";
  let timer: ReturnType<typeof setTimeout> | undefined;
  const ready = new Promise<"ready">((resolve) => {
    const collect = async (stream: ReadableStream<Uint8Array>) => {
      const decoder = new TextDecoder();
      for await (const chunk of stream) {
        log += decoder.decode(chunk, { stream: true });
        if (/^voe ready/m.test(log)) resolve("ready");
      }
    };
    void collect(child.stdout);
    void collect(child.stderr);
  });
  const timeoutMs = options.readyTimeoutMs ?? 15_000;
  const outcome = await Promise.race([
    ready,
    child.exited.then((status) => `ended with status ${status} before it was ready`),
    new Promise<string>((resolve) => {
      timer = setTimeout(() => resolve(`was not ready within ${timeoutMs} ms`), timeoutMs);
    }),
  ]);
  clearTimeout(timer);
  if (outcome !== "ready") {
    child.kill("SIGKILL");
    await child.exited;
    throw new Error(`voe ${command} ${options.arguments.join(" ")} ${outcome}; its output:\n${log}`);
  }
  const stop = async (name: NodeJS.Signals) => {
    child.kill(name);
    await child.exited;
    return child.exitCode;
  };
  return {
    pid: child.pid,
    exited: child.exited.then(() => child.exitCode),
    log: () => log,
    signal: (name) => child.kill(name),
    stop,
    [Symbol.asyncDispose]: async () => {
      await stop("SIGKILL");
    },
  };
}
