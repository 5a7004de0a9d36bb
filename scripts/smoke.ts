/**
 * Starts the built binary once: it names its version, becomes ready, has the thread of its archive, answers `voe status`,
 * and ends cleanly.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const binary = join(import.meta.dir, "..", "dist", "voe");
const directory = mkdtempSync(join(tmpdir(), "voe-smoke-"));
const configPath = join(directory, "voe.toml");
const socketPath = join(directory, "voe.sock");
await Bun.write(
  configPath,
  `[server]
state_dir = "${directory}/state"
control_socket = "${socketPath}"

[[target]]
shelf = 1
slot = 0
backend = "file"
path = "${directory}/disk.img"
size = "16MiB"

[[target]]
shelf = 1
slot = 1
backend = "cas"

[target.cas]
size = "16MiB"

[target.cas.blob_store]
type = "file"
path = "${directory}/blobs"
`,
);

/** The nice value of each thread of a process, from 0 to 19. */
const threadsOf = (pid: number): number[] =>
  readdirSync(`/proc/${pid}/task`).map((thread) => {
    const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, "utf8");
    // Field 19 of proc(5); the name, field 2, may hold spaces.
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[16]);
  });

function expect(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(`smoke test of ${binary}: ${what}`);
}

async function run(...args: string[]): Promise<string> {
  const child = Bun.spawn([binary, ...args], { stdout: "pipe", stderr: "inherit", cwd: directory });
  const text = await new Response(child.stdout).text();
  expect((await child.exited) === 0, `voe ${args.join(" ")} failed`);
  return text;
}

try {
  expect(/^voe \d+\.\d+\.\d+ \([0-9a-f]+\)/.test(await run("--version")), "--version names no version and commit");
  expect((await run("--help")).includes("serve"), "--help does not list serve");
  await run("check", configPath);

  const server = Bun.spawn([binary, "serve", configPath], { stdout: "pipe", stderr: "inherit", cwd: directory });
  const reader = server.stdout.getReader();
  let said = "";
  while (!said.includes("voe ready")) {
    const { value, done } = await reader.read();
    expect(!done, `voe serve ended before it was ready: ${said}`);
    said += new TextDecoder().decode(value);
  }
  const report = JSON.parse(await run("status", "--json", "--control", socketPath)) as { targets: { name: string }[] };
  expect(report.targets[0]?.name === "e1.0", "voe status does not show e1.0");
  // The program of the thread is an entry point of its own, which a build may forget. It makes itself nice first.
  const deadlineMs = performance.now() + 5000;
  while (!threadsOf(server.pid).some((nice) => nice > 0)) {
    expect(performance.now() < deadlineMs, "the thread that packs blocks did not start");
    await Bun.sleep(10);
  }
  server.kill("SIGTERM");
  expect((await server.exited) === 0, "voe serve did not end with status 0 on SIGTERM");
} finally {
  rmSync(directory, { recursive: true, force: true });
}
