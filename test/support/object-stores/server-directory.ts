/**
 * What servers of tests have in common: a directory of their own, and processes that never outlive the tests, however
 * those end. `bun test` says nothing when it ends, so the kernel does.
 */
import { mkdtemp } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A new directory, which is removed once this process has ended. */
export async function serverDirectory(name: string): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), `voe-${name}-`));
  const script = 'cat > /dev/null; for i in 1 2 3 4 5; do rm -rf "$1" && exit; sleep 0.2; done';
  // Its standard input ends with this process.
  Bun.spawn(["setsid", "sh", "-c", script, "sh", directory], {
    stdin: "pipe",
    stdout: "ignore",
    stderr: "ignore",
  }).unref();
  return directory;
}

/** Starts a process that is killed when this one ends. Its output goes to a file. */
export function spawnServer(command: readonly string[], logFile: string): Bun.Subprocess {
  const child = Bun.spawn(["setpriv", "--pdeathsig", "KILL", ...command], {
    stdin: "ignore",
    stdout: Bun.file(logFile),
    stderr: Bun.file(logFile),
  });
  child.unref();
  return child;
}

/** A TCP port of 127.0.0.1 that nothing listens on now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Runs a command to its end and gives its output. Rejects with all that it said where it fails. */
export async function runCommand(
  command: readonly string[],
  environment: Record<string, string> = {},
): Promise<string> {
  const child = Bun.spawn([...command], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, ...environment },
  });
  const [output, errors, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  if (status !== 0) throw new Error(`${command.join(" ")} ended with status ${status}: ${output}${errors}`);
  return output;
}

/** What a server of tests serves, and who may use it. */
export interface S3TestServer {
  readonly endpoint: string;
  readonly region: string;
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
}
