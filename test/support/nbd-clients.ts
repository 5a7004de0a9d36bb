/** A server of NBD and nothing else, and the programs of libnbd, QEMU and fio as its clients. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "./run.ts";
import { startServer, voeCommand, type ServerProcess } from "./server-process.ts";

/** Why these programs cannot be tested with, or undefined where they can. */
export function missingForPrograms(...programs: readonly string[]): string | undefined {
  if (process.env["VOE_TEST_FULL"] !== "1") return "VOE_TEST_FULL=1 is not set";
  const missing = programs.find((program) => Bun.which(program) === null);
  return missing === undefined ? undefined : `${missing} is not installed`;
}

export interface NbdTargetSettings {
  readonly backend: "file" | "cas";
  readonly size: string;
  /** By default "1s". */
  readonly sync?: string;
  readonly readOnly?: boolean;
  readonly configString?: string;
  /** More lines of the target's table. */
  readonly lines?: readonly string[];
}

export interface NbdBed extends AsyncDisposable {
  readonly directory: string;
  /** Path of the unix socket. */
  readonly socket: string;
  /** Port of TCP on 127.0.0.1. */
  readonly port: number;
  /** An export on the unix socket. */
  uri(name: string): string;
  /** The same for programs of QEMU, over TCP. */
  tcpUri(name: string): string;
  /** Runs `voe WORDS... --control` of this server. */
  voe(...words: string[]): string;
  /** Kills the server, and starts it again. Its port is another one then. */
  restart(): Promise<void>;
}

function targetLines(target: NbdTargetSettings, slot: number, directory: string): string[] {
  const lines = ["", "[[target]]", "shelf = 1", `slot = ${slot}`, `backend = "${target.backend}"`];
  lines.push(`sync = "${target.sync ?? "1s"}"`, ...(target.lines ?? []));
  if (target.readOnly === true) lines.push("read_only = true");
  if (target.configString !== undefined) lines.push(`config_string = "${target.configString}"`);
  if (target.backend === "file") {
    return [...lines, `path = "${directory}/e1.${slot}.img"`, `size = "${target.size}"`];
  }
  return [
    ...lines,
    "[target.cas]",
    `size = "${target.size}"`,
    "[target.cas.blob_store]",
    'type = "file"',
    `path = "${directory}/blobs"`,
  ];
}

/** Starts a server with these targets as e1.0, e1.1 and so on; `nbd` are more lines of [nbd]. */
export async function createNbdBed(
  targets: readonly NbdTargetSettings[],
  nbd: (directory: string) => readonly string[] = () => [],
): Promise<NbdBed> {
  const directory = mkdtempSync(join(tmpdir(), "voe-nbd-"));
  const socket = join(directory, "nbd.sock");
  const control = join(directory, "voe.sock");
  const lines = ["[server]", `state_dir = "${directory}/state"`, `control_socket = "${control}"`, "[nbd]"];
  lines.push('bind = "127.0.0.1:0"', `socket = "${socket}"`, ...nbd(directory));
  for (const [slot, target] of targets.entries()) lines.push(...targetLines(target, slot, directory));
  const config = join(directory, "voe.toml");
  writeFileSync(config, `${lines.join("\n")}\n`);
  const start = (): Promise<ServerProcess> => startServer({ arguments: [config], directory });
  let server: ServerProcess;
  try {
    server = await start();
  } catch (error) {
    rmSync(directory, { recursive: true });
    throw error;
  }
  const voe = (...words: string[]): string => run(...voeCommand(), ...words, "--control", control);
  const { nbd: listening } = JSON.parse(voe("status", "--json")) as { nbd: { address: string } };
  const port = Number(/:(\d+)$/.exec(listening.address)?.[1]);
  return {
    directory,
    socket,
    port,
    uri: (name) => `nbd+unix:///${name}?socket=${socket}`,
    tcpUri: (name) => `nbd://127.0.0.1:${port}/${name}`,
    voe,
    async restart() {
      await server.stop("SIGKILL");
      server = await start();
    },
    async [Symbol.asyncDispose]() {
      await server.stop("SIGTERM");
      rmSync(directory, { recursive: true });
    },
  };
}

/** Runs a script of Python with libnbd, where `h` is the handle of `uri` unless that is undefined. */
export const nbdsh = (uri: string | undefined, script: string): string =>
  // The module belongs to Debian's Python, which need not come first.
  run("env", `PATH=/usr/bin:${process.env["PATH"]}`, "nbdsh", ...(uri === undefined ? [] : ["-u", uri]), "-c", script);

/** Runs a program that has to fail, and returns what it said. */
export function failureOf(...command: string[]): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync(command);
  const said = `${stdout.toString()}${stderr.toString()}`.trim();
  if (exitCode === 0) throw new Error(`${command.join(" ")} did not fail: ${said}`);
  return said;
}
