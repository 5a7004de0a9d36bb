/** QEMU guests with the Linux kernel's AoE initiator: booting one, and what came out. */
import { $ } from "bun";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestNetwork } from "./test-network.ts";

const guestDirectory = join(import.meta.dir, "../e2e/guest");
const runGuestScript = join(guestDirectory, "run-guest.sh");

/** How long booting may take that has to fetch a kernel and pack the guest's image first. */
export const guestBuildTimeoutMs = 180_000;

/** Builds the image that guests boot, unless the cache has it. Throws where that fails. */
async function buildGuestImage(): Promise<void> {
  const result = await $`bash ${runGuestScript} build`.quiet().nothrow();
  if (result.exitCode !== 0) throw new Error(`the guest's image cannot be built:\n${result.stderr.toString()}`);
}

/** What a finished guest left behind. */
export interface GuestRun {
  /** The guest script's exit status, 0 where all its checks passed; 124 time limit, 125 it never ended by itself. */
  readonly status: number;
  readonly console: string;
  /** Throws unless the guest script's check of this name passed; one that it never reached has not. */
  expectPassed(check: string): void;
}

/**
 * Boots a guest on the network's taps and runs the script test/e2e/guest/NAME.sh in it until it powers off.
 * `hostActions` are what the script's `hostdo NAME ARGUMENTS...` runs here while it waits; one that throws makes
 * `hostdo` fail, with the error in the console text.
 */
export async function runGuest(options: {
  network: TestNetwork;
  script: string;
  /** AoE devices to wait for before the script starts, such as e1.0. */
  devices: readonly string[];
  environment?: Readonly<Record<string, string | number>>;
  hostActions?: Readonly<Record<string, (...words: string[]) => Promise<void>>>;
  /** What the server under test has logged: shown beside the console where a check fails. */
  serverLog: () => string;
  timeoutSeconds: number;
}): Promise<GuestRun> {
  await buildGuestImage();
  const directory = await mkdtemp(join(tmpdir(), "voe-guest-"));
  const hostLog: string[] = [];
  const answer = async (line: string): Promise<string> => {
    const [name = "", ...words] = line.trim().split(" ");
    try {
      const action = options.hostActions?.[name];
      if (action === undefined) throw new Error("there is no such host action");
      await action(...words);
      return "0\n";
    } catch (error) {
      hostLog.push(`hostdo ${line.trim()}: ${error instanceof Error ? error.message : String(error)}`);
      return "1\n";
    }
  };
  const control = Bun.listen<{ received: string }>({
    unix: join(directory, "control"),
    socket: {
      open: (socket) => {
        socket.data = { received: "" };
      },
      data: async (socket, bytes) => {
        socket.data.received += bytes.toString("latin1");
        const end = socket.data.received.indexOf("\n");
        if (end < 0) return; // hostdo sends one line and waits
        const line = socket.data.received.slice(0, end);
        socket.data.received = "";
        socket.write(await answer(line));
      },
    },
  });
  try {
    const consolePath = join(directory, "console");
    const child = Bun.spawn(["bash", runGuestScript, "run"], {
      env: {
        ...process.env,
        NETNS: options.network.namespace,
        TAPS: options.network.taps.join(" "),
        MTU: String(options.network.mtu),
        GUEST_SCRIPT: join(guestDirectory, `${options.script}.sh`),
        GUEST_ENV: Object.entries(options.environment ?? {})
          .map(([name, value]) => `${name}=${value}`)
          .join(" "),
        WAIT_DEVICES: options.devices.join(" "),
        CONTROL_SOCKET: join(directory, "control"),
        CONSOLE: consolePath,
        TIMEOUT: String(options.timeoutSeconds),
      },
      stdin: "ignore",
      stdout: "ignore",
      stderr: "pipe",
    });
    const errors = await new Response(child.stderr).text();
    const status = await child.exited;
    const log = existsSync(consolePath) ? await readFile(consolePath, "utf8") : "";
    const texts = [log.trim(), errors.trim(), ...hostLog, "--- the server's log:", options.serverLog().trim()];
    return describeRun(status, texts.filter((text) => text !== "").join("\n"));
  } finally {
    control.stop(true);
    await rm(directory, { recursive: true, force: true });
  }
}

function describeRun(status: number, console: string): GuestRun {
  const passed = new Set([...console.matchAll(/^CHECK pass [\d.]+ (.*)$/gm)].map((match) => match[1]));
  const failed = new Set([...console.matchAll(/^CHECK fail [\d.]+ (.*)$/gm)].map((match) => match[1]));
  let shown = false; // once is enough, where several checks failed
  return {
    status,
    console,
    expectPassed: (check) => {
      if (passed.has(check) && !failed.has(check)) return;
      const what = failed.has(check) ? "failed" : "was not reached";
      const context = shown ? "" : `; its console:\n${console}`;
      shown = true;
      throw new Error(`in the guest (status ${status}): "${check}" ${what}${context}`);
    },
  };
}
